// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso.hpp
/// C++17 interface to dijitso; header only, on top of dijitso.h.
///
/// dijitso compiles generated code at run time, keeps the result in a cache, and loads it on every rank of a
/// communicator. The shortest complete program:
///
///     #include <dijitso.hpp>
///     #include <cstdio>
///
///     int main()
///     {
///       dijitso::library library =
///           dijitso::jit_source("square", "extern \"C\" double square(double x) { return x * x; }");
///       std::printf("%g\n", library.symbol<double(double)>("square")(3.0));
///     }
///
/// Ownership: params, library and error own their handle. source and blob are views that dijitso passes to a
/// callback; they are borrowed until the callback returns. Texts that go in and come out are copied, unless
/// said otherwise.
///
/// Errors: every failure is thrown as dijitso::error. An exception of a callback is caught before it reaches
/// the C library. jit() throws it again, with its own type, on the rank on which it was thrown; the other
/// ranks get a dijitso::error with its what().
///
/// MPI: jit(), jit_many(), jit_source(), jit_start(), pending::finish(), plan::make() and the functions of
/// namespace mpi are collective, nothing else. No copy or destructor communicates, so objects may be destroyed in
/// any order, also after MPI_Finalize. In a dijitso built without MPI the only communicator is the null
/// communicator.
///
/// Threads: distinct objects may be used from distinct threads, and one object from several as long as none
/// of them changes it. Calls of jit() on one communicator are made one at a time.
#ifndef DIJITSO_HPP
#define DIJITSO_HPP

#if !defined(__cplusplus) || (__cplusplus < 201703L && !(defined(_MSVC_LANG) && _MSVC_LANG >= 201703L))
#error "dijitso.hpp needs C++17: compile with -std=c++17 or newer (CMake: cxx_std_17), or use dijitso.h"
#else // the whole file, so that the compiler prints that sentence alone

#include <dijitso.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// Libraries from generated code, for C++ programs.
namespace dijitso
{

/// The type of a communicator: MPI_Comm, or a placeholder if dijitso was built without MPI.
#if DIJITSO_HAVE_MPI
using communicator = MPI_Comm;
#else
using communicator = std::decay_t<decltype(DIJITSO_COMM_NULL)>;
#endif

/// The way in which a call of jit() got its library on this rank.
enum class origin : std::int32_t
{
  memory = DIJITSO_ORIGIN_MEMORY,     ///< it was loaded in this process
  disk = DIJITSO_ORIGIN_DISK,         ///< it was in the cache directory
  built = DIJITSO_ORIGIN_BUILT,       ///< this rank generated and compiled it
  received = DIJITSO_ORIGIN_RECEIVED, ///< another rank built it and sent it
};

/// Returns the name of an origin: "memory", "disk", "built" or "received".
constexpr std::string_view to_string(origin value) noexcept
{
  switch (value)
  {
  case origin::memory: return "memory";
  case origin::disk: return "disk";
  case origin::built: return "built";
  case origin::received: return "received";
  }
  return "unknown";
}

/// Returns the version of the linked library, such as "1.0.0".
inline std::string_view version() noexcept { return dijitso_version(); }

/// A failure: a message, and where to look further. Copying does not throw.
class error : public std::runtime_error
{
public:
  /// Makes an error of the host; those of the library are made by this header.
  /// @param status one of DIJITSO_ERROR_*
  /// @param message one paragraph
  /// @param rank rank on which it happened, -1 if none
  /// @param log compiler output, empty if none
  /// @param path directory that reproduces the failure, empty if none
  /// @param files paths of the files in it
  error(dijitso_status status, const std::string& message, int rank = -1, std::string log = {}, std::string path = {},
        std::vector<std::string> files = {})
      : std::runtime_error(message),
        details_(std::make_shared<const details>(
            details{status, rank, std::move(log), std::move(path), std::move(files)}))
  {
  }

  /// Returns one of DIJITSO_ERROR_*.
  dijitso_status status() const noexcept { return details_->status; }

  /// Returns the rank in the communicator on which it happened; -1 if it concerns no single rank.
  int rank() const noexcept { return details_->rank; }

  /// Returns the whole compiler output; empty if no compiler ran. Borrowed until the error and its copies are
  /// gone.
  const std::string& log() const noexcept { return details_->log; }

  /// Returns the directory that reproduces the failure; empty if there is none. Borrowed like log().
  const std::string& path() const noexcept { return details_->path; }

  /// Returns the paths of the files in the directory path(): source, header, log, recompile.sh, README. Empty if
  /// there is no such directory on this host. Borrowed like log().
  const std::vector<std::string>& files() const noexcept { return details_->files; }

private:
  struct details
  {
    dijitso_status status;
    int rank;
    std::string log;
    std::string path;
    std::vector<std::string> files;
  };
  std::shared_ptr<const details> details_; // shared, because copying an exception must not throw
};

/// Not part of the interface.
namespace detail
{

template <auto Free>
struct deleter
{
  template <class Handle>
  void operator()(Handle* handle) const noexcept
  {
    Free(handle);
  }
};

inline std::string text(const char* borrowed) { return borrowed ? borrowed : ""; }

/// Throws the error of a failed call; takes ownership of `failure`, which may be null.
inline void check(dijitso_status status, dijitso_error* failure)
{
  const std::unique_ptr<dijitso_error, deleter<dijitso_error_free>> owned(failure);
  if (status == DIJITSO_OK)
    return;
  if (!owned)
    throw error(status, "dijitso failed with status " + std::to_string(status));
  std::vector<std::string> files;
  while (const char* file = dijitso_error_file(failure, files.size()))
    files.emplace_back(file);
  throw error(status, text(dijitso_error_message(failure)), static_cast<int>(dijitso_error_rank(failure)),
              text(dijitso_error_log(failure)), text(dijitso_error_path(failure)), std::move(files));
}

/// Returns a copy that ends in NUL. Refuses a NUL inside, which would cut the text short.
inline std::string c_string(std::string_view value)
{
  if (value.find('\0') != std::string_view::npos)
    throw error(DIJITSO_ERROR_INVALID_ARGUMENT,
                "text passed to dijitso contains a NUL character: " + std::string(value.data()));
  return std::string(value);
}

} // namespace detail

/// Parameters: defaults, overridden by the config file, then by the environment, then by what is set here.
///
/// Owns its handle; moved, not copied. Everything is local. Constructing and setting may throw (an unreadable
/// config file, an unknown key): a rank on which that happens must not leave the others waiting in a jit().
class params
{
public:
  /// Reads defaults, config file and environment. @local
  params()
  {
    dijitso_params* handle = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_params_new(&handle, &failure);
    handle_.reset(handle);
    detail::check(status, failure);
  }

  /// Also sets each key in turn: `params{{"cache.cache_dir", "/scratch/jit"}, {"build.debug", "true"}}`.
  /// @local
  params(std::initializer_list<std::pair<std::string_view, std::string_view>> values) : params()
  {
    for (const auto& [key, value] : values)
      set(key, value);
  }

  /// Sets one parameter from text, both copied. @local
  /// @param key "section.name", or "generator", whose value is any JSON
  /// @param value lists are split into words as a shell does
  params& set(std::string_view key, std::string_view value)
  {
    dijitso_error* failure = nullptr;
    const dijitso_status status =
        dijitso_params_set(handle_.get(), detail::c_string(key).c_str(), detail::c_string(value).c_str(), &failure);
    detail::check(status, failure);
    return *this;
  }

  /// Sets every parameter that a JSON object names; the text is copied. @local
  params& merge_json(std::string_view json)
  {
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_params_merge_json(handle_.get(), detail::c_string(json).c_str(), &failure);
    detail::check(status, failure);
    return *this;
  }

  /// Returns the value of a key as text; nothing if there is no such key. @local
  std::optional<std::string> get(std::string_view key) const
  {
    return copied(dijitso_params_get(handle_.get(), detail::c_string(key).c_str()));
  }

