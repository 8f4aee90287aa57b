// SPDX-License-Identifier: MIT OR Apache-2.0
#include "form.hpp"

#include "command.hpp"

#include <cstdint>
#include <cstdio>
#include <map>
#include <sstream>
#include <vector>

namespace
{

// The output of one run of FFC: the module of a form and all modules that it depends on.
class generated_modules
{
public:
  generated_modules(const std::string& ufl, const std::string& name)
  {
    const std::filesystem::path input = directory_.path() / "input.py";
    write_file(input, ufl);
    run_command({FFC_PYTHON, GENERATE_SCRIPT, input, name, directory_.path()}, directory_.path() / "output");
    std::istringstream lines(read_file(directory_.path() / "modules"));
    for (std::string line; std::getline(lines, line);)
    {
      std::istringstream words(line);
      std::string module, dependency;
      words >> module;
      auto& dependencies = dependencies_[module];
      while (words >> dependency)
        dependencies.push_back(dependency);
    }
  }

  std::string code(const std::string& name) const { return read_file(directory_.path() / (name + ".cpp")); }
  std::string header(const std::string& name) const { return read_file(directory_.path() / (name + ".h")); }
  const std::vector<std::string>& dependencies(const std::string& name) const { return dependencies_.at(name); }

private:
  temporary_directory directory_;
  std::map<std::string, std::vector<std::string>> dependencies_;
};

// Hands over one module after the modules that it depends on. Within a generate callback dijitso::jit is local to this rank: it
// finds or builds the dependency here, and the form takes it along to ranks that do not share this cache.
void set_module(const generated_modules& modules, const dijitso::params& parameters, int& compiles, dijitso::source& source)
{
  const std::string name(source.name());
  for (const std::string& dependency : modules.dependencies(name))
  {
    const dijitso::library library = dijitso::jit(dependency, parameters, [&](dijitso::source& dependency_source) {
      set_module(modules, parameters, compiles, dependency_source);
    });
    compiles += library.origin() == dijitso::origin::built;
    source.add_dependency(library);
  }
  source.set_header(modules.header(name));
  source.set_code(modules.code(name));
}

} // namespace

std::string form_name(const std::string& ufl)
{
  // FNV-1a over all that determines the code: the name is the signature here, so it alone tells forms apart.
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : ufl + '\0' + FFC_VERSION)
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  char text[2 * sizeof hash + 1];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return std::string("ffc_form_") + text;
}

dijitso::params form_parameters(const std::string& cache_directory)
{
  dijitso::params parameters;
  // FFC writes the names of modules into the code that includes and calls them, so dijitso must not add a hash to the names.
  parameters.set("cache.signature", "name");
  parameters.set("build.include_dirs", "'" UFC_INCLUDE_DIR "'"); // quoted, because a list is split as by a shell
  parameters.set("build.cxxflags_opt", "-O2");
  if (!cache_directory.empty())
    parameters.set("cache.cache_dir", cache_directory);
  return parameters;
}

compiled_form jit_form(const std::string& ufl, const dijitso::params& parameters, MPI_Comm comm)
{
  int runs = 0, compiles = 0;
  const std::string name = form_name(ufl);
  const dijitso::library library = dijitso::jit(
      name, parameters,
      [&](dijitso::source& source) {
        ++runs;
        set_module(generated_modules(ufl, name), parameters, compiles, source);
      },
      comm);
  compiles += library.origin() == dijitso::origin::built;
  const auto create = library.symbol<ufc::form*()>("create_" + name + "_form_main");
  return {std::shared_ptr<const ufc::form>(create()), library.origin(), runs, compiles};
}
