// SPDX-License-Identifier: MIT OR Apache-2.0
#include "form.hpp"

#include "command.hpp"

namespace
{

// Runs FFCx in a temporary directory and hands over the code that it writes.
void generate(const std::string& ufl, dijitso::source& source)
{
  const temporary_directory directory;
  // FFCx names its output files and their symbols after its input file. The signature as that name makes the symbols unique, and
  // the #include of the header right.
  const std::filesystem::path stem = directory.path() / std::string(source.signature());
  const std::filesystem::path input = stem.string() + ".py";
  write_file(input, ufl);
  run_command({FFCX_PYTHON, "-m", "ffcx", "-o", directory.path(), input}, directory.path() / "output");
  source.set_header(read_file(stem.string() + ".h"));
  source.set_code(read_file(stem.string() + ".c"));
}

std::string json_string(const std::string& text)
{
  constexpr const char* digits = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text)
  {
    if (c == '"' || c == '\\')
      quoted += '\\';
    if (static_cast<unsigned char>(c) >= 0x20)
      quoted += c;
    else
      quoted += std::string("\\u00") + digits[c >> 4] + digits[c & 15];
  }
  return quoted + '"';
}

} // namespace

dijitso::params form_parameters(const std::string& ufl, const std::string& cache_directory)
{
  dijitso::params parameters;
  parameters.set("build.language", "c");
  parameters.set("build.include_dirs", "'" UFCX_INCLUDE_DIR "'"); // quoted, because a list is split as by a shell
  // All that the generated code depends on becomes part of the signature: an edited UFL file or another FFCx gives another library.
  parameters.set("generator", "{\"ffcx\": " + json_string(FFCX_VERSION) + ", \"ufl\": " + json_string(ufl) + "}");
  if (!cache_directory.empty())
    parameters.set("cache.cache_dir", cache_directory);
  return parameters;
}

compiled_form jit_form(const std::string& ufl, const std::string& form_name, const dijitso::params& parameters, MPI_Comm comm)
{
  int runs = 0;
  const dijitso::library library = dijitso::jit(
      "ffcx", parameters,
      [&](dijitso::source& source) {
        ++runs;
        generate(ufl, source);
      },
      comm);
  // The symbol is a pointer to the form, not the form.
  const ufcx_form* const form = *library.symbol<ufcx_form*>("form_" + library.signature() + "_" + form_name);
  return {form, library.origin(), runs};
}
