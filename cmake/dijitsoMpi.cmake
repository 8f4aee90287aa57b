# Which family of MPI does this project compile against? A library built with one cannot take the communicators of
# another: they differ in type and in the library that gives them meaning.
#
# MPICH, Intel MPI, MVAPICH and Cray MPICH share one ABI and count as one family.

set(dijitso_mpi_name_openmpi "Open MPI")
set(dijitso_mpi_name_mpich "MPICH or an MPI compatible with it")
set(dijitso_mpi_name_other "an MPI that is neither Open MPI nor MPICH")

# dijitso_detect_mpi(<C|CXX> <variable>): sets variable to openmpi, mpich or other, from the macros of the mpi.h that
# MPI::MPI_<language> finds. It compiles and never runs anything, so that it also works for cross builds.
function(dijitso_detect_mpi language variable)
  set(extension_C c)
  set(extension_CXX cpp)
  set(condition_openmpi "defined(OPEN_MPI)")
  set(condition_mpich "defined(MPICH_VERSION) || defined(MPICH_NUMVERSION) || defined(I_MPI_VERSION)")

  set(found other)
  foreach(family IN ITEMS openmpi mpich)
    set(directory "${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/dijitso-mpi-${language}-${family}")
    set(probe "${directory}.${extension_${language}}")
    file(WRITE "${probe}"
      "#include <mpi.h>\n#if !(${condition_${family}})\n#error another MPI\n#endif\nint dijitso_mpi_probe;\n")
    # Nothing is linked; and the answer is not kept, since another MPI may be chosen in the same build directory.
    set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
    unset(dijitso_mpi_is_${family} CACHE)
    try_compile(dijitso_mpi_is_${family} "${directory}" SOURCES "${probe}" LINK_LIBRARIES MPI::MPI_${language})
    set(is_family "${dijitso_mpi_is_${family}}")
    unset(dijitso_mpi_is_${family} CACHE)
    if(is_family)
      set(found ${family})
      break()
    endif()
  endforeach()
  set(${variable} ${found} PARENT_SCOPE)
endfunction()
