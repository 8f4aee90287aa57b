// SPDX-License-Identifier: MIT OR Apache-2.0
// Code that another program writes: here awk writes the polynomial of the coefficients on the command line.
#include <dijitso_host.hpp>

#include <cmath>
#include <cstdio>

int main(int argc, char** argv)
{
  std::string input;
  for (int i = 1; i < argc; ++i)
    input += std::string(argv[i]) + "\n";
  if (input.empty())
    input = "1\n0\n3\n"; // 1 + 3 x^2
  constexpr const char* script =
      "BEGIN { print \"double polynomial(double x)\\n{\\n  double y = 0, power = 1;\" }"
      "!/^[-+.0-9]+$/ { print \"line \" NR \" is no number: \" $0 > \"/dev/stderr\"; exit 1 }"
      "{ print \"  y += \" $1 \" * power;\\n  power *= x;\" } END { print \"  return y;\\n}\" }";
  try
  {
    dijitso::params parameters;
    parameters.set("build.language", "c");
    parameters.set("generator", dijitso::host::json_object({{"script", script}, {"input", input}}));
    const dijitso::library library = dijitso::jit(
        "polynomial", parameters,
        [&](dijitso::source& source)
        {
          const dijitso::host::temporary_directory directory; // gone at the end
          dijitso::host::write_file(directory / "input.txt", input);
          dijitso::host::run_options how;
          how.directory = directory.path();
          how.time_limit = std::chrono::minutes(1);
          source.set_code(dijitso::host::run({"awk", script, "input.txt"}, how));
        });
    std::printf("p(2) = %g\n", library.symbol<double(double)>("polynomial")(2.0));
  }
  catch (const dijitso::error& error)
  {
    std::fprintf(stderr, "generator: %s\n", error.what());
    return 1;
  }
}
