// SPDX-License-Identifier: MIT OR Apache-2.0
#include "form.hpp"

#include "command.hpp"

namespace
{

// Runs FFCx in a directory of its own and hands over what it wrote.
void generate(const std::string& ufl, dijitso::source& source)
{
  const temporary_directory directory;
  // FFCx names the files it writes, and the symbols in them, after the file it reads; named after the signature, its files are
  // called what dijitso saves them as.
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
  parameters.set("build.include_dirs", "'" UFCX_INCLUDE_DIR "'"); // quoted: lists are split as a shell does
  // What the generated code depends on. It becomes part of the signature: an edited UFL file or another FFCx is another library.
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
