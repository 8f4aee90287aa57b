// SPDX-License-Identifier: MIT OR Apache-2.0
#include "options.hpp"
#include "picture.hpp"

#include <charconv>
#include <stdexcept>
#include <string_view>

namespace
{

int integer(std::string_view option, std::string_view text, int smallest, int largest)
{
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || stop != end || value < smallest || value > largest)
    throw std::invalid_argument(std::string(option) + " takes a whole number from " + std::to_string(smallest) + " to " +
                      std::to_string(largest) + ", not \"" + std::string(text) + "\"");
  return value;
}

} // namespace

options parse_options(int argc, char** argv)
{
  options chosen;
  for (int i = 1; i < argc; ++i)
  {
    const std::string_view option = argv[i];
    if (option == "--help")
    {
      chosen.help = true;
      return chosen;
    }
    const auto value = [&]() -> std::string {
      if (i + 1 == argc)
        throw std::invalid_argument(std::string(option) + " needs a value");
      return argv[++i];
    };
    if (option == "--kappa")
      chosen.kappa = value();
    else if (option == "--exact")
      chosen.exact = value();
    else if (option == "--source")
      chosen.source = value();
    else if (option == "--n")
      chosen.n = integer(option, value(), 2, 4096);
    else if (option == "--buildon")
      chosen.buildon = value();
    else if (option == "--cache")
      chosen.cache = value();
    else if (option == "--picture")
      chosen.picture = value();
    else if (option == "--expect-compiles")
      chosen.expected_compiles = integer(option, value(), 0, 1 << 20);
    else
      throw std::invalid_argument("unknown option \"" + std::string(option) + "\"; --help lists them");
  }
  if (!chosen.picture.empty() && chosen.n > finest_picture)
    throw std::invalid_argument("--picture draws each triangle, so --n is at most " + std::to_string(finest_picture));
  return chosen;
}

const char* usage()
{
  return R"(Solves -div(kappa grad u) = f on the unit square, with kernels that are generated, compiled and loaded at run time.

  --kappa EXPRESSION     coefficient, positive                      [1 + x]
  --exact EXPRESSION     exact solution and boundary values         [sin(pi*x)*sin(pi*y)]
  --source EXPRESSION    source term f                              [-div(kappa grad exact), derived]
  --n N                  squares per side; solved again with 2 N    [32]
  --buildon STRATEGY     which ranks compile: node, root, process   [node]
  --cache DIRECTORY      cache of compiled kernels                  [dijitso's default]
  --picture DIRECTORY    writes poisson.svg and poisson.pvtu, for ParaView: the solution with N squares per side
  --expect-compiles N    fail unless the ranks compile N times in all

Expressions: x, y, pi, numbers, + - * / ^, ( ), sin cos tan exp log sqrt sinh cosh tanh atan, pow(a, b).
)";
}
