# The target dijitso::dijitso of this build tree: cargo builds, CMake stages the result as it will be installed
# (lib/ with the SONAME links, include/).

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
set(header "${PROJECT_SOURCE_DIR}/include/dijitso.h")
set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
set(staged_include "${PROJECT_BINARY_DIR}/include")
configure_file("${header}" "${staged_include}/dijitso.h" COPYONLY)
set(hpp_files dijitso.hpp dijitso_host.hpp dijitso_ffcx.hpp dijitso_dolfinx.hpp dijitso_ffc.hpp dijitso_dolfin.hpp)
foreach(file IN LISTS hpp_files)
  configure_file("${PROJECT_SOURCE_DIR}/include/${file}" "${staged_include}/${file}" COPYONLY)
endforeach()

# --- the library and the command --------------------------------------------------------------------------------------
set(DIJITSO_CARGO_TARGET_DIR "${PROJECT_BINARY_DIR}/cargo" CACHE PATH "Where cargo builds; may be shared by builds")
set(cargo_targets --lib)
set(cargo_features)
if(DIJITSO_BUILD_COMMAND)
  list(APPEND cargo_targets --bins)
  list(APPEND cargo_features cli)
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
  COMMAND "${DIJITSO_CARGO}" ${cargo_arguments}
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
if(NOT PROJECT_IS_TOP_LEVEL)
  foreach(language IN ITEMS C CXX)
    set(host_has_MPI_${language} FALSE)
    if(TARGET MPI::MPI_${language})
      set(host_has_MPI_${language} TRUE)
    endif()
  endforeach()
  dijitso_find_mpi(found_mpi)
  # What is found here would be known in this directory only, and the host links to it through dijitso::dijitso.
  foreach(target IN LISTS found_mpi)
    string(REPLACE "MPI::" "host_has_" host_has "${target}")
    if(NOT ${host_has})
      set_property(TARGET ${target} PROPERTY IMPORTED_GLOBAL TRUE)
    endif()
  endforeach()
  set_target_properties(dijitso::dijitso PROPERTIES INTERFACE_LINK_LIBRARIES "${found_mpi}")
endif()
