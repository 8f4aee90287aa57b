# The Fortran modules of dijitso. A compiled module is of one compiler, so they are installed as sources and compiled in
# the project that uses them:
#
#   dijitso::fortran          module dijitso and dijitsof.h, with communicators of mpif.h and module mpi, or none
#   dijitso::fortran_mpi_f08  module dijitso_mpi_f08, if the project has found an MPI with module mpi_f08 before
#
# Needs dijitso_fortran_dir, the directory of the sources, and the target dijitso::dijitso.

# In the order in which they have to be compiled.
set(dijitso_fortran_sources dijitso_c.f90 dijitso_errors.f90 dijitso_types.f90 dijitso_callbacks.f90 dijitso_calls.f90
  dijitso_plans.f90 dijitso_tools.f90 dijitso.f90 dijitso_f77.f90)

get_property(_dijitso_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
if(NOT "Fortran" IN_LIST _dijitso_languages)
  return()
endif()

if(NOT TARGET dijitso_fortran)
  add_library(dijitso_fortran STATIC EXCLUDE_FROM_ALL)
  list(TRANSFORM dijitso_fortran_sources PREPEND "${dijitso_fortran_dir}/src/" OUTPUT_VARIABLE _dijitso_sources)
  target_sources(dijitso_fortran PRIVATE ${_dijitso_sources})
  set_target_properties(dijitso_fortran PROPERTIES
    POSITION_INDEPENDENT_CODE ON
    Fortran_MODULE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/dijitso-fortran")
  target_include_directories(dijitso_fortran PUBLIC
    "${CMAKE_CURRENT_BINARY_DIR}/dijitso-fortran" "${dijitso_fortran_dir}/include")
  target_link_libraries(dijitso_fortran PUBLIC dijitso::dijitso)
  # No alias: a library of the project that links it can be exported.
  add_library(dijitso::fortran INTERFACE IMPORTED GLOBAL)
  set_property(TARGET dijitso::fortran PROPERTY INTERFACE_LINK_LIBRARIES dijitso_fortran)
endif()

if(NOT TARGET dijitso_fortran_mpi_f08 AND TARGET MPI::MPI_Fortran AND MPI_Fortran_HAVE_F08_MODULE)
  add_library(dijitso_fortran_mpi_f08 STATIC EXCLUDE_FROM_ALL
    "${dijitso_fortran_dir}/mpi_f08/dijitso_mpi_f08.f90")
  set_target_properties(dijitso_fortran_mpi_f08 PROPERTIES
    POSITION_INDEPENDENT_CODE ON
    Fortran_MODULE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/dijitso-fortran-mpi-f08")
  target_include_directories(dijitso_fortran_mpi_f08 PUBLIC "${CMAKE_CURRENT_BINARY_DIR}/dijitso-fortran-mpi-f08")
  target_link_libraries(dijitso_fortran_mpi_f08 PUBLIC dijitso_fortran MPI::MPI_Fortran)
  add_library(dijitso::fortran_mpi_f08 INTERFACE IMPORTED GLOBAL)
  set_property(TARGET dijitso::fortran_mpi_f08 PROPERTY INTERFACE_LINK_LIBRARIES dijitso_fortran_mpi_f08)
endif()