  /// Returns where the value of a key came from; nothing if there is no such key. @local
  std::optional<std::string> origin(std::string_view key) const
  {
    return copied(dijitso_params_origin(handle_.get(), detail::c_string(key).c_str()));
  }

  /// Returns all parameters as JSON. @local
  std::string to_json() const { return detail::text(dijitso_params_to_json(handle_.get())); }

  /// Returns the C handle, borrowed until this object is gone; null after a move.
  const dijitso_params* handle() const noexcept { return handle_.get(); }

private:
  static std::optional<std::string> copied(const char* borrowed)
  {
    return borrowed ? std::optional<std::string>(borrowed) : std::nullopt;
  }

  std::unique_ptr<dijitso_params, detail::deleter<dijitso_params_free>> handle_;
};

/// A loaded library.
///
/// Copies share one handle and cost a reference count; no copy is ever empty. The code stays loaded when the
/// last copy is gone, so function pointers never dangle. Everything is local and may be called from any
/// thread.
class library
{
public:
  /// Takes ownership of a handle from the C interface. @local
  explicit library(dijitso_library* owned) : handle_(owned, detail::deleter<dijitso_library_free>())
  {
    if (!owned)
      throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "a dijitso::library needs a handle that is not null");
  }

  /// Copies share the handle. A move would leave an empty library behind, so moving copies.
  library(const library&) = default;
  /// Shares the handle of the other library.
  library& operator=(const library&) = default;
  ~library() = default;

  /// Finds a function or an object: `symbol<double(double)>("f")` is a `double (*)(double)`,
  /// `symbol<int>("n")` an `int*`. The type is not checked. Valid until the process ends. @local
  template <class T>
  T* symbol(std::string_view name) const
  {
    return reinterpret_cast<T*>(function(name));
  }

  /// Finds a symbol of unknown type. Valid until the process ends. @local
  void* symbol_address(std::string_view name) const { return reinterpret_cast<void*>(function(name)); }

  /// Returns the signature: the key of this library in the cache. @local
  std::string signature() const { return detail::text(dijitso_library_signature(handle_.get())); }

  /// Returns the handle of the dynamic loader, for dlsym() and dlinfo(); null if the library was not loaded. Never
  /// close it. Valid until the process ends. @local
  void* loader_handle() const noexcept { return dijitso_library_handle(handle_.get()); }

  /// Returns the path of the library in the cache of this rank. @local
  std::string path() const { return detail::text(dijitso_library_path(handle_.get())); }

  /// Returns the way in which the call that returned it got it on this rank. @local
  dijitso::origin origin() const noexcept
  {
    return static_cast<dijitso::origin>(dijitso_library_origin(handle_.get()));
  }

  /// Returns the C handle, borrowed until the last copy is gone.
  const dijitso_library* handle() const noexcept { return handle_.get(); }

private:
  dijitso_fn function(std::string_view name) const
  {
    dijitso_fn found = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status =
        dijitso_library_symbol(handle_.get(), detail::c_string(name).c_str(), &found, &failure);
    detail::check(status, failure);
    return found;
  }

  std::shared_ptr<dijitso_library> handle_;
};

/// The request to a generate callback, and the place for its answer. A view, borrowed until the callback
/// returns.
class source
{
public:
  /// Makes the view; done by this header.
  source(std::string_view name, std::string_view signature, std::string_view generator,
         dijitso_source* handle) noexcept
      : name_(name), signature_(signature), generator_(generator), handle_(handle)
  {
  }
  source(const source&) = delete;
  source& operator=(const source&) = delete;

  /// Returns the name that was passed to jit(). Borrowed until the callback returns, like the next two.
  std::string_view name() const noexcept { return name_; }

  /// Returns the signature: the code is saved as `<signature>.cpp` (or .c), the header as `<signature>.h`.
  std::string_view signature() const noexcept { return signature_; }

  /// Returns the parameter "generator", as JSON.
  std::string_view generator() const noexcept { return generator_; }

  /// Sets the source text to compile; copied.
  void set_code(std::string_view code)
  {
    accept(dijitso_source_set_code(handle_, code.data(), code.size()), "the source text");
  }

  /// Sets the header text that the code and its dependants may include as "<signature>.h"; copied.
  void set_header(std::string_view header)
  {
    accept(dijitso_source_set_header(handle_, header.data(), header.size()), "the header text");
  }

  /// Adds a library to link to, from a jit() that has returned on this rank, possibly inside this callback;
  /// copied.
  void add_dependency(std::string_view signature)
  {
    accept(dijitso_source_add_dependency(handle_, detail::c_string(signature).c_str()),
           "dependency " + std::string(signature));
  }

  /// Adds a library to link to.
  void add_dependency(const library& dependency) { add_dependency(dependency.signature()); }

private:
  void accept(dijitso_status status, const std::string& what)
  {
    if (status != DIJITSO_OK)
      throw error(status, "dijitso refused " + what + " of " + std::string(signature_));
  }

  std::string_view name_, signature_, generator_;
  dijitso_source* handle_;
};

/// The bytes that a receive callback fills. A view, borrowed until the callback returns.
class blob
{
public:
  /// Makes the view; done by this header.
  explicit blob(dijitso_blob* handle) noexcept : handle_(handle) {}
  blob(const blob&) = delete;
  blob& operator=(const blob&) = delete;

  /// Returns a buffer of `size` bytes to write into; borrowed until the next resize or the end of the
  /// callback.
  std::uint8_t* resize(std::size_t size)
  {
    std::uint8_t* const data = dijitso_blob_resize(handle_, size);
    if (!data && size > 0)
      throw std::bad_alloc();
    return data;
  }

  /// Returns the C handle, borrowed until the callback returns.
  dijitso_blob* handle() const noexcept { return handle_; }

private:
  dijitso_blob* handle_;
};

/// Sets the source; throws to fail. Called on ranks that build, and only on a miss; jit() inside is local to
/// the rank.
using generate_function = std::function<void(source&)>;

/// The host's part in a jit(). All may be empty. They are called on the thread that called jit(), before
/// jit() returns.
struct callbacks
{
  /// Sets the source. Called on ranks that build, and only on a miss.
  generate_function generate;

  /// Replaces, together with receive, the library's transport to the ranks that do not share the builder's
  /// cache: sends `size` bytes to each of them. The bytes are borrowed until it returns.
  std::function<void(const std::uint8_t* data, std::size_t size)> send;

  /// Receives the bytes that send() sent.
  std::function<void(blob&)> receive;

  /// Called by every rank after building and transport, before loading; returns when all have called it, as a
  /// barrier does.
  std::function<void()> wait;

  /// Called at least every 50 ms while the call compiles or waits; returns true, or throws, to cancel the call
  /// on all ranks. Need not be set on all ranks.
  std::function<bool()> poll;
};

/// The result of jit_many().
struct many_result
{
  std::vector<std::optional<library>> libraries; ///< in the order of the names; empty for those that failed
  std::optional<error> failure;                  ///< lists every library that failed; empty if none did
  std::exception_ptr thrown;                     ///< what a callback has thrown on this rank, if one has

  /// Returns all libraries, in the order of the names. Throws `thrown`, or else `failure`, if there is one.
  std::vector<library> all() const
  {
    if (thrown)
      std::rethrow_exception(thrown);
    if (failure)
      throw *failure;
    std::vector<library> all;
    for (const std::optional<library>& one : libraries)
      all.push_back(one.value());
    return all;
  }
};

