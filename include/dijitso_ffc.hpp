// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_ffc.hpp
/// Forms, elements and dofmaps of FFC 2019, compiled while a program runs. Header only, on top of dijitso_host.hpp; needs
/// ufc.h.
///
///     dijitso::ffc::module module = dijitso::ffc::compile(ufl, comm);
///     std::shared_ptr<const ufc::form> a = module.form("a");
///     std::shared_ptr<const ufc::finite_element> V = module.element("V");
///
/// A form, and each element and coordinate mapping that it needs, is a library of its own: texts with the same element share
/// its library, and those that are missing are compiled at the same time. Comments, and the names of variables, are part of
/// the signature of the module only, which links them together.
///
/// With CMake, dijitso_use_ffc(TARGET) finds FFC and passes the three macros below; they are the defaults of
/// dijitso::ffc::options.
///
/// * DIJITSO_FFC_PYTHON: the Python that can import ffc
/// * DIJITSO_FFC_VERSION: the version of FFC, which becomes part of the signature
/// * DIJITSO_FFC_INCLUDE_DIR: the directory of ufc.h
#ifndef DIJITSO_FFC_HPP
#define DIJITSO_FFC_HPP

#if !defined(__cplusplus) || __cplusplus < 201703L
#error "dijitso_ffc.hpp needs C++17, and UseDOLFIN.cmake sets C++11: in CMake call dijitso_use_ffc(TARGET), or write set(CMAKE_CXX_STANDARD 17) after it"
#else // the whole file, so that the compiler prints that sentence alone

#include <dijitso_host.hpp>

#include <ufc.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
  std::function<bool()> cancelled = {}; ///< asked while the call runs or waits, on every rank on which it is set: true ends it
};

/// Not part of the interface.
namespace detail
{

/// A line of the table `dijitso_ffc_objects` of a library; the last one has no kind. The script writes it.
struct object
{
  const char* kind;         // "form" or "element"
  const char* name;         // of the variable in the UFL file
  const char* coefficients; // names of the coefficients of a form, in lines
  void (*create)();         // ufc::form* or ufc::finite_element*
  void (*create_dofmap)();  // null for a form
};

// Reads form.ufl in its working directory. Its arguments are the version of FFC, and a name and a value for each parameter. Writes NAME.h and
// NAME.cpp for each library, "libraries" with a line for each (its name, and those that it needs), and table.cpp.
inline constexpr const char* script = R"python(
import ast, pathlib, sys
import ffc, ufl
from ffc.compiler import compile_coordinate_mapping, compile_element, compile_form
from ffc.jitcompiler import compute_jit_prefix
from ffc.log import set_level
from ffc.parameters import default_jit_parameters, validate_jit_parameters

parameters = default_jit_parameters()
if sys.argv[1] not in ("", ffc.__version__):  # classes of ufc.h differ between versions
    sys.exit("this Python has FFC %s, and the program was built for FFC %s: build the program again"
             % (ffc.__version__, sys.argv[1]))
for name, value in zip(sys.argv[2::2], sys.argv[3::2]):
    if name not in parameters:
        sys.exit("FFC has no parameter %s" % name)
    parameters[name] = ast.literal_eval(value)
parameters = validate_jit_parameters(parameters)
set_level(parameters["log_level"])

namespace = {}
exec("from ufl import *", namespace)
exec(compile(pathlib.Path("form.ufl").read_text(), "form.ufl", "exec"), namespace)
data = ufl.algorithms.formfiles.interpret_ufl_namespace(namespace)
def named(value, default):
    return data.object_names.get(id(value), default)
if "elements" in namespace:
    elements = [(named(element, "element_%d" % i), element) for i, element in enumerate(data.elements)]
else:
    elements = [item for item in sorted(namespace.items()) if isinstance(item[1], ufl.FiniteElementBase)]
if not data.forms and not elements:
    sys.exit("the UFL file defines no form (a, L, M, F, J, or a list forms) and no element")

libraries = {}
def write(ufl_object):
    kind, name = compute_jit_prefix(ufl_object, parameters)
    if name in libraries:
        return name
    compile_object = {"form": compile_form, "element": compile_element,
                      "coordinate_mapping": compile_coordinate_mapping}[kind]
    header, code, needs = compile_object(ufl_object, prefix=name, parameters=parameters, jit=True)
    pathlib.Path(name + ".h").write_text(header)
    pathlib.Path(name + ".cpp").write_text(code)
    libraries[name] = []  # first, so that nothing is written twice
    libraries[name] = [write(need) for kind in ("element", "coordinate_mapping") for need in needs[kind]]
    return name

table, included = [], []
def add(kind, label, ufl_object, factories, coefficients=""):
    name = write(ufl_object)
    included.append('#include "%s.h"\n' % name)
    creates = ["reinterpret_cast<void (*)()>(&create_%s_%s_main)" % (name, part) for part in factories] + ["nullptr"]
    table.append('  {"%s", "%s", "%s", %s},\n' % (kind, label, coefficients, ", ".join(creates[:2])))

for number, form in enumerate(data.forms):
    coefficients = [named(c, "w%d" % i) for i, c in enumerate(form.coefficients())]
    add("form", named(form, "form_%d" % number), form, ["form"], "\\n".join(coefficients))
for name, element in elements:
    add("element", name, element, ["finite_element", "dofmap"])
pathlib.Path("table.cpp").write_text("".join(dict.fromkeys(included)) + """
struct object { const char *kind, *name, *coefficients; void (*create)(); void (*create_dofmap)(); };
extern "C"
{
extern const object dijitso_ffc_objects[];
const object dijitso_ffc_objects[] = {
""" + "".join(table) + "  {nullptr, nullptr, nullptr, nullptr, nullptr}};\n}\n")
pathlib.Path("libraries").write_text("".join(" ".join([name] + needs) + "\n" for name, needs in libraries.items()))
)python";

