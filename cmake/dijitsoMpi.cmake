# The MPI of a project that uses dijitso. The library is linked with none and works with any; a program that uses MPI gets
# its headers and libraries here, so that it links to dijitso::dijitso alone.

# dijitso_same_mpi(<language> <wrapper> <other language> <other wrapper>): if the project has chosen the compiler wrapper of
# one language, the wrapper of the other one beside it is taken: both languages are to use one MPI.
function(dijitso_same_mpi language wrapper other other_wrapper)
  if(MPI_${language}_COMPILER AND NOT MPI_${other}_COMPILER)
    string(REGEX REPLACE "${wrapper}([^/]*)$" "${other_wrapper}\\1" name "${MPI_${language}_COMPILER}")
    find_program(dijitso_mpi_wrapper "${name}" NO_CACHE)
    if(dijitso_mpi_wrapper)
      set(MPI_${other}_COMPILER "${dijitso_mpi_wrapper}" CACHE FILEPATH "MPI compiler for ${other}")
    endif()
  endif()
endfunction()

# dijitso_find_mpi(<variable>): sets variable to the MPI targets of the project's languages, made here if the project has
# not looked for MPI itself. It is empty if there is no MPI, or if DIJITSO_WITHOUT_MPI is on.
macro(dijitso_find_mpi variable)
  set(${variable})
  if(NOT DIJITSO_WITHOUT_MPI)
    dijitso_same_mpi(C mpicc CXX mpicxx)
    dijitso_same_mpi(CXX mpicxx C mpicc)
    get_property(dijitso_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
    foreach(dijitso_language IN ITEMS C CXX)
      if(dijitso_language IN_LIST dijitso_languages)
        # There is a target even if FindMPI has found nothing.
        if(TARGET MPI::MPI_${dijitso_language} AND (MPI_${dijitso_language}_FOUND OR NOT DEFINED MPI_${dijitso_language}_FOUND))
          list(APPEND ${variable} MPI::MPI_${dijitso_language})
        else()
          set(dijitso_wrapper "${MPI_${dijitso_language}_COMPILER}")
          find_package(MPI QUIET COMPONENTS ${dijitso_language})
          if(MPI_${dijitso_language}_FOUND)
            list(APPEND ${variable} MPI::MPI_${dijitso_language})
          elseif(dijitso_wrapper)
            message(WARNING "dijitso: MPI_${dijitso_language}_COMPILER (${dijitso_wrapper}) is no compiler of an MPI; the project is built without MPI.")
          endif()
        endif()
      endif()
    endforeach()
    unset(dijitso_languages)
    unset(dijitso_wrapper)
    unset(dijitso_language)
  endif()
endmacro()