namespace detail
{

struct jit_call
{
  const callbacks& host;
  std::exception_ptr thrown; // the first one: later ones are consequences
};

/// Runs a callback so that nothing unwinds through the C library. Returns non-zero if it threw.
template <class Action>
std::int32_t guarded(void* user_data, Action action) noexcept
{
  auto& call = *static_cast<jit_call*>(user_data);
  try
  {
    action(call.host);
    return 0;
  }
  catch (...)
  {
    if (!call.thrown)
      call.thrown = std::current_exception();
    return 1;
  }
}

inline std::int32_t generate(void* user_data, const char* name, const char* signature, const char* generator,
                             dijitso_source* handle) noexcept
{
  return guarded(user_data, [&](const callbacks& host) {
    try
    {
      source request(name, signature, generator ? generator : "", handle);
      host.generate(request);
    }
    catch (const std::exception& reason)
    {
      dijitso_source_set_error(handle, reason.what());
      throw;
    }
    catch (...)
    {
      dijitso_source_set_error(handle, "the generate callback threw something that is not a std::exception");
      throw;
    }
  });
}

inline std::int32_t send(void* user_data, const std::uint8_t* data, std::size_t size) noexcept
{
  return guarded(user_data, [&](const callbacks& host) { host.send(data, size); });
}

inline std::int32_t receive(void* user_data, dijitso_blob* handle) noexcept
{
  return guarded(user_data, [&](const callbacks& host) {
    blob buffer(handle);
    host.receive(buffer);
  });
}

inline std::int32_t wait(void* user_data) noexcept
{
  return guarded(user_data, [](const callbacks& host) { host.wait(); });
}

inline std::int32_t poll(void* user_data) noexcept
{
  bool cancels = false;
  const std::int32_t threw = guarded(user_data, [&](const callbacks& host) { cancels = host.poll(); });
  return threw != 0 || cancels ? 1 : 0;
}

/// Returns the callbacks for the C library: valid as long as `call`.
inline dijitso_callbacks trampolines_of(jit_call& call)
{
  dijitso_callbacks trampolines = DIJITSO_CALLBACKS_INIT;
  trampolines.user_data = &call;
  trampolines.generate = call.host.generate ? generate : nullptr;
  trampolines.send = call.host.send ? send : nullptr;
  trampolines.receive = call.host.receive ? receive : nullptr;
  trampolines.wait = call.host.wait ? wait : nullptr;
  trampolines.poll = call.host.poll ? poll : nullptr;
  return trampolines;
}

/// Returns a copy of a name in which NUL is a character that the library refuses, on every rank. c_string()
/// would throw before the collective and leave the other ranks waiting in it.
inline std::string terminated_name(std::string_view name)
{
  std::string terminated(name);
  for (char& character : terminated)
    character = character == '\0' ? '?' : character;
  return terminated;
}

/// Returns a name that every rank refuses if the parameters were moved from. The C interface takes their null
/// handle as "all defaults"; and the other ranks are in the call already, so this rank must not throw.
inline std::string_view name_for(const params& parameters, std::string_view name)
{
  return parameters.handle() ? name : "(with parameters that were moved from)";
}

/// With `rethrows` false, throws the error of the library also on a rank whose callback threw.
inline library jit(std::string_view name, const dijitso_params* parameters, const callbacks& host, communicator comm,
                   bool rethrows = true)
{
  jit_call call{host, nullptr};
  const dijitso_callbacks trampolines = trampolines_of(call);
  dijitso_library* handle = nullptr;
  dijitso_error* failure = nullptr;
  const std::string terminated = terminated_name(name);
  const dijitso_status status = dijitso_jit(terminated.c_str(), parameters, &trampolines, comm, &handle, &failure);
  std::unique_ptr<dijitso_library, deleter<dijitso_library_free>> owned(handle);
  std::unique_ptr<dijitso_error, deleter<dijitso_error_free>> reason(failure);
  if (rethrows && call.thrown)
    std::rethrow_exception(call.thrown);
  check(status, reason.release());
  return library(owned.release());
}

inline many_result jit_many(const std::vector<std::string>& names, const params& parameters, const callbacks& host,
                            communicator comm)
{
  jit_call call{host, nullptr};
  const dijitso_callbacks trampolines = trampolines_of(call);
  std::vector<std::string> terminated;
  for (const std::string& name : names)
    terminated.push_back(terminated_name(name_for(parameters, name)));
  std::vector<const char*> texts;
  for (const std::string& name : terminated)
    texts.push_back(name.c_str());
  std::vector<dijitso_library*> handles(names.size());
  many_result result;
  result.libraries.resize(names.size());
  dijitso_error* failure = nullptr;
  const dijitso_status status = dijitso_jit_many(texts.size(), texts.data(), parameters.handle(), &trampolines, comm,
                                                 handles.data(), &failure);
  std::unique_ptr<dijitso_error, deleter<dijitso_error_free>> reason(failure);
  for (std::size_t i = 0; i < handles.size(); ++i)
    if (handles[i])
      result.libraries[i].emplace(handles[i]);
  result.thrown = call.thrown;
  try
  {
    check(status, reason.release());
  }
  catch (const error& failed)
  {
    result.failure = failed;
  }
  return result;
}

} // namespace detail

/// Returns the library `name`: from memory, from the cache, or built now.
///
/// On a miss it runs `host.generate` on the ranks that build, compiles, publishes in the cache, sends the
/// result to the ranks that do not share the builder's cache, and loads it everywhere. See dijitso_jit().
///
/// @param name 1 to 200 bytes of [A-Za-z0-9_.+-], not starting with '.' or '-'; copied
/// @param parameters the same on every rank; borrowed during the call
/// @param host the same on every rank, apart from poll; borrowed during the call; all empty if a hit is expected
/// @param comm the ranks that take part; with the null communicator the call is local and MPI is not touched
/// @throws dijitso::error with the same status and message on every rank; on a rank whose callback threw,
/// that exception
/// @collective over comm
/// @threads calls on one communicator one at a time
inline library jit(std::string_view name, const params& parameters, const callbacks& host,
                   communicator comm = DIJITSO_COMM_NULL)
{
  return detail::jit(detail::name_for(parameters, name), parameters.handle(), host, comm);
}

/// Returns the library `name`. `generate` is nullptr if a hit is expected. @collective over comm
inline library jit(std::string_view name, const params& parameters, generate_function generate,
                   communicator comm = DIJITSO_COMM_NULL)
{
  callbacks host;
  host.generate = std::move(generate);
  return jit(name, parameters, host, comm);
}

/// Returns the library `name`, with default parameters. @collective over comm
inline library jit(std::string_view name, const callbacks& host, communicator comm = DIJITSO_COMM_NULL)
{
  return detail::jit(name, nullptr, host, comm);
}

/// Returns the library `name`, with default parameters. @collective over comm
inline library jit(std::string_view name, generate_function generate, communicator comm = DIJITSO_COMM_NULL)
{
  callbacks host;
  host.generate = std::move(generate);
  return detail::jit(name, nullptr, host, comm);
}

/// Returns the libraries `names` in one call, which costs the ranks as many agreements as one library. Those
/// that are missing are compiled at the same time, and one that fails does not stop the others: see
/// dijitso_jit_many(). `host.generate` asks its source for the name(). @collective over comm
inline many_result jit_many(const std::vector<std::string>& names, const params& parameters, const callbacks& host,
                            communicator comm = DIJITSO_COMM_NULL)
{
  return detail::jit_many(names, parameters, host, comm);
}

/// A source text for jit_source(). Views, borrowed during the call.
struct source_text
{
  std::string_view code;                  ///< the source code, C or C++ as build.language says
  std::string_view header = {};           ///< what the code may include as "<signature>.h"; a null view for none
  std::vector<std::string> dependencies = {}; ///< signatures of libraries to link to, see library::signature()
};

