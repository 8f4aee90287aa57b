// Compiles the C++ wrapper alone, as strict C++17.
#include <dijitso.hpp>
