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
  std::string cache; // empty: the default directory of dijitso
  std::string picture; // directory for the picture and files of VTK; empty: none
  std::optional<int> expected_compiles;
  bool help = false;
};

// Reads the options. Throws std::invalid_argument.
options parse_options(int argc, char** argv);

// Returns the text that --help prints.
const char* usage();