namespace detail
{

inline library jit_source(std::string_view name, const dijitso_params* parameters, const source_text& text,
                          communicator comm)
{
  std::vector<std::string> dependencies;
  for (const std::string& dependency : text.dependencies)
    dependencies.push_back(terminated_name(dependency));
  std::vector<const char*> signatures;
  for (const std::string& dependency : dependencies)
    signatures.push_back(dependency.c_str());
  dijitso_text parts = DIJITSO_TEXT_INIT;
  parts.code = text.code.data();
  parts.code_length = text.code.size();
  parts.header = text.header.data();
  parts.header_length = text.header.size();
  parts.dependencies = signatures.data();
  parts.dependency_count = signatures.size();
  dijitso_library* handle = nullptr;
  dijitso_error* failure = nullptr;
  const std::string terminated = terminated_name(name);
  const dijitso_status status = dijitso_jit_text(terminated.c_str(), parameters, &parts, comm, &handle, &failure);
  std::unique_ptr<dijitso_library, deleter<dijitso_library_free>> owned(handle);
  check(status, failure);
  return library(owned.release());
}

/// Accepts communicators, and no texts.
template <class Comm>
using if_communicator = std::enable_if_t<
    std::is_convertible_v<Comm, communicator> && !std::is_convertible_v<Comm, std::string_view>, int>;

} // namespace detail

/// Returns the library of a source text: compiled if this text was never asked for, else from memory or the
/// cache.
///
/// It is jit() with a callback that sets this code and header, but the text is part of the signature: another
/// text is another library. Within a generate callback it is local to the rank, as jit() is.
///
/// @param name used in file names and messages: 1 to 200 bytes of [A-Za-z0-9_.+-], not starting with '.' or
///             '-'
/// @param parameters the same on every rank; borrowed during the call
/// @param text the same on every rank; borrowed during the call
/// @param comm the ranks that take part; with the null communicator the call is local and MPI is not touched
/// @throws dijitso::error with the same status and message on every rank
/// @collective over comm
/// @threads calls on one communicator one at a time
inline library jit_source(std::string_view name, const params& parameters, const source_text& text,
                          communicator comm = DIJITSO_COMM_NULL)
{
  return detail::jit_source(detail::name_for(parameters, name), parameters.handle(), text, comm);
}

/// Returns the library of a source text, with default parameters. @collective over comm
inline library jit_source(std::string_view name, const source_text& text, communicator comm = DIJITSO_COMM_NULL)
{
  return detail::jit_source(name, nullptr, text, comm);
}

/// Returns the library of a code and an optional header. @collective over comm
inline library jit_source(std::string_view name, const params& parameters, std::string_view code,
                          std::string_view header = {}, communicator comm = DIJITSO_COMM_NULL)
{
  return jit_source(name, parameters, source_text{code, header}, comm);
}

/// Returns the library of a code and an optional header, with default parameters. @collective over comm
inline library jit_source(std::string_view name, std::string_view code, std::string_view header = {},
                          communicator comm = DIJITSO_COMM_NULL)
{
  return detail::jit_source(name, nullptr, source_text{code, header}, comm);
}

/// Returns the library of a code without a header, on a communicator. @collective over comm
template <class Comm, detail::if_communicator<Comm> = 0>
library jit_source(std::string_view name, const params& parameters, std::string_view code, Comm comm)
{
  return jit_source(name, parameters, source_text{code}, comm);
}

/// Returns the library of a code without a header, with default parameters, on a communicator. @collective
/// over comm
template <class Comm, detail::if_communicator<Comm> = 0>
library jit_source(std::string_view name, std::string_view code, Comm comm)
{
  return detail::jit_source(name, nullptr, source_text{code}, comm);
}

/// A call of jit() in two parts: jit_start() generates the source and leaves it to be compiled, finish()
/// returns the library.
///
/// Libraries that do not need each other are built at the same time if all of them are started before one is
/// finished. Owns the call; moved, not copied. A call that is destroyed unfinished is given up; that has to
/// happen on all ranks.
class pending
{
public:
  /// Starts a call; use jit_start(). @collective over comm
  pending(std::string_view name, const dijitso_params* parameters, callbacks host, communicator comm)
      : call_(std::make_unique<stable_call>(std::move(host)))
  {
    const dijitso_callbacks trampolines = detail::trampolines_of(call_->call);
    const std::string terminated = detail::terminated_name(name);
    dijitso_pending* handle = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status =
        dijitso_jit_start(terminated.c_str(), parameters, &trampolines, comm, &handle, &failure);
    handle_.reset(handle);
    detail::check(status, failure);
  }

  /// Waits until the library is built, sends it to ranks that need it, and loads it; once. Throws what a
  /// callback threw, also during the start. @collective over the communicator of the start
  library finish()
  {
    if (!handle_)
      throw error(DIJITSO_ERROR_STATE, "this dijitso::pending was finished or moved away");
    dijitso_library* handle = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_jit_finish(handle_.release(), &handle, &failure);
    std::unique_ptr<dijitso_library, detail::deleter<dijitso_library_free>> owned(handle);
    std::unique_ptr<dijitso_error, detail::deleter<dijitso_error_free>> reason(failure);
    if (status != DIJITSO_OK && call_->call.thrown)
      std::rethrow_exception(call_->call.thrown);
    detail::check(status, reason.release());
    return library(owned.release());
  }

private:
  // At one address, even if this object is moved: the C library keeps a pointer to it.
  struct stable_call
  {
    explicit stable_call(callbacks functions) : host(std::move(functions)), call{host, nullptr} {}
    callbacks host;
    detail::jit_call call;
  };

  std::unique_ptr<stable_call> call_; // outlives the handle
  std::unique_ptr<dijitso_pending, detail::deleter<dijitso_pending_free>> handle_;
};

/// Starts a call of jit(); see pending. Every rank must be able to generate. @collective over comm
inline pending jit_start(std::string_view name, const params& parameters, callbacks host,
                         communicator comm = DIJITSO_COMM_NULL)
{
  return pending(detail::name_for(parameters, name), parameters.handle(), std::move(host), comm);
}

/// Starts a call of jit(). `generate` is nullptr if a hit is expected. @collective over comm
inline pending jit_start(std::string_view name, const params& parameters, generate_function generate,
                         communicator comm = DIJITSO_COMM_NULL)
{
  callbacks host;
  host.generate = std::move(generate);
  return jit_start(name, parameters, std::move(host), comm);
}

/// Counts of builds of this process, see progress().
struct build_progress
{
  std::uint64_t done;  ///< Builds that have ended, with or without success.
  std::uint64_t total; ///< Builds that have begun. The difference is under way.
};

/// Counts the builds of this process; any thread may ask. Libraries that are found, or built by other
/// processes, are not counted.
inline build_progress progress() noexcept
{
  build_progress counts{};
  dijitso_progress(&counts.done, &counts.total);
  return counts;
}

/// Starts a call of jit(), with default parameters. @collective over comm
inline pending jit_start(std::string_view name, generate_function generate, communicator comm = DIJITSO_COMM_NULL)
{
  callbacks host;
  host.generate = std::move(generate);
  return pending(name, nullptr, std::move(host), comm);
}

/// Not part of the interface.
namespace detail
{

/// Returns the argument of a visitor: a view for a C string, else a reference.
template <class Item>
decltype(auto) visited(const Item* item)
{
  if constexpr (std::is_same_v<Item, char>)
    return std::string_view(item);
  else
    return *item;
}

/// Carries a visitor through the C library. It may return nothing, or false to end the visit. If it throws,
/// the visit ends and the call throws the exception again.
template <class Item, class Action>
struct visit
{
  Action& action;
  std::exception_ptr thrown;

