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
/// MPI: jit(), jit_many(), jit_source(), jit_start(), pending::finish() and the functions of namespace mpi are
/// collective, nothing else. No copy or destructor communicates, so objects may be destroyed in any order,
/// also after MPI_Finalize. In a dijitso built without MPI the only communicator is the null communicator.
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
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

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
  error(dijitso_status status, const std::string& message, int rank = -1, std::string log = {}, std::string path = {})
      : std::runtime_error(message),
        details_(std::make_shared<const details>(details{status, rank, std::move(log), std::move(path)}))
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

private:
  struct details
  {
    dijitso_status status;
    int rank;
    std::string log;
    std::string path;
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
  throw error(status, text(dijitso_error_message(failure)), static_cast<int>(dijitso_error_rank(failure)),
              text(dijitso_error_log(failure)), text(dijitso_error_path(failure)));
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

  // A move would leave an empty library behind. Copies are declared so that moving copies.
  library(const library&) = default;
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

inline library jit(std::string_view name, const dijitso_params* parameters, const callbacks& host, communicator comm)
{
  jit_call call{host, nullptr};
  const dijitso_callbacks trampolines = trampolines_of(call);
  dijitso_library* handle = nullptr;
  dijitso_error* failure = nullptr;
  const std::string terminated = terminated_name(name);
  const dijitso_status status = dijitso_jit(terminated.c_str(), parameters, &trampolines, comm, &handle, &failure);
  std::unique_ptr<dijitso_library, deleter<dijitso_library_free>> owned(handle);
  std::unique_ptr<dijitso_error, deleter<dijitso_error_free>> reason(failure);
  if (call.thrown)
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
/// @local
/// @param min_idle seconds: entries that were built or used since then stay; negative for the default
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
