# Installs into a prefix. No installed file names the build tree or the prefix, so the prefix can be moved.

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/dijitso")

list(TRANSFORM hpp_files PREPEND "${staged_include}/" OUTPUT_VARIABLE staged_hpp_files)
install(FILES "${staged_include}/dijitso.h" ${staged_hpp_files} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
# Debian wants shared libraries without execute bits. The links are installed as links.
install(FILES "${staged_lib}/${library_file}" "${staged_lib}/${library_soname}" "${staged_lib}/${library_name}"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY fortran/ DESTINATION "${CMAKE_INSTALL_DATADIR}/dijitso/fortran")
install(FILES LICENSE LICENSE-APACHE LICENSE-MIT README.md CHANGELOG.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")

# --- the command, its manual pages and completions --------------------------------------------------------------------
if(DIJITSO_BUILD_COMMAND)
  install(PROGRAMS "${command_file}" DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
# The command writes its pages and completions itself; a cross build cannot run it.
if(DIJITSO_BUILD_COMMAND AND NOT CMAKE_CROSSCOMPILING)
  set(man_pages "${PROJECT_BINARY_DIR}/man")
  set(completions "${PROJECT_BINARY_DIR}/completions")
  file(MAKE_DIRECTORY "${completions}")
  add_custom_target(dijitso_man ALL
    COMMAND ${CMAKE_COMMAND} -E rm -rf "${man_pages}"
    COMMAND "${command_file}" man "${man_pages}"
    COMMAND "${command_file}" completions bash --output "${completions}/dijitso"
    COMMAND "${command_file}" completions zsh --output "${completions}/_dijitso"
    COMMAND "${command_file}" completions fish --output "${completions}/dijitso.fish"
    COMMENT "Writing manual pages and completions"
    VERBATIM)
  add_dependencies(dijitso_man dijitso_cargo)
  install(DIRECTORY "${man_pages}/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" FILES_MATCHING PATTERN "*.1")
  install(FILES "${completions}/dijitso" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
  install(FILES "${completions}/_dijitso" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
  install(FILES "${completions}/dijitso.fish" DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
endif()

# --- CMake ------------------------------------------------------------------------------------------------------------
configure_package_config_file(cmake/dijitsoConfig.cmake.in "${PROJECT_BINARY_DIR}/package/dijitsoConfig.cmake"
  INSTALL_DESTINATION "${package_dir}"
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_DATADIR)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/dijitsoConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
    "${PROJECT_BINARY_DIR}/package/dijitsoConfig.cmake"
    "${PROJECT_BINARY_DIR}/package/dijitsoConfigVersion.cmake"
    cmake/dijitsoFortran.cmake
    cmake/dijitsoHosts.cmake
    cmake/dijitsoMpi.cmake
  DESTINATION "${package_dir}")

# --- pkg-config -------------------------------------------------------------------------------------------------------
# The .pc file finds the prefix from its own place, two or more directories below it.
set(pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(pc_datadir "\${prefix}/${CMAKE_INSTALL_DATADIR}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}"
    OR IS_ABSOLUTE "${CMAKE_INSTALL_DATADIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
  set(pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(pc_datadir "${CMAKE_INSTALL_FULL_DATADIR}")
else()
  file(RELATIVE_PATH prefix_from_pc "/prefix/${pc_dir}" "/prefix")
  string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
  set(pc_prefix "\${pcfiledir}/${prefix_from_pc}")
endif()
configure_file(cmake/dijitso.pc.in "${PROJECT_BINARY_DIR}/package/dijitso.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/package/dijitso.pc" DESTINATION "${pc_dir}")

# In the order in which they have to be compiled.
set(pc_fortran_sources "")
foreach(source IN ITEMS ${dijitso_fortran_sources})
  string(APPEND pc_fortran_sources " \${fortrandir}/src/${source}")
endforeach()
string(STRIP "${pc_fortran_sources}" pc_fortran_sources)
configure_file(cmake/dijitso-fortran.pc.in "${PROJECT_BINARY_DIR}/package/dijitso-fortran.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/package/dijitso-fortran.pc" DESTINATION "${pc_dir}")