  static std::int32_t call(void* user_data, const Item* item) noexcept
  {
    auto& self = *static_cast<visit*>(user_data);
    try
    {
      if constexpr (std::is_void_v<decltype(self.action(visited(item)))>)
        return self.action(visited(item)), 0;
      else
        return self.action(visited(item)) ? 0 : 1;
    }
    catch (...)
    {
      self.thrown = std::current_exception();
      return 1;
    }
  }
};

/// Makes a call with a visitor: `invoke(function, user_data, error_out)`.
template <class Item, class Action, class Invoke>
void call_with_visitor(Action& action, Invoke invoke)
{
  visit<Item, Action> visitor{action, nullptr};
  dijitso_error* failure = nullptr;
  const dijitso_status status = invoke(&visit<Item, Action>::call, static_cast<void*>(&visitor), &failure);
  std::unique_ptr<dijitso_error, deleter<dijitso_error_free>> reason(failure);
  if (visitor.thrown)
    std::rethrow_exception(visitor.thrown);
  check(status, reason.release());
}

/// Makes a call that can fail: `invoke(error_out)`.
template <class Invoke>
void call(Invoke invoke)
{
  dijitso_error* failure = nullptr;
  const dijitso_status status = invoke(&failure);
  check(status, failure);
}

/// Makes a call that fills a blob, and returns a copy of the bytes: `invoke(blob, error_out)`.
template <class Invoke>
std::string call_for_bytes(Invoke invoke)
{
  dijitso_blob* handle = nullptr;
  call([&](auto failure) { return dijitso_blob_new(&handle, failure); });
  const std::unique_ptr<dijitso_blob, deleter<dijitso_blob_free>> owned(handle);
  call([&](auto failure) { return invoke(handle, failure); });
  return std::string(reinterpret_cast<const char*>(dijitso_blob_data(handle)), dijitso_blob_size(handle));
}

/// Makes a call that shows texts to a visitor, and returns them: `invoke(function, user_data, error_out)`.
template <class Invoke>
std::vector<std::string> call_for_texts(Invoke invoke)
{
  std::vector<std::string> texts;
  auto collect = [&](std::string_view text) { texts.emplace_back(text); };
  call_with_visitor<char>(collect, invoke);
  return texts;
}

inline const std::uint8_t* bytes(std::string_view data) { return reinterpret_cast<const std::uint8_t*>(data.data()); }

/// Returns pointers to C strings, valid as long as `words`.
inline std::vector<const char*> pointers(const std::vector<std::string>& words)
{
  std::vector<const char*> all;
  for (const std::string& word : words)
    all.push_back(word.c_str());
  return all;
}

} // namespace detail

/// A node of a plan; DIJITSO_NODE_NONE is none.
using node = dijitso_node;

/// The state of a node.
enum class state : std::int32_t
{
  todo = DIJITSO_NODE_TODO,       ///< not made yet
  running = DIJITSO_NODE_RUNNING, ///< running in this process
  done = DIJITSO_NODE_DONE,       ///< its result is in the cache
  failed = DIJITSO_NODE_FAILED,   ///< it has failed in the last make
  blocked = DIJITSO_NODE_BLOCKED, ///< something that it needs has failed
};

/// The kind of an edge.
enum class edge : std::int32_t
{
  use = DIJITSO_EDGE_USE,     ///< the result is used: a library is linked, files are read
  after = DIJITSO_EDGE_AFTER, ///< the node is only made later
};

/// The task whose callback runs: what it needs, and the place for its result. A view, borrowed until the callback
/// returns.
class task
{
public:
  /// Makes the view; done by this header.
  explicit task(dijitso_task* handle) noexcept : handle_(handle) {}
  task(const task&) = delete;
  task& operator=(const task&) = delete;

  /// Returns the node.
  dijitso::node node() const noexcept { return dijitso_task_node(handle_); }

  /// Returns the signature under which the result is kept. Borrowed until the callback returns, like params().
  std::string_view signature() const noexcept { return dijitso_task_signature(handle_); }

  /// Returns the parameters, as JSON.
  std::string_view params() const noexcept { return dijitso_task_params(handle_); }

  /// Returns the nodes whose results it uses, in the order in which the edges were added.
  std::vector<dijitso::node> needs() const
  {
    std::vector<dijitso::node> nodes;
    for (std::size_t i = 0; i < dijitso_task_need_count(handle_); ++i)
      nodes.push_back(dijitso_task_need_node(handle_, i));
    return nodes;
  }

  /// Returns the bytes that another task has made, by its place among needs(). Borrowed until the callback returns.
  std::string_view result_of(std::size_t index) const { return read(index, nullptr); }

  /// Returns a file that another task has made. Borrowed until the callback returns.
  std::string_view result_of(std::size_t index, std::string_view file) const
  {
    return read(index, detail::c_string(file).c_str());
  }

  /// Adds a need, mostly of a node that the callback has added. If that is not done when the callback returns, the
  /// callback is called again when it is.
  void need(dijitso::node needed)
  {
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_task_need(handle_, needed, &failure);
    detail::check(status, failure);
  }

  /// Sets the bytes that the task makes; copied.
  void set_result(std::string_view data)
  {
    accept(dijitso_task_set_result(handle_, reinterpret_cast<const std::uint8_t*>(data.data()), data.size()),
           "the result");
  }

  /// Adds a file to what the task makes; copied. Its name is a relative path.
  void add_file(std::string_view name, std::string_view data, bool executable = false)
  {
    accept(dijitso_task_add_file(handle_, detail::c_string(name).c_str(),
                                 reinterpret_cast<const std::uint8_t*>(data.data()), data.size(), executable ? 1 : 0),
           "the file " + std::string(name));
  }

  /// Returns the C handle, borrowed until the callback returns.
  dijitso_task* handle() const noexcept { return handle_; }

private:
  std::string_view read(std::size_t index, const char* file) const
  {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_task_need_result(handle_, index, file, &data, &size, &failure);
    detail::check(status, failure);
    return std::string_view(reinterpret_cast<const char*>(data), size);
  }

  static void accept(dijitso_status status, const std::string& what)
  {
    if (status != DIJITSO_OK)
      throw error(status, "dijitso refused " + what + " of a task");
  }

  dijitso_task* handle_;
};

/// Makes the result of a task; throws to fail.
using task_function = std::function<void(task&)>;

/// What a node may have besides its name and its function or text. Copied.
struct node_options
{
  std::string label = {};               ///< a name for people, unique in the plan; empty: made from the name
  std::vector<node> needs = {};         ///< the nodes whose results it uses
  std::vector<node> after = {};         ///< the nodes that are only made before it
  bool any_thread = false;              ///< its function may run on any thread, beside others
  const params* parameters = nullptr;   ///< of a module; null: those of the plan
  std::string params_json = {};         ///< of a task; part of its key; empty: {}
  std::vector<std::string> inputs = {}; ///< of a task: paths of files that it reads
};

/// Options of plan::make().
struct make_options
{
  std::vector<node> targets = {}; ///< the nodes to make, with all that they need; empty: all
  std::size_t jobs = 0;           ///< the most nodes that run at once in this process; 0: one for each core
  std::size_t retries = 0;        ///< further attempts for a node that fails for a passing reason
  bool fail_fast = false;         ///< start nothing new after the first failure
  bool force = false;             ///< make tasks again whose results are in the cache
  bool load = true;               ///< load the libraries on all ranks
  std::function<bool()> poll = {};                          ///< as callbacks::poll
  std::function<void(const dijitso_event&)> event = {};     ///< gets what happens; throws to cancel
};

/// A build plan: a graph of modules and tasks, made in parallel; see BUILD PLANS in dijitso.h.
///
/// Owns its handle and the functions of its nodes; moved, not copied. make() is collective, all else is local.
/// It may be destroyed by one of its callbacks: what make() needs stays until make() returns.
class plan
{
public:
  /// Makes an empty plan with default parameters. @local
  explicit plan(std::string_view name) : plan(name, static_cast<const dijitso_params*>(nullptr)) {}

  /// Makes an empty plan. @local
  plan(std::string_view name, const params& parameters) : plan(name, parameters.handle()) {}

  /// Makes the plan that a plan file describes. @local
  static plan load(std::string_view path, const params& parameters)
  {
    const std::string terminated = detail::c_string(path);
    dijitso_plan* handle = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_plan_load(terminated.c_str(), parameters.handle(), &handle, &failure);
    plan loaded(handle);
    detail::check(status, failure);
    return loaded;
  }

  /// Adds a library that `generate` generates on a miss. @local
  node add_module(std::string_view name, generate_function generate, const node_options& options = {})
  {
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    auto function = std::make_unique<node_function>();
    function->owner = state_.get();
    function->generate = std::move(generate);
    module.generate = run_generate;
    module.user_data = function.get();
    const node added = add(name, module, options);
    state_->keep(std::move(function));
    return added;
  }

