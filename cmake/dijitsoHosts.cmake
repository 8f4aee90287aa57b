# For programs whose code comes from a form compiler: what the headers dijitso_ffcx.hpp, dijitso_ffc.hpp and
# dijitso_dolfin.hpp have to know.

# dijitso_python_with(<variable> <module>): sets variable to a Python that can import a module. It need not be the first on the
# PATH. The cache variable DIJITSO_PYTHON_<module> chooses another one.
function(dijitso_python_with variable module)
  function(dijitso_can_import result python)
    execute_process(COMMAND ${python} -c "import ${module}" RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
    if(NOT status EQUAL 0)
      set(${result} FALSE PARENT_SCOPE)
    endif()
  endfunction()
  find_program(DIJITSO_PYTHON_${module} NAMES python3 HINTS /usr/bin VALIDATOR dijitso_can_import
    DOC "Python interpreter that can import ${module}")
  set(${variable} "${DIJITSO_PYTHON_${module}}" PARENT_SCOPE)
endfunction()

# dijitso_use_ffcx(<target> [PYTHON <python>]): finds FFCx, and passes to the target the directory of ufcx.h and the defaults of
# dijitso::ffcx::options.
function(dijitso_use_ffcx target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PYTHON" "")
  if(NOT arg_PYTHON)
    dijitso_python_with(arg_PYTHON ffcx)
  endif()
  if(NOT arg_PYTHON)
    message(FATAL_ERROR
      "dijitso_use_ffcx needs FFCx, and no python3 on the PATH can import it (on Debian: apt install python3-ffcx).")
  endif()
  execute_process(
    COMMAND "${arg_PYTHON}" -c "import ffcx, ffcx.codegeneration as c; print(ffcx.__version__, c.get_include_path(), sep=';', end='')"
    OUTPUT_VARIABLE facts COMMAND_ERROR_IS_FATAL ANY)
  list(GET facts 0 version)
  list(GET facts 1 include_dir)
  target_include_directories(${target} SYSTEM PRIVATE "${include_dir}")
  target_compile_definitions(${target} PRIVATE
    DIJITSO_FFCX_PYTHON="${arg_PYTHON}" DIJITSO_FFCX_VERSION="${version}" DIJITSO_FFCX_INCLUDE_DIR="${include_dir}")
endfunction()

# dijitso_use_ffc(<target> [PYTHON <python>]): does the same with FFC 2019 and ufc.h, for dijitso_ffc.hpp, and sets C++17.
function(dijitso_use_ffc target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PYTHON" "")
  if(NOT arg_PYTHON)
    dijitso_python_with(arg_PYTHON ffc)
  endif()
  if(NOT arg_PYTHON)
    message(FATAL_ERROR
      "dijitso_use_ffc needs FFC, and no python3 on the PATH can import it (on Debian: apt install python3-ffc).")
  endif()
  execute_process(
    COMMAND "${arg_PYTHON}" -c "import ffc; print(ffc.__version__, ffc.get_include_path(), sep=';', end='')"
    OUTPUT_VARIABLE facts COMMAND_ERROR_IS_FATAL ANY)
  list(GET facts 0 version)
  list(GET facts 1 include_dir)
  target_include_directories(${target} SYSTEM PRIVATE "${include_dir}")
  target_compile_definitions(${target} PRIVATE
    DIJITSO_FFC_PYTHON="${arg_PYTHON}" DIJITSO_FFC_VERSION="${version}" DIJITSO_FFC_INCLUDE_DIR="${include_dir}")
  # UseDOLFIN.cmake sets C++11. A higher standard that the target has already stays.
  get_target_property(standard ${target} CXX_STANDARD)
  if(NOT standard OR standard EQUAL 98 OR standard LESS 17)
    set_property(TARGET ${target} PROPERTY CXX_STANDARD 17)
  endif()
endfunction()

# dijitso_use_dolfin(<target> [PYTHON <python>]): finds DOLFIN 2019 and links to it; does what
# dijitso_use_ffc does, for dijitso_dolfin.hpp. A project may include UseDOLFIN.cmake before.
function(dijitso_use_dolfin target)
  find_package(DOLFIN CONFIG QUIET)
  if(NOT DOLFIN_FOUND)
    message(FATAL_ERROR "dijitso_use_dolfin needs DOLFIN 2019, and there is no DOLFINConfig.cmake (on Debian: apt install \
libdolfin-dev; elsewhere set DOLFIN_DIR to its directory).")
  endif()
  # It makes the targets of PETSc and SLEPc. In this function, its C++11 stays here.
  include("${DOLFIN_USE_FILE}")
  dijitso_use_ffc(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE dolfin)
endfunction()

# dijitso_pass_build_params(<target>): writes the include directories and macros of a target, with those of all that it links
# to, to the header <dijitso_build_params.hpp>, for code that is compiled while the program runs:
# dijitso::host::set_build_params(params, DIJITSO_TARGET_INCLUDE_DIRS, DIJITSO_TARGET_DEFINES).
function(dijitso_pass_build_params target)
  set(directory "${CMAKE_CURRENT_BINARY_DIR}/dijitso_${target}")
  set(include_dirs "$<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>")
  set(defines "$<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>")
  # Those of this package and its generators are for the program alone.
  set(defines "$<FILTER:${defines},EXCLUDE,^DIJITSO_>")
  # CONTENT comes before TARGET: CMake 3.25 crashes otherwise.
  file(GENERATE OUTPUT "${directory}/dijitso_build_params.hpp" CONTENT
"// Written by CMake: what code that is compiled while ${target} runs is compiled with.
#pragma once
[[maybe_unused]] static constexpr char DIJITSO_TARGET_INCLUDE_DIRS[] = R\"dijitso($<JOIN:${include_dirs},\n>)dijitso\";
[[maybe_unused]] static constexpr char DIJITSO_TARGET_DEFINES[] = R\"dijitso($<JOIN:${defines},\n>)dijitso\";
" TARGET ${target})
  target_include_directories(${target} PRIVATE "${directory}")
endfunction()
