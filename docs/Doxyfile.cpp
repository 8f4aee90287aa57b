# The C++ interface as pages, with the settings of the C interface; run by docs/build from the directory of the repository.
@INCLUDE               = docs/Doxyfile
PROJECT_NAME           = "dijitso in C++"
PROJECT_BRIEF          = "Distributed just-in-time building of shared libraries: the C++17 interface"
INPUT                  = build/book/include-cpp
HTML_OUTPUT            = source/cpp
STRIP_FROM_PATH        = build/book/include-cpp
OPTIMIZE_OUTPUT_FOR_C  = NO
PREDEFINED             = MPI_VERSION=4 DIJITSO_HAVE_MPI=1 __cplusplus=201703L
# Macros with these names come from CMake.
EXCLUDE_SYMBOLS        = dijitso::*detail environ DIJITSO_*
SORT_BRIEF_DOCS        = NO
# The last words of a comment: whether a call is collective, and from which threads it may come.
ALIASES                = "local=^^@par Cooperation^^local: no other rank is waited for^^" "collective=^^@par Cooperation^^collective" \
                         "threads=^^@par Threads^^"