  /// Adds the library of a source text. What it is linked to are its needs. @local
  node add_module(std::string_view name, const source_text& text, const node_options& options = {})
  {
    if (!text.dependencies.empty())
      throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "the libraries that a node of a plan is linked to are its needs");
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    module.code = text.code.data() ? text.code.data() : "";
    module.code_length = text.code.size();
    module.header = text.header.data();
    module.header_length = text.header.size();
    return add(name, module, options);
  }

  /// Adds a task. @local
  node add_task(std::string_view name, task_function run, const node_options& options = {})
  {
    const std::string terminated = detail::c_string(name), label = detail::c_string(options.label);
    const std::string json = detail::c_string(options.params_json);
    std::vector<const char*> inputs;
    for (const std::string& input : options.inputs)
      inputs.push_back(input.c_str());
    auto function = std::make_unique<node_function>();
    function->owner = state_.get();
    function->run = std::move(run);
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    task.label = label.c_str();
    task.name = terminated.c_str();
    task.params_json = json.empty() ? nullptr : json.c_str();
    task.user_data = function.get();
    task.run = run_task;
    task.inputs = inputs.data();
    task.input_count = inputs.size();
    task.flags = options.any_thread ? DIJITSO_NODE_ANY_THREAD : 0;
    node added = DIJITSO_NODE_NONE;
    call([&](auto failure) { return dijitso_plan_add_task(handle(), &task, &added, failure); });
    state_->keep(std::move(function));
    connect(added, options);
    return added;
  }

  /// Adds an edge: `needed` is made before `which`. @local
  void need(node which, node needed, edge kind = edge::use)
  {
    call([&](auto failure) {
      return dijitso_plan_need(handle(), which, needed, static_cast<std::int32_t>(kind), failure);
    });
  }

  /// Makes the nodes of the plan and loads its libraries; see dijitso_plan_make(). Throws what a callback threw on
  /// this rank first, if the make fails; else a dijitso::error, the same on every rank. @collective over comm
  void make(const make_options& options = {}, communicator comm = DIJITSO_COMM_NULL)
  {
    const std::shared_ptr<plan_state> kept = state_;
    made_call call{options, nullptr};
    dijitso_make_options given = DIJITSO_MAKE_OPTIONS_INIT;
    given.targets = options.targets.data();
    given.target_count = options.targets.size();
    given.jobs = options.jobs;
    given.retries = options.retries;
    given.flags = (options.fail_fast ? DIJITSO_MAKE_FAIL_FAST : 0) | (options.force ? DIJITSO_MAKE_FORCE : 0)
                  | (options.load ? 0 : DIJITSO_MAKE_NO_LOAD);
    given.user_data = &call;
    given.poll = options.poll || options.event ? poll : nullptr;
    given.event = options.event ? event : nullptr;
    if (kept)
      kept->take();
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_plan_make(kept ? kept->handle.get() : nullptr, &given, comm, &failure);
    std::unique_ptr<dijitso_error, detail::deleter<dijitso_error_free>> reason(failure);
    if (call.thrown)
      std::rethrow_exception(call.thrown);
    const std::exception_ptr thrown = kept ? kept->take() : nullptr;
    if (status != DIJITSO_OK && thrown)
      std::rethrow_exception(thrown);
    detail::check(status, reason.release());
  }

  /// Makes all nodes on a communicator. @collective over comm
  void make(communicator comm) { make(make_options{}, comm); }

  /// Asks the make in progress, or the next one, to stop: what runs is finished, or with `kill` ended. @local
  void cancel(bool kill = false) noexcept
  {
    dijitso_plan_cancel(handle(), kill ? DIJITSO_CANCEL_KILL : DIJITSO_CANCEL_FINISH);
  }

  /// Returns the state of a node. @local
  dijitso::state state(node which) const
  {
    const std::int32_t found = dijitso_plan_state(handle(), which);
    if (found < 0)
      throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "node " + std::to_string(which) + " is not in the plan");
    return static_cast<dijitso::state>(found);
  }

  /// Returns the label of a node; empty if there is no such node. @local
  std::string label(node which) const { return detail::text(dijitso_plan_label(handle(), which)); }

  /// Returns the signature of a node; empty if it is not known. @local
  std::string signature(node which) const { return detail::text(dijitso_plan_signature(handle(), which)); }

  /// Returns the node of a label, or DIJITSO_NODE_NONE. @local
  node find(std::string_view label) const
  {
    return dijitso_plan_find(handle(), detail::c_string(label).c_str());
  }

  /// Returns the node whose function runs on this thread, or DIJITSO_NODE_NONE. @local
  node current() const noexcept { return dijitso_plan_current(handle()); }

  /// Returns the bytes that a task has made. @local
  std::string result(node which) const { return read(which, nullptr); }

  /// Returns a file that a task has made. @local
  std::string result(node which, std::string_view file) const { return read(which, detail::c_string(file).c_str()); }

  /// Returns the library of a module that is done. @local
  dijitso::library library(node which) const
  {
    dijitso_library* found = nullptr;
    call([&](auto failure) { return dijitso_plan_library(handle(), which, &found, failure); });
    return dijitso::library(found);
  }

  /// Returns the error of a node that is failed or blocked; nothing for others. @local
  std::optional<error> failure(node which) const
  {
    dijitso_error* found = nullptr;
    const dijitso_status status = dijitso_plan_error(handle(), which, &found);
    try
    {
      detail::check(status, found);
    }
    catch (const error& reason)
    {
      return reason;
    }
    return std::nullopt;
  }

  /// Calls `visitor(const dijitso_node_info&)` for each node. @local
  template <class Visitor>
  void visit(Visitor visitor) const
  {
    detail::call_with_visitor<dijitso_node_info>(visitor, [&](auto function, void* user_data, auto failure) {
      return dijitso_plan_visit(handle(), function, user_data, failure);
    });
  }

  /// Writes the plan as a plan file. @local
  void save(std::string_view path) const
  {
    const std::string terminated = detail::c_string(path);
    call([&](auto failure) { return dijitso_plan_save(handle(), terminated.c_str(), failure); });
  }

  /// Returns the C handle, borrowed until this object is gone; null after a move.
  dijitso_plan* handle() const noexcept { return state_ ? state_->handle.get() : nullptr; }

