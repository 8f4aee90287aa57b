# The target dijitso::dijitso of this build tree: cargo builds, CMake stages the result as it will be installed
# (lib/ with the SONAME links, include/ with the header of this configuration).

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  message(WARNING "dijitso is tested on Linux only; its SONAME links are those of ELF systems.")
endif()

find_program(DIJITSO_CARGO cargo
  HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin"
  DOC "cargo, which builds the library")
if(NOT DIJITSO_CARGO)
  message(FATAL_ERROR "dijitso is built by cargo, which was not found: install Rust (see https://rustup.rs) or set DIJITSO_CARGO.")
endif()

# --- the headers ------------------------------------------------------------------------------------------------------
# The committed header is that of a build with MPI; a build without has one other line.
set(header "${PROJECT_SOURCE_DIR}/include/dijitso.h")
set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
set(staged_include "${PROJECT_BINARY_DIR}/include")
if(DIJITSO_WITH_MPI)
  configure_file("${header}" "${staged_include}/dijitso.h" COPYONLY)
else()
  file(READ "${header}" text)
  string(REPLACE "#define DIJITSO_HAVE_MPI 1\n" "#define DIJITSO_HAVE_MPI 0\n" text_without_mpi "${text}")
  if(text STREQUAL text_without_mpi)
    message(FATAL_ERROR "${header} has no line `#define DIJITSO_HAVE_MPI 1` to switch off.")
  endif()
  file(WRITE "${PROJECT_BINARY_DIR}/dijitso.h.without-mpi" "${text_without_mpi}")
  configure_file("${PROJECT_BINARY_DIR}/dijitso.h.without-mpi" "${staged_include}/dijitso.h" COPYONLY)
endif()
configure_file("${PROJECT_SOURCE_DIR}/include/dijitso.hpp" "${staged_include}/dijitso.hpp" COPYONLY)

# --- the library and the command --------------------------------------------------------------------------------------
# Builds with different MPIs must not share it: cargo does not notice another MPICC.
set(DIJITSO_CARGO_TARGET_DIR "${PROJECT_BINARY_DIR}/cargo" CACHE PATH "Where cargo builds; may be shared by builds with one MPI")
set(cargo_targets --lib)
set(cargo_features)
set(cargo_environment)
if(DIJITSO_BUILD_COMMAND)
  list(APPEND cargo_targets --bins)
  list(APPEND cargo_features cli)
endif()
if(DIJITSO_WITH_MPI)
  # The crate mpi-sys binds the MPI of this compiler wrapper.
  list(APPEND cargo_environment "MPICC=${MPI_C_COMPILER}")
  list(APPEND cargo_features mpi)
endif()
list(JOIN cargo_features "," cargo_features)
set(cargo_arguments build --profile ${DIJITSO_CARGO_PROFILE} --locked ${cargo_targets} --no-default-features
  "--features=${cargo_features}" --target-dir "${DIJITSO_CARGO_TARGET_DIR}")
if(DIJITSO_CARGO_PROFILE STREQUAL "dev")
  set(cargo_output "${DIJITSO_CARGO_TARGET_DIR}/debug")
else()
  set(cargo_output "${DIJITSO_CARGO_TARGET_DIR}/${DIJITSO_CARGO_PROFILE}")
endif()

set(staged_lib "${PROJECT_BINARY_DIR}/lib")
set(staged_bin "${PROJECT_BINARY_DIR}/bin")
set(library_name "libdijitso.so")
set(library_soname "${library_name}.${dijitso_abi}")
set(library_file "${library_name}.${PROJECT_VERSION}")
file(MAKE_DIRECTORY "${staged_lib}" "${staged_bin}")

set(copy_command)
set(command_file)
if(DIJITSO_BUILD_COMMAND)
  set(command_file "${staged_bin}/dijitso")
  set(copy_command COMMAND ${CMAKE_COMMAND} -E copy_if_different "${cargo_output}/dijitso" "${command_file}")
endif()

# Runs every time: cargo knows what is out of date and does nothing otherwise.
add_custom_target(dijitso_cargo ALL
  COMMAND ${CMAKE_COMMAND} -E env ${cargo_environment} "${DIJITSO_CARGO}" ${cargo_arguments}
  COMMAND ${CMAKE_COMMAND} -E copy_if_different "${cargo_output}/${library_name}" "${staged_lib}/${library_file}"
  COMMAND ${CMAKE_COMMAND} -E create_symlink "${library_file}" "${staged_lib}/${library_soname}"
  COMMAND ${CMAKE_COMMAND} -E create_symlink "${library_soname}" "${staged_lib}/${library_name}"
  ${copy_command}
  BYPRODUCTS "${staged_lib}/${library_file}" "${staged_lib}/${library_soname}" "${staged_lib}/${library_name}"
             ${command_file}
  WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
  COMMENT "Building dijitso with cargo"
  USES_TERMINAL
  VERBATIM)

add_library(dijitso::dijitso SHARED IMPORTED GLOBAL)
add_dependencies(dijitso::dijitso dijitso_cargo)
set_target_properties(dijitso::dijitso PROPERTIES
  IMPORTED_LOCATION "${staged_lib}/${library_file}"
  IMPORTED_SONAME "${library_soname}"
  INTERFACE_INCLUDE_DIRECTORIES "${staged_include}")
if(DIJITSO_WITH_MPI)
  # The host may be C or C++ while this project is C only: the host's own languages decide what mpi.h it needs.
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  foreach(language IN ITEMS C CXX)
    if(language IN_LIST languages)
      find_package(MPI REQUIRED COMPONENTS ${language})
      # What is found here would be known in this directory only, and the host links to it through dijitso::dijitso.
      if(NOT host_has_MPI_${language})
        set_property(TARGET MPI::MPI_${language} PROPERTY IMPORTED_GLOBAL TRUE)
      endif()
      set_property(TARGET dijitso::dijitso APPEND PROPERTY INTERFACE_LINK_LIBRARIES MPI::MPI_${language})
    endif()
  endforeach()
endif()
