# As a part of another project: its installed programs need the library, and have to find it.

if(NOT DIJITSO_INSTALL AND DIJITSO_INSTALL_RUNTIME)
  install(FILES "${staged_lib}/${library_file}" "${staged_lib}/${library_soname}" DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()

# The library is imported from the build tree, so CMake drops that path from what is installed. Without a choice of the
# project's own, its targets look beside themselves and in the directory of libraries; it concerns targets that are added
# after this one.
if((DIJITSO_INSTALL OR DIJITSO_INSTALL_RUNTIME) AND NOT DEFINED CMAKE_INSTALL_RPATH AND NOT CMAKE_SKIP_INSTALL_RPATH
    AND NOT CMAKE_SKIP_RPATH)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(CMAKE_INSTALL_RPATH "${CMAKE_INSTALL_LIBDIR}" PARENT_SCOPE)
  else()
    set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../${CMAKE_INSTALL_LIBDIR}" PARENT_SCOPE)
  endif()
endif()
