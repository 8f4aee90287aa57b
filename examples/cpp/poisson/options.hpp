// SPDX-License-Identifier: MIT OR Apache-2.0
// The command line.
#pragma once

#include <optional>
#include <string>

struct options
{
  std::string kappa = "1 + x";
  std::string exact = "sin(pi*x)*sin(pi*y)";
  std::string source; // empty: derived from kappa and exact
  int n = 32;         // squares per side of the coarse mesh; the fine one has twice as many
  std::string buildon = "node";
  std::string cache; // empty: what dijitso takes by default
  std::optional<int> expected_compiles;
  bool help = false;
};

// Throws std::invalid_argument.
options parse_options(int argc, char** argv);

// What --help prints.
const char* usage();
