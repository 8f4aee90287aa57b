# The MPI of a project that uses dijitso. The library is linked with none and works with any; a program that uses MPI gets
# its headers and libraries here, so that it links to dijitso::dijitso alone.

# dijitso_find_mpi(<variable>): sets variable to the MPI targets of the project's languages, made here if the project has
# not looked for MPI itself. It is empty if there is no MPI, or if DIJITSO_WITHOUT_MPI is on.
macro(dijitso_find_mpi variable)
  set(${variable})
  if(NOT DIJITSO_WITHOUT_MPI)
    get_property(dijitso_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
    foreach(dijitso_language IN ITEMS C CXX)
      if(dijitso_language IN_LIST dijitso_languages)
        if(NOT TARGET MPI::MPI_${dijitso_language})
          find_package(MPI QUIET COMPONENTS ${dijitso_language})
        endif()
        if(TARGET MPI::MPI_${dijitso_language})
          list(APPEND ${variable} MPI::MPI_${dijitso_language})
        endif()
      endif()
    endforeach()
    unset(dijitso_languages)
    unset(dijitso_language)
  endif()
endmacro()