private:
  struct plan_state;

  // At one address as long as the plan: the C library keeps a pointer to it.
  struct node_function
  {
    plan_state* owner = nullptr;
    generate_function generate;
    task_function run;
  };

  struct plan_state
  {
    void keep(std::unique_ptr<node_function> function)
    {
      const std::lock_guard<std::mutex> guard(mutex);
      functions.push_back(std::move(function));
    }

    // The first one: later ones are mostly consequences.
    void note(std::exception_ptr exception) noexcept
    {
      const std::lock_guard<std::mutex> guard(mutex);
      if (!thrown)
        thrown = exception;
    }

    std::exception_ptr take() noexcept
    {
      const std::lock_guard<std::mutex> guard(mutex);
      return std::exchange(thrown, nullptr);
    }

    std::mutex mutex;
    std::exception_ptr thrown;
    std::vector<std::unique_ptr<node_function>> functions; // outlive the handle
    std::unique_ptr<dijitso_plan, detail::deleter<dijitso_plan_free>> handle;
  };

  struct made_call
  {
    const make_options& options;
    std::exception_ptr thrown;
  };

  explicit plan(dijitso_plan* owned) : state_(std::make_shared<plan_state>()) { state_->handle.reset(owned); }

  plan(std::string_view name, const dijitso_params* parameters) : state_(std::make_shared<plan_state>())
  {
    const std::string terminated = detail::c_string(name);
    dijitso_plan* made = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_plan_new(terminated.c_str(), parameters, &made, &failure);
    state_->handle.reset(made);
    detail::check(status, failure);
  }

  template <class Invoke>
  static void call(Invoke invoke)
  {
    dijitso_error* failure = nullptr;
    const dijitso_status status = invoke(&failure);
    detail::check(status, failure);
  }

  node add(std::string_view name, dijitso_plan_module module, const node_options& options)
  {
    const std::string terminated = detail::c_string(name), label = detail::c_string(options.label);
    module.label = label.c_str();
    module.name = terminated.c_str();
    module.params = options.parameters ? options.parameters->handle() : nullptr;
    module.flags = options.any_thread ? DIJITSO_NODE_ANY_THREAD : 0;
    node added = DIJITSO_NODE_NONE;
    call([&](auto failure) { return dijitso_plan_add_module(handle(), &module, &added, failure); });
    connect(added, options);
    return added;
  }

  void connect(node added, const node_options& options)
  {
    for (const node needed : options.needs)
      need(added, needed, edge::use);
    for (const node before : options.after)
      need(added, before, edge::after);
  }

  std::string read(node which, const char* file) const
  {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
    call([&](auto failure) { return dijitso_plan_result(handle(), which, file, &data, &size, failure); });
    return std::string(reinterpret_cast<const char*>(data), size);
  }

  /// Runs a function of a node so that nothing unwinds through the C library. Returns non-zero if it threw.
  template <class Action, class SetError>
  static std::int32_t guarded(void* user_data, Action action, SetError set_error) noexcept
  {
    auto& function = *static_cast<node_function*>(user_data);
    try
    {
      try
      {
        action(function);
        return 0;
      }
      catch (const std::exception& reason)
      {
        set_error(reason.what());
        throw;
      }
      catch (...)
      {
        set_error("the callback threw something that is not a std::exception");
        throw;
      }
    }
    catch (...)
    {
      function.owner->note(std::current_exception());
      return 1;
    }
  }

  static std::int32_t run_generate(void* user_data, const char* name, const char* signature, const char* generator,
                                   dijitso_source* source_handle) noexcept
  {
    return guarded(
        user_data,
        [&](const node_function& function) {
          source request(name, signature, generator ? generator : "", source_handle);
          function.generate(request);
        },
        [&](const char* reason) { dijitso_source_set_error(source_handle, reason); });
  }

  static std::int32_t run_task(void* user_data, dijitso_task* task_handle) noexcept
  {
    return guarded(
        user_data,
        [&](const node_function& function) {
          task request(task_handle);
          function.run(request);
        },
        [&](const char* reason) { dijitso_task_set_error(task_handle, reason); });
  }

  static std::int32_t poll(void* user_data) noexcept
  {
    auto& call = *static_cast<made_call*>(user_data);
    try
    {
      return call.thrown || (call.options.poll && call.options.poll()) ? 1 : 0;
    }
    catch (...)
    {
      call.thrown = std::current_exception();
      return 1;
    }
  }

  // The make is cancelled at the next poll.
  static void event(void* user_data, const dijitso_event* happened) noexcept
  {
    auto& call = *static_cast<made_call*>(user_data);
    if (call.thrown)
      return;
    try
    {
      call.options.event(*happened);
    }
    catch (...)
    {
      call.thrown = std::current_exception();
    }
  }

  std::shared_ptr<plan_state> state_; // shared with make(), during which a callback may destroy the plan
};

/// Returns the signature that jit() uses for a name on this machine. @local
inline std::string signature(const params& parameters, std::string_view name)
{
  const std::string terminated = detail::c_string(name);
  return detail::call_for_bytes([&](auto blob, auto failure) {
    return dijitso_signature(parameters.handle(), terminated.c_str(), blob, failure);
  });
}

/// Returns the command that builds a library and links it to libraries of the cache. @local
inline std::vector<std::string> build_command(const params& parameters, std::string_view signature,
                                              const std::vector<std::string>& dependencies = {})
{
  const std::string terminated = detail::c_string(signature);
  const std::vector<const char*> linked = detail::pointers(dependencies);
  return detail::call_for_texts([&](auto visitor, void* user_data, auto failure) {
    return dijitso_build_command(parameters.handle(), terminated.c_str(), linked.data(), linked.size(), visitor,
                                 user_data, failure);
  });
}

/// Loads a library of the cache by its signature. @local
inline library open(const params& parameters, std::string_view signature)
{
  const std::string terminated = detail::c_string(signature);
  dijitso_library* handle = nullptr;
  detail::call([&](auto failure) {
    return dijitso_library_open(parameters.handle(), terminated.c_str(), &handle, failure);
  });
  return library(handle);
}

/// Lists what any shared library needs: calls `visitor(const dijitso_elf_item&)` for each item. @local
template <class Visitor>
void read_elf(std::string_view path, Visitor visitor)
{
  const std::string terminated = detail::c_string(path);
  detail::call_with_visitor<dijitso_elf_item>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_elf_read(terminated.c_str(), function, user_data, failure);
  });
}

/// Explains why a name or a signature is, or is not, in the cache: as text, or as JSON. @local
inline std::string explain(const params& parameters, std::string_view name_or_signature, bool json = false)
{
  const std::string terminated = detail::c_string(name_or_signature);
  return detail::call_for_bytes([&](auto blob, auto failure) {
    return dijitso_explain(parameters.handle(), terminated.c_str(), json ? 1 : 0, blob, failure);
  });
}

/// The cache that parameters name. Visitors return nothing, or false to end the visit; a call throws what its
/// visitor throws. All functions are local. Categories are sums of DIJITSO_CATEGORY_ values.
namespace cache
{

/// Calls `visitor(const dijitso_entry&)` for each entry. @local
template <class Visitor>
void list(const params& parameters, Visitor visitor)
{
  detail::call_with_visitor<dijitso_entry>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_list(parameters.handle(), function, user_data, failure);
  });
}

/// Calls `visitor(const dijitso_file&)` for each file. @local
template <class Visitor>
void files(const params& parameters, std::int32_t categories, Visitor visitor)
{
  detail::call_with_visitor<dijitso_file>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_files(parameters.handle(), nullptr, categories, function, user_data, failure);
  });
}

/// Calls `visitor(const dijitso_line&)` for each line that contains `pattern`. @local
template <class Visitor>
void grep(const params& parameters, std::string_view pattern, std::int32_t categories, Visitor visitor)
{
  const std::string terminated = detail::c_string(pattern);
  detail::call_with_visitor<dijitso_line>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_grep(parameters.handle(), terminated.c_str(), nullptr, categories, function, user_data,
                              failure);
  });
}

/// Calls `visitor(const dijitso_file_names&)` once, with the names of the files of a signature. @local
template <class Visitor>
void file_names(const params& parameters, std::string_view signature, Visitor visitor)
{
  const std::string terminated = detail::c_string(signature);
  detail::call_with_visitor<dijitso_file_names>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_file_names(parameters.handle(), terminated.c_str(), function, user_data, failure);
  });
}

/// Returns the signatures of the libraries of the cache that an entry is linked to. @local
inline std::vector<std::string> dependencies(const params& parameters, std::string_view signature)
{
  const std::string terminated = detail::c_string(signature);
  std::vector<std::string> found;
  auto collect = [&](const dijitso_elf_item& item) { found.emplace_back(item.text); };
  detail::call_with_visitor<dijitso_elf_item>(collect, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_dependencies(parameters.handle(), terminated.c_str(), function, user_data, failure);
  });
  return found;
}

/// Makes the directories of the cache. @local
inline void make_dirs(const params& parameters)
{
  detail::call([&](auto failure) { return dijitso_cache_make_dirs(parameters.handle(), failure); });
}

/// Returns the contents of a file of an entry, uncompressed. @local
inline std::string read(const params& parameters, std::string_view signature, std::int32_t category)
{
  const std::string terminated = detail::c_string(signature);
  return detail::call_for_bytes([&](auto blob, auto failure) {
    return dijitso_cache_read(parameters.handle(), terminated.c_str(), category, blob, failure);
  });
}