/// The output of one run of FFC.
class generated
{
public:
  generated(const std::string& ufl, const options& chosen)
  {
    host::write_file(directory_ / "form.ufl", ufl);
    std::vector<std::string> command = {chosen.python, "-c", script, chosen.version};
    for (const auto& [name, value] : chosen.parameters)
      command.insert(command.end(), {name, value});
    host::run_options how;
    how.directory = directory_.path();
    how.time_limit = chosen.time_limit;
    how.cancelled = chosen.cancelled;
    host::run(command, how);
    for (const std::string& line : host::lines(read("libraries")))
    {
      std::istringstream words(line);
      std::string name;
      words >> name;
      std::set<std::string>& needs = needs_[name];
      for (std::string need; words >> need;)
        needs.insert(need);
    }
  }

  /// Returns a file that FFC has written.
  std::string read(const std::string& file) const { return host::read_file(directory_ / file); }

  /// Returns the names of the libraries, and of those that each needs.
  const std::map<std::string, std::set<std::string>>& needs() const noexcept { return needs_; }

private:
  host::temporary_directory directory_;
  std::map<std::string, std::set<std::string>> needs_;
};

/// Returns a code in which each "NAME.h" is "SIGNATURE.h", as dijitso calls that header. All else that has NAME in it are
/// names of classes and functions, which stay.
inline std::string with_signatures(std::string code, const std::map<std::string, std::string>& signatures)
{
  for (const auto& [name, signature] : signatures)
    for (std::size_t at = 0; (at = code.find('"' + name + ".h\"", at)) != std::string::npos; at += signature.size())
      code.replace(at + 1, name.size(), signature);
  return code;
}

/// Builds all libraries of a run of FFC: those that need no other one at the same time, then those that need only these,
/// and so on. Then sets the table as the source. Within generate all this is local, and travels with the table.
inline void build_all(const generated& output, const params& parameters, source& table)
{
  std::map<std::string, std::string> signatures;
  callbacks functions;
  functions.generate = [&](source& result)
  {
    const std::string name(result.name());
    std::map<std::string, std::string> included = {{name, std::string(result.signature())}};
    for (const std::string& need : output.needs().at(name))
      result.add_dependency(included[need] = signatures.at(need));
    result.set_header(with_signatures(output.read(name + ".h"), included));
    result.set_code(with_signatures(output.read(name + ".cpp"), included));
  };
  while (signatures.size() < output.needs().size())
  {
    std::vector<std::string> ready;
    for (const auto& [name, needs] : output.needs())
      if (!signatures.count(name)
          && std::all_of(needs.begin(), needs.end(), [&](const std::string& need) { return signatures.count(need); }))
        ready.push_back(name);
    if (ready.empty())
      throw host::generator_error("FFC has written libraries that need each other");
    const std::vector<library> built = jit_many(ready, parameters, functions).all();
    for (std::size_t i = 0; i < ready.size(); ++i)
      signatures[ready[i]] = built[i].signature();
  }
  for (const auto& [name, signature] : signatures)
    table.add_dependency(signature);
  table.set_code(with_signatures(output.read("table.cpp"), signatures));
}

/// Makes an object that keeps its library.
template <class Object>
std::shared_ptr<const Object> make(void (*create)(), const library& from)
{
  return {reinterpret_cast<Object* (*)()>(create)(), [from](const Object* object) { delete object; }};
}

} // namespace detail

