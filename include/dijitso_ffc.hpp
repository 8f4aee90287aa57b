// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_ffc.hpp
/// Forms of FFC 2019, compiled while a program runs. Header only, on top of dijitso_host.hpp; needs ufc.h.
///
///     dijitso::ffc::module module = dijitso::ffc::compile(ufl, comm);
///     std::shared_ptr<const ufc::form> a = module.form("a");
///
/// With CMake, dijitso_use_ffc(TARGET) finds FFC and passes the three macros below; they are the defaults of
/// dijitso::ffc::options.
///
/// * DIJITSO_FFC_PYTHON: the Python that can import ffc
/// * DIJITSO_FFC_VERSION: the version of FFC, which becomes part of the signature
/// * DIJITSO_FFC_INCLUDE_DIR: the directory of ufc.h
#ifndef DIJITSO_FFC_HPP
#define DIJITSO_FFC_HPP

#include <dijitso_host.hpp>

#include <ufc.h>

#ifndef DIJITSO_FFC_PYTHON
#define DIJITSO_FFC_PYTHON "python3"
#endif
#ifndef DIJITSO_FFC_VERSION
#define DIJITSO_FFC_VERSION ""
#endif
#ifndef DIJITSO_FFC_INCLUDE_DIR
#define DIJITSO_FFC_INCLUDE_DIR ""
#endif

namespace dijitso::ffc
{

/// The way in which FFC is run. All ranks pass the same.
struct options
{
  std::string python = DIJITSO_FFC_PYTHON;             ///< Python that can import ffc
  std::string version = DIJITSO_FFC_VERSION;           ///< version of FFC, part of the signature
  std::string include_dir = DIJITSO_FFC_INCLUDE_DIR;   ///< directory of ufc.h
  std::map<std::string, std::string> parameters = {};  ///< of FFC, as Python writes them: {"optimize", "True"}
  std::string name = "ffc";                            ///< first part of the signature: letters, digits and _
  std::chrono::duration<double> time_limit = std::chrono::minutes(30); ///< of one run of FFC
};

/// Not part of the interface.
namespace detail
{

// Writes the code of all forms of a file, and a function for each by which it is found. Arguments: the file, the signature,
// the file to write, and a name and a value for each parameter.
inline constexpr const char* script = R"python(
import ast, sys
import ufl
from ffc.compiler import compile_form
from ffc.log import set_level
from ffc.parameters import default_parameters

source, signature, output = sys.argv[1:4]
parameters = default_parameters()
for name, value in zip(sys.argv[4::2], sys.argv[5::2]):
    if name not in parameters:
        sys.exit("FFC has no parameter %s" % name)
    parameters[name] = ast.literal_eval(value)
set_level(parameters["log_level"])
# "name = value" beside the forms: the names of forms and coefficients.
data = ufl.algorithms.load_ufl_file(source)
if not data.forms:
    sys.exit("the UFL file has no form: it defines a, L, M, F or J, or a list forms")
code = "".join(compile_form(data.forms, data.object_names, prefix=signature, parameters=parameters))
with open(output, "w") as file:
    file.write("#include <ufc.h>\n" + code)
    for number, form in enumerate(data.forms):
        name = data.object_names.get(id(form), "form_%d" % number)
        names = [data.object_names.get(id(c), "w%d" % i) for i, c in enumerate(form.coefficients())]
        file.write('extern "C" ufc::form* create_%s_%s() { return new %s_form_%d; }\n'
                   % (signature, name, signature.lower(), number))
        file.write('extern "C" const char coefficients_%s_%s[] = "%s";\n' % (signature, name, "\\n".join(names)))
)python";

} // namespace detail

/// The forms of a UFL file. Copies are cheap; what it gives is valid until the process ends.
class module
{
public:
  /// Takes a library that a UFL file was compiled to.
  explicit module(dijitso::library library) : library_(std::move(library)) {}

  /// Returns a form by the name of its variable in the UFL file.
  std::shared_ptr<const ufc::form> form(const std::string& name) const
  {
    return std::shared_ptr<const ufc::form>(
        library_.symbol<ufc::form*()>("create_" + library_.signature() + "_" + name)());
  }

  /// Returns the names in the UFL file of the coefficients of a form, in the order of
  /// ufc::form::original_coefficient_position().
  std::vector<std::string> coefficients(const std::string& name) const
  {
    return host::lines(library_.symbol<const char>("coefficients_" + library_.signature() + "_" + name));
  }

  /// Returns the library.
  const dijitso::library& library() const noexcept { return library_; }

private:
  dijitso::library library_;
};

/// Runs FFC on the text of a UFL file, on the ranks that build, if the library is in no cache, and loads it.
///
/// The signature depends on the text, on the version and parameters of FFC and on the parameters. Finite elements, dofmaps
/// and coordinate mappings are in the same library as the forms.
///
/// @param ufl the text of a UFL file; FFC compiles its variables `forms`, or a, L, M, F and J. `from ufl import *` is put
///        before it.
/// @param comm all ranks of it make the call; in a dijitso without MPI the null communicator
/// @param chosen how FFC is run
/// @param parameters further parameters, such as "build.cxxflags_opt"
/// @throws dijitso::error, the same on every rank; if FFC fails, with what it printed
/// @note Collective over comm.
inline module compile(const std::string& ufl, communicator comm, const options& chosen = {}, params parameters = params())
{
  if (!chosen.include_dir.empty())
    parameters.set("build.include_dirs", host::list_word(chosen.include_dir) + " " + parameters.get("build.include_dirs").value_or(""));
  parameters.set("generator", host::json_object({{"ffc", chosen.version},
                                                 {"parameters", host::json_object(chosen.parameters)},
                                                 {"ufl", ufl}}));
  return module(jit(
      chosen.name, parameters,
      [&](source& result)
      {
        const host::temporary_directory directory;
        host::write_file(directory / "form.ufl", "from ufl import *\n" + ufl);
        std::vector<std::string> command = {chosen.python,
                                            "-c",
                                            detail::script,
                                            (directory / "form.ufl").string(),
                                            std::string(result.signature()),
                                            (directory / "form.cpp").string()};
        for (const auto& [name, value] : chosen.parameters)
          command.insert(command.end(), {name, value});
        host::run_options how;
        how.directory = directory.path();
        how.time_limit = chosen.time_limit;
        host::run(command, how);
        result.set_code(host::read_file(directory / "form.cpp"));
      },
      comm));
}

#if DIJITSO_HAVE_MPI

/// Does what compile() does with the UFL file at `path`, which every rank reads.
/// @note Collective over comm.
inline module compile_file(const std::filesystem::path& path, MPI_Comm comm, const options& chosen = {},
                           params parameters = params())
{
  return compile(host::on_every_rank(comm, [&] { return host::read_file(path); }), comm, chosen, std::move(parameters));
}

#endif

} // namespace dijitso::ffc

#endif