/// Writes a header, source or log. @local
inline void store(const params& parameters, std::string_view signature, std::int32_t category, std::string_view data)
{
  const std::string terminated = detail::c_string(signature);
  detail::call([&](auto failure) {
    return dijitso_cache_store(parameters.handle(), terminated.c_str(), category, detail::bytes(data), data.size(),
                               failure);
  });
}

/// Returns an entry as bytes, with all that it needs. @local
inline std::string read_binary(const params& parameters, std::string_view signature)
{
  const std::string terminated = detail::c_string(signature);
  return detail::call_for_bytes([&](auto blob, auto failure) {
    return dijitso_cache_read_binary(parameters.handle(), terminated.c_str(), blob, failure);
  });
}

/// Puts the bytes of read_binary() into the cache. @local
inline void write_binary(const params& parameters, std::string_view signature, std::string_view data)
{
  const std::string terminated = detail::c_string(signature);
  detail::call([&](auto failure) {
    return dijitso_cache_write_binary(parameters.handle(), terminated.c_str(), detail::bytes(data), data.size(),
                                      failure);
  });
}

/// Copies files of an entry to a directory; returns the paths of the copies. @local
inline std::vector<std::string> extract(const params& parameters, std::string_view signature, std::int32_t categories,
                                        std::string_view directory, bool replace = false)
{
  const std::string terminated = detail::c_string(signature), target = detail::c_string(directory);
  return detail::call_for_texts([&](auto visitor, void* user_data, auto failure) {
    return dijitso_cache_extract(parameters.handle(), terminated.c_str(), categories, target.c_str(),
                                 replace ? 1 : 0, visitor, user_data, failure);
  });
}

/// Removes files of an entry; returns their paths. @local
inline std::vector<std::string> remove(const params& parameters, std::string_view signature,
                                       std::int32_t categories = DIJITSO_CATEGORY_ALL)
{
  const std::string terminated = detail::c_string(signature);
  return detail::call_for_texts([&](auto visitor, void* user_data, auto failure) {
    return dijitso_cache_remove(parameters.handle(), terminated.c_str(), categories, visitor, user_data, failure);
  });
}

/// Removes files of all entries, or only lists them; returns their paths. @local
inline std::vector<std::string> clean(const params& parameters, std::int32_t categories, bool dry_run)
{
  return detail::call_for_texts([&](auto visitor, void* user_data, auto failure) {
    return dijitso_cache_clean(parameters.handle(), categories, dry_run ? 1 : 0, visitor, user_data, failure);
  });
}

/// Checks the cache; calls `visitor(const dijitso_finding&)` for each finding. Returns true if no entry is
/// broken (any more). @local
template <class Visitor>
bool check(const params& parameters, bool repair, Visitor visitor)
{
  std::int32_t sound = 0;
  detail::call_with_visitor<dijitso_finding>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_check(parameters.handle(), nullptr, repair ? 1 : 0, function, user_data, &sound, failure);
  });
  return sound == 1;
}

/// Evicts entries; calls `visitor(const dijitso_removed&)` for each removed item, or each that would be.
/// @param parameters the cache and its limits: cache.max_size, cache.max_age
/// @param min_idle seconds: entries that were built or used since then stay; negative for the default
/// @param dry_run true: nothing is removed
/// @param visitor called for each item
/// @local
template <class Visitor>
void gc(const params& parameters, double min_idle, bool dry_run, Visitor visitor)
{
  detail::call_with_visitor<dijitso_removed>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_gc(parameters.handle(), min_idle, dry_run ? 1 : 0, function, user_data, failure);
  });
}

/// Calls `visitor(const dijitso_stats&)` for each host. @local
template <class Visitor>
void stats(const params& parameters, Visitor visitor)
{
  detail::call_with_visitor<dijitso_stats>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_cache_stats(parameters.handle(), function, user_data, failure);
  });
}

/// Sets the statistics to zero. @local
inline void reset_stats(const params& parameters)
{
  detail::call([&](auto failure) { return dijitso_cache_reset_stats(parameters.handle(), failure); });
}

/// Writes entries, by signature or name, to one file; all entries if `words` is empty. @local
inline void export_bundle(const params& parameters, const std::vector<std::string>& words, std::string_view path)
{
  const std::string terminated = detail::c_string(path);
  const std::vector<const char*> chosen = detail::pointers(words);
  detail::call([&](auto failure) {
    return dijitso_bundle_export(parameters.handle(), chosen.empty() ? nullptr : chosen.data(), chosen.size(),
                                 terminated.c_str(), failure);
  });
}

/// Puts the entries of a bundle into the cache; calls `visitor(const dijitso_imported&)` for each. @local
template <class Visitor>
void import_bundle(const params& parameters, std::string_view path, bool force, Visitor visitor)
{
  const std::string terminated = detail::c_string(path);
  detail::call_with_visitor<dijitso_imported>(visitor, [&](auto function, void* user_data, auto failure) {
    return dijitso_bundle_import(parameters.handle(), terminated.c_str(), force ? 1 : 0, function, user_data,
                                 failure);
  });
}

} // namespace cache

/// The log of the library.
namespace log
{

/// Takes a record, on any thread; must not call the library. Its exceptions are dropped.
using handler_function = std::function<void(const dijitso_log_record&)>;

/// Returns the level: one of the DIJITSO_LOG_ values, or between them. @local
inline int level() { return dijitso_log_level(); }

/// Sets the level; records below it are not shown. @local
inline void set_level(int level)
{
  detail::call([&](auto failure) { return dijitso_log_set_level(level, failure); });
}

/// Sets a function that gets the records; an empty one restores standard error. One call at a time. @local
inline void set_handler(handler_function handler)
{
  static std::unique_ptr<handler_function> current;
  auto next = handler ? std::make_unique<handler_function>(std::move(handler)) : nullptr;
  const dijitso_log_fn trampoline = [](void* user_data, const dijitso_log_record* record) noexcept {
    try
    {
      (*static_cast<handler_function*>(user_data))(*record);
    }
    catch (...)
    {
      return; // a log record has no caller that could take the exception
    }
  };
  detail::call([&](auto failure) {
    return dijitso_log_set_handler(next ? trampoline : nullptr, next.get(), failure);
  });
  current = std::move(next); // the former one is not running any more
}

} // namespace log

/// For programs that do their own transport.
namespace mpi
{

/// The role of a rank and its communicators. The caller owns the communicators, and frees them by
/// MPI_Comm_free unless they are null.
struct comms_and_role
{
  communicator copy_comm = DIJITSO_COMM_NULL; ///< builder (rank 0) and receivers
  communicator wait_comm = DIJITSO_COMM_NULL; ///< ranks that share a directory
  std::int32_t role = DIJITSO_ROLE_BUILDER;   ///< one of the DIJITSO_ROLE_ values
};

/// Gives every rank its role: `buildon` is "node", "root" or "process". @collective over comm
inline comms_and_role create_comms_and_role(communicator comm, std::string_view path, std::string_view buildon)
{
  // The library refuses a bad path or strategy, on all ranks.
  const std::string directory(path), strategy(buildon);
  comms_and_role made;
  detail::call([&](auto failure) {
    return dijitso_mpi_create_comms_and_role(comm, directory.c_str(), strategy.c_str(), &made.copy_comm,
                                             &made.wait_comm, &made.role, failure);
  });
  return made;
}

/// Sends bytes from rank 0 to all other ranks, which call receive_binary(). @collective over comm
inline void send_binary(communicator comm, const std::uint8_t* data, std::size_t size)
{
  detail::call([&](auto failure) { return dijitso_mpi_send_binary(comm, data, size, failure); });
}

/// Receives the bytes that rank 0 sends into the blob of a receive callback. @collective over comm
inline void receive_binary(communicator comm, blob& into)
{
  detail::call([&](auto failure) { return dijitso_mpi_receive_binary(comm, into.handle(), failure); });
}

} // namespace mpi

} // namespace dijitso

#endif // C++17
#endif
