// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_ffcx.hpp
/// Forms and expressions of FFCx, compiled while a program runs. Header only, on top of dijitso_host.hpp; needs ufcx.h.
///
///     dijitso::ffcx::module module = dijitso::ffcx::compile(ufl, comm);
///     const ufcx_form& a = module.form("a");
///
/// With CMake, dijitso_use_ffcx(TARGET) finds FFCx and passes the three macros below; they are the defaults of
/// dijitso::ffcx::options. Works with FFCx 0.5 to 0.11.
///
/// * DIJITSO_FFCX_PYTHON: the Python that can import ffcx
/// * DIJITSO_FFCX_VERSION: the version of FFCx, which becomes part of the signature
/// * DIJITSO_FFCX_INCLUDE_DIR: the directory of ufcx.h
#ifndef DIJITSO_FFCX_HPP
#define DIJITSO_FFCX_HPP

#include <dijitso_host.hpp>

#include <ufcx.h>

#ifndef DIJITSO_FFCX_PYTHON
#define DIJITSO_FFCX_PYTHON "python3"
#endif
#ifndef DIJITSO_FFCX_VERSION
#define DIJITSO_FFCX_VERSION ""
#endif
#ifndef DIJITSO_FFCX_INCLUDE_DIR
#define DIJITSO_FFCX_INCLUDE_DIR ""
#endif

namespace dijitso::ffcx
{

/// The way in which FFCx is run. All ranks pass the same.
struct options
{
  std::string python = DIJITSO_FFCX_PYTHON;           ///< Python that can import ffcx
  std::string version = DIJITSO_FFCX_VERSION;         ///< version of FFCx, part of the signature
  std::string include_dir = DIJITSO_FFCX_INCLUDE_DIR; ///< directory of ufcx.h
  std::vector<std::string> arguments = {};            ///< further arguments of FFCx, such as "--table_rtol", "1e-8"
  std::string name = "ffcx";                          ///< first part of the signature: letters, digits and _
  std::chrono::duration<double> time_limit = std::chrono::minutes(30); ///< of one run of FFCx
  std::function<bool()> cancelled = {}; ///< asked while the call runs or waits, on every rank on which it is set: true ends it
};

/// The forms and expressions of a UFL file. Copies are cheap; what it gives is valid until the process ends.
class module
{
public:
  /// Takes a library that a UFL file was compiled to.
  explicit module(dijitso::library library) : library_(std::move(library)) {}

  /// Returns a form by the name of its variable in the UFL file.
  const ufcx_form& form(const std::string& name) const { return *find<ufcx_form>("form_", name); }

  /// Returns an expression by the name of its variable in the list `expressions` of the UFL file, or by its number
  /// there if it has no name.
  const ufcx_expression& expression(const std::string& name) const
  {
    return *find<ufcx_expression>("expression_", name);
  }

  /// Returns the library.
  const dijitso::library& library() const noexcept { return library_; }

private:
  template <class T>
  T* find(const char* kind, const std::string& name) const
  {
    return *library_.symbol<T*>(kind + library_.signature() + "_" + name);
  }

  dijitso::library library_;
};

/// Runs FFCx on the text of a UFL file, on the ranks that build, if the library is in no cache, and loads it.
///
/// The signature depends on the text, on the version and arguments of FFCx and on the parameters.
///
/// @param ufl the text of a UFL file: FFCx compiles its variables `forms`, or a, L, M, J and F; and `expressions`.
///        `from ufl import *` is put before it.
/// @param comm all ranks of it make the call; in a dijitso without MPI the null communicator
/// @param chosen how FFCx is run
/// @param parameters further parameters, such as "build.cflags"
/// @throws dijitso::error, the same on every rank; if FFCx fails, with what it printed
/// @note Collective over comm.
inline module compile(const std::string& ufl, communicator comm, const options& chosen = {}, params parameters = params())
{
  const std::string arguments = host::list(chosen.arguments);
  parameters.set("build.language", "c");
  if (!chosen.include_dir.empty())
    parameters.set("build.include_dirs", host::list_word(chosen.include_dir) + " " + parameters.get("build.include_dirs").value_or(""));
  parameters.set("generator", host::json_object({{"ffcx", chosen.version}, {"arguments", arguments}, {"ufl", ufl}}));
  return module(host::jit(
      chosen.name, parameters,
      [&](source& result)
      {
        // FFCx names files and symbols after its input. The signature makes symbols unique, and the #include right.
        const host::temporary_directory directory;
        const std::string stem(result.signature());
        host::write_file(directory / (stem + ".py"), "from ufl import *\n" + ufl);
        std::vector<std::string> command = {chosen.python, "-m", "ffcx"};
        command.insert(command.end(), chosen.arguments.begin(), chosen.arguments.end());
        command.push_back(stem + ".py");
        // It writes into its working directory; the options that name another one differ between versions.
        host::run_options how;
        how.directory = directory.path();
        how.time_limit = chosen.time_limit;
        how.cancelled = chosen.cancelled;
        host::run(command, how);
        const std::string header = host::read_file(directory / (stem + ".h"));
        if (header.find("FFCx version " + chosen.version) == std::string::npos) // structs of ufcx.h differ between versions
          throw host::generator_error(chosen.python + " has another FFCx than " + chosen.version
                                      + ", which this program was built for: build the program again");
        result.set_header(header);
        result.set_code(host::read_file(directory / (stem + ".c")));
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

} // namespace dijitso::ffcx

#endif
