// SPDX-License-Identifier: MIT OR Apache-2.0
// Code that is compiled while the program runs has the include directories and macros of the program's target.
#include "check.hpp"

#include <dijitso_build_params.hpp>

int main(int, char** argv)
{
  dijitso::params params{{"cache.cache_dir", std::string(argv[1]) + "/cache"}};
  dijitso::host::set_build_params(params, DIJITSO_TARGET_INCLUDE_DIRS, DIJITSO_TARGET_DEFINES);
  const dijitso::library library = dijitso::jit_source("params", params, R"(
#include <direct.hpp>   // in a directory with a space
#include <indirect.hpp> // of a library that the target links to
#if defined DIJITSO_FFCX_VERSION || !defined PLAIN
#error "wrong macros"
#endif
extern "C" int value() { return DIRECT + INDIRECT + NUMBER; }
extern "C" const char* text() { return TEXT; }
)");
  CHECK(library.symbol<int()>("value")() == 1 + 20 + 300);
  CHECK(std::string(library.symbol<const char*()>("text")()) == "a 'b' c");
  CHECK(NUMBER == 300); // as in the program itself
  return check::failures == 0 ? 0 : 1;
}