/// The forms and elements of a UFL file. Copies are cheap; what it gives may outlive it. All members are local.
class module
{
public:
  /// Takes a library that compile() has made.
  explicit module(dijitso::library library)
      : library_(std::move(library)), objects_(library_.symbol<const detail::object>("dijitso_ffc_objects"))
  {
  }

  /// Returns a form by the name of its variable in the UFL file; without one, it is form_0, form_1, ... in `forms`.
  std::shared_ptr<const ufc::form> form(std::string_view name) const
  {
    return detail::make<ufc::form>(find("form", name).create, library_);
  }

  /// Returns an element by the name of its variable in the UFL file; without one, it is element_0, ... in `elements`.
  std::shared_ptr<const ufc::finite_element> element(std::string_view name) const
  {
    return detail::make<ufc::finite_element>(find("element", name).create, library_);
  }

  /// Returns the dofmap of an element.
  std::shared_ptr<const ufc::dofmap> dofmap(std::string_view name) const
  {
    return detail::make<ufc::dofmap>(find("element", name).create_dofmap, library_);
  }

  /// Returns the names in the UFL file of the coefficients of a form, in the order of
  /// ufc::form::original_coefficient_position(); without one, it is w0, w1, ...
  std::vector<std::string> coefficients(std::string_view name) const
  {
    return host::lines(find("form", name).coefficients);
  }

  /// Returns the names of all forms.
  std::vector<std::string> forms() const { return names("form"); }

  /// Returns the names of all elements.
  std::vector<std::string> elements() const { return names("element"); }

  /// Returns the library, which is linked to those of forms and elements.
  const dijitso::library& library() const noexcept { return library_; }

private:
  std::vector<std::string> names(std::string_view kind) const
  {
    std::vector<std::string> found;
    for (const detail::object* object = objects_; object->kind; ++object)
      if (object->kind == kind)
        found.push_back(object->name);
    return found;
  }

  const detail::object& find(std::string_view kind, std::string_view name) const
  {
    for (const detail::object* object = objects_; object->kind; ++object)
      if (object->kind == kind && object->name == name)
        return *object;
    std::string known;
    for (const std::string& other : names(kind))
      known += (known.empty() ? "" : ", ") + other;
    throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "the UFL file has no " + std::string(kind) + " " + std::string(name)
                                                    + ", only: " + (known.empty() ? "none" : known));
  }

  dijitso::library library_;
  const detail::object* objects_;
};

/// Runs FFC on the text of a UFL file, on the ranks that build, if the library is in no cache, and loads it.
///
/// The signature depends on the text, on the version and parameters of FFC and on the parameters.
///
/// @param ufl the text of a UFL file; FFC compiles its variables `forms`, or a, L, M, F and J, and its variables `elements`,
///        or all that are elements. Names of UFL need no import.
/// @param comm all ranks of it make the call; in a dijitso without MPI, and for one process, the null communicator
/// @param chosen how FFC is run
/// @param parameters further parameters, such as "build.cxxflags_opt"
/// @throws dijitso::error, the same on every rank; if FFC fails, with what it printed
/// @note Collective over comm.
inline module compile(const std::string& ufl, communicator comm, const options& chosen = {}, params parameters = params())
{
  if (!chosen.include_dir.empty())
    parameters.set("build.include_dirs", host::list_word(chosen.include_dir) + " " + parameters.get("build.include_dirs").value_or(""));
  if (parameters.origin("build.cxxflags_opt") == "default")
    parameters.set("build.cxxflags_opt", "-O2"); // as FFC itself; -O3 takes longer for little
  parameters.set("generator", host::json_object({{"ffc", chosen.version},
                                                 {"parameters", host::json_object(chosen.parameters)},
                                                 {"script", detail::script},
                                                 {"ufl", ufl}}));
  return module(host::jit(
      chosen.name, parameters,
      [&](source& table)
      {
        // The names that FFC gives to forms and elements stand for the text, so that other texts find them.
        params inner;
        inner.merge_json(parameters.to_json()).set("generator", "null");
        detail::build_all(detail::generated(ufl, chosen), inner, table);
      },
      comm, chosen.cancelled));
}

/// Does what compile() does with the UFL file at `path`, which every rank reads.
/// @note Collective over comm.
inline module compile_file(const std::filesystem::path& path, communicator comm, const options& chosen = {},
                           params parameters = params())
{
  return compile(host::on_every_rank(comm, [&] { return host::read_file(path); }), comm, chosen, std::move(parameters));
}

} // namespace dijitso::ffc

#endif // C++17
#endif
