// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso.hpp
/// C++17 interface to dijitso; header only, on top of dijitso.h.
///
/// dijitso compiles generated code at run time, keeps the result in a cache, and loads it on every rank of a communicator. The
/// shortest complete program:
///
///     #include <dijitso.hpp>
///     #include <cstdio>
///
///     int main()
///     {
///       dijitso::library library = dijitso::jit("square", [](dijitso::source& source) {
///         source.set_code("extern \"C\" double square(double x) { return x * x; }");
///       });
///       std::printf("%g\n", library.symbol<double(double)>("square")(3.0));
///     }
///
/// Ownership: params, library and error own their handle. source and blob are views that dijitso passes to a callback; they are
/// borrowed until the callback returns. Text passed in is copied, text passed out is a copy, unless said otherwise.
///
/// Errors: every failure is thrown as dijitso::error. What a callback throws is caught before it reaches the C library and comes
/// out of jit() again, with its own type, on the rank that threw it; the others get a dijitso::error that carries its what().
///
/// MPI: jit() is the only collective; no constructor, copy or destructor communicates, so objects may be destroyed in any order
/// and also after MPI_Finalize. With a dijitso built without MPI the only communicator is the null communicator.
///
/// Threads: distinct objects may be used from distinct threads, and one object from several as long as none of them changes it.
/// Calls of jit() on one communicator are made one at a time.
#ifndef DIJITSO_HPP
#define DIJITSO_HPP

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

namespace dijitso
{

/// The type of a communicator: MPI_Comm, or a placeholder when dijitso was built without MPI.
#if DIJITSO_HAVE_MPI
using communicator = MPI_Comm;
#else
using communicator = std::decay_t<decltype(DIJITSO_COMM_NULL)>;
#endif

/// How a call of jit() got its library on this rank.
enum class origin : std::int32_t
{
  memory = DIJITSO_ORIGIN_MEMORY,     ///< this process had it loaded already
  disk = DIJITSO_ORIGIN_DISK,         ///< it was in the cache directory
  built = DIJITSO_ORIGIN_BUILT,       ///< this rank generated and compiled it
  received = DIJITSO_ORIGIN_RECEIVED, ///< another rank built it and sent it
};

/// The name of an origin, in lower case: "memory", "disk", "built" or "received".
constexpr std::string_view to_string(origin how) noexcept
{
  switch (how)
  {
  case origin::memory: return "memory";
  case origin::disk: return "disk";
  case origin::built: return "built";
  case origin::received: return "received";
  }
  return "unknown";
}

/// The version of the library that is linked, such as "1.0.0".
inline std::string_view version() noexcept { return dijitso_version(); }

/// What failed, where, and what the compiler said. Copying does not throw.
class error : public std::runtime_error
{
public:
  /// An error of the host's own making; the library's own are made by this header.
  /// @param status one of DIJITSO_ERROR_*
  /// @param message what failed, one paragraph
  /// @param rank rank on which it happened, -1 if none
  /// @param log compiler output, empty if none
  /// @param path directory that reproduces the failure, empty if none
  error(dijitso_status status, const std::string& message, int rank = -1, std::string log = {}, std::string path = {})
      : std::runtime_error(message),
        details_(std::make_shared<const details>(details{status, rank, std::move(log), std::move(path)}))
  {
  }

  /// One of DIJITSO_ERROR_*.
  dijitso_status status() const noexcept { return details_->status; }

  /// The rank, in the communicator of the call, on which it happened; -1 if that has no meaning.
  int rank() const noexcept { return details_->rank; }

  /// The whole compiler output; empty if no compiler ran. Borrowed until the error and its copies are gone.
  const std::string& log() const noexcept { return details_->log; }

  /// The directory that reproduces the failure; empty if there is none. Borrowed like log().
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

/// Throws what a failed call left behind; takes ownership of `failure`, which may be null.
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

/// A copy that ends in NUL. A NUL inside would cut the text short without a word, so it is refused.
inline std::string c_string(std::string_view value)
{
  if (value.find('\0') != std::string_view::npos)
    throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "text passed to dijitso contains a NUL character: " + std::string(value.data()));
  return std::string(value);
}

} // namespace detail

/// Parameters: defaults, overruled by the config file, by the environment, and by what is set here.
///
/// Owns its handle; moved, not copied. Everything is local. Constructing and setting may throw (an unreadable config file, an
/// unknown key): a rank on which that happens must not leave the others alone in a jit().
class params
{
public:
  /// Defaults, config file and environment. @local
  params()
  {
    dijitso_params* handle = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_params_new(&handle, &failure);
    handle_.reset(handle);
    detail::check(status, failure);
  }

  /// The same, then each key set in turn: `params{{"cache.cache_dir", "/scratch/jit"}, {"build.debug", "true"}}`. @local
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

  /// The value of a key as text; nothing if there is no such key. @local
  std::optional<std::string> get(std::string_view key) const
  {
    return copied(dijitso_params_get(handle_.get(), detail::c_string(key).c_str()));
  }

  /// Where the value of a key came from; nothing if there is no such key. @local
  std::optional<std::string> origin(std::string_view key) const
  {
    return copied(dijitso_params_origin(handle_.get(), detail::c_string(key).c_str()));
  }

  /// All parameters as JSON. @local
  std::string to_json() const { return detail::text(dijitso_params_to_json(handle_.get())); }

  /// The C handle, borrowed until this object is gone; null after a move.
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
/// Copies share one handle and cost a reference count; no copy is ever empty. The code stays loaded when the last copy is gone,
/// so that function pointers never dangle. Everything is local and may be called from any thread.
class library
{
public:
  /// Takes ownership of a handle from the C interface. @local
  explicit library(dijitso_library* owned) : handle_(owned, detail::deleter<dijitso_library_free>())
  {
    if (!owned)
      throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "a dijitso::library needs a handle that is not null");
  }

  // A move would leave an empty library behind; copies are declared so that moving copies.
  library(const library&) = default;
  library& operator=(const library&) = default;
  ~library() = default;

  /// A function or an object by its symbol: `symbol<double(double)>("f")` is a `double (*)(double)`, `symbol<int>("n")` an
  /// `int*`. The type is taken on trust. Valid until the process ends. @local
  template <class T>
  T* symbol(std::string_view name) const
  {
    return reinterpret_cast<T*>(function(name));
  }

  /// The address of a symbol whose type is not known here. Valid until the process ends. @local
  void* symbol_address(std::string_view name) const { return reinterpret_cast<void*>(function(name)); }

  /// The signature: the key of this library in the cache. @local
  std::string signature() const { return detail::text(dijitso_library_signature(handle_.get())); }

  /// The file that was loaded. @local
  std::string path() const { return detail::text(dijitso_library_path(handle_.get())); }

  /// How the call of jit() that returned it got it on this rank. @local
  dijitso::origin origin() const noexcept { return static_cast<dijitso::origin>(dijitso_library_origin(handle_.get())); }

  /// The C handle, borrowed until the last copy is gone.
  const dijitso_library* handle() const noexcept { return handle_.get(); }

private:
  dijitso_fn function(std::string_view name) const
  {
    dijitso_fn found = nullptr;
    dijitso_error* failure = nullptr;
    const dijitso_status status = dijitso_library_symbol(handle_.get(), detail::c_string(name).c_str(), &found, &failure);
    detail::check(status, failure);
    return found;
  }

  std::shared_ptr<dijitso_library> handle_;
};

/// What a generate callback is asked for, and where it puts its answer. A view, borrowed until the callback returns.
class source
{
public:
  source(std::string_view name, std::string_view signature, std::string_view generator, dijitso_source* handle) noexcept
      : name_(name), signature_(signature), generator_(generator), handle_(handle)
  {
  }
  source(const source&) = delete;
  source& operator=(const source&) = delete;

  /// The name that was passed to jit(). Borrowed until the callback returns, like the two below.
  std::string_view name() const noexcept { return name_; }

  /// The final signature: the code is saved as `<signature>.cpp` (or .c), the header as `<signature>.h`.
  std::string_view signature() const noexcept { return signature_; }

  /// The parameter "generator", as JSON.
  std::string_view generator() const noexcept { return generator_; }

  /// The source text to compile; copied.
  void set_code(std::string_view code)
  {
    accept(dijitso_source_set_code(handle_, code.data(), code.size()), "the source text");
  }

  /// The header text that the code and its dependants may include as "<signature>.h"; copied.
  void set_header(std::string_view header)
  {
    accept(dijitso_source_set_header(handle_, header.data(), header.size()), "the header text");
  }

  /// A library to link to, made by a jit() that has returned on this rank, for instance one inside this callback; copied.
  void add_dependency(std::string_view signature)
  {
    accept(dijitso_source_add_dependency(handle_, detail::c_string(signature).c_str()), "dependency " + std::string(signature));
  }

  /// The same for a library at hand.
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

/// Where a receive callback puts what it received. A view, borrowed until the callback returns.
class blob
{
public:
  explicit blob(dijitso_blob* handle) noexcept : handle_(handle) {}
  blob(const blob&) = delete;
  blob& operator=(const blob&) = delete;

  /// A buffer of `size` bytes to write into; borrowed until the next resize or the end of the callback.
  std::uint8_t* resize(std::size_t size)
  {
    std::uint8_t* const data = dijitso_blob_resize(handle_, size);
    if (!data && size > 0)
      throw std::bad_alloc();
    return data;
  }

private:
  dijitso_blob* handle_;
};

/// Writes the source; throw to fail. Called on ranks that build, and only on a miss; jit() inside is local to the rank.
using generate_function = std::function<void(source&)>;

/// The host's part in a jit(). Each is called on the thread that called jit(), before jit() returns; an empty one is not there.
struct callbacks
{
  generate_function generate;

  /// Replaces, together with receive, the library's own way to the ranks that do not share the builder's cache: sends `size`
  /// bytes to every one of them. The bytes are borrowed until it returns.
  std::function<void(const std::uint8_t* data, std::size_t size)> send;

  /// Receives what send() sent.
  std::function<void(blob&)> receive;

  /// Called by every rank after building and transport, before loading; returns when all have called it, as a barrier does.
  std::function<void()> wait;
};

namespace detail
{

struct jit_call
{
  const callbacks& host;
  std::exception_ptr thrown; // the first one: what comes later is a consequence
};

/// Runs a callback so that nothing unwinds through the C library; non-zero if it threw.
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
      source wanted(name, signature, generator ? generator : "", handle);
      host.generate(wanted);
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

inline library jit(std::string_view name, const dijitso_params* parameters, const callbacks& host, communicator comm)
{
  jit_call call{host, nullptr};
  dijitso_callbacks trampolines = DIJITSO_CALLBACKS_INIT;
  trampolines.user_data = &call;
  trampolines.generate = host.generate ? generate : nullptr;
  trampolines.send = host.send ? send : nullptr;
  trampolines.receive = host.receive ? receive : nullptr;
  trampolines.wait = host.wait ? wait : nullptr;

  dijitso_library* handle = nullptr;
  dijitso_error* failure = nullptr;
  // No c_string() here: throwing before the collective would leave the other ranks alone in it. A NUL cannot be part of a name,
  // and the library refuses the character that stands for it, on every rank.
  std::string terminated(name);
  for (char& character : terminated)
    character = character == '\0' ? '?' : character;
  const dijitso_status status = dijitso_jit(terminated.c_str(), parameters, &trampolines, comm, &handle, &failure);
  std::unique_ptr<dijitso_library, deleter<dijitso_library_free>> owned(handle);
  std::unique_ptr<dijitso_error, deleter<dijitso_error_free>> reason(failure);
  if (call.thrown)
    std::rethrow_exception(call.thrown);
  check(status, reason.release());
  return library(owned.release());
}

} // namespace detail

/// Gives the library `name`: from memory, from the cache, or generated and compiled now.
///
/// Looks in memory, then in the cache; on a miss runs `host.generate` on the ranks that build, compiles, publishes in the cache,
/// hands the result to the ranks that do not share the builder's cache, and loads it everywhere.
///
/// @param name 1 to 200 bytes of [A-Za-z0-9_.+-], not starting with '.' or '-'; copied
/// @param parameters the same on every rank; borrowed during the call
/// @param host the same on every rank; borrowed during the call; all empty where a hit is expected
/// @param comm the ranks that take part; with the null communicator the call is local and never touches MPI
/// @throws dijitso::error with the same status and message on every rank; on a rank where a callback threw, what it threw
/// @collective over comm
/// @threads calls on one communicator one at a time
inline library jit(std::string_view name, const params& parameters, const callbacks& host,
                   communicator comm = DIJITSO_COMM_NULL)
{
  // The C interface reads a null handle as "all defaults", which nobody means by parameters that were moved away. The
  // other ranks are in the call already: a name that cannot be used lets all of them know.
  return detail::jit(parameters.handle() ? name : "(with parameters that were moved from)", parameters.handle(), host, comm);
}

/// The same with a generate callback only, or nullptr where a hit is expected. @collective over comm
inline library jit(std::string_view name, const params& parameters, generate_function generate,
                   communicator comm = DIJITSO_COMM_NULL)
{
  callbacks host;
  host.generate = std::move(generate);
  return jit(name, parameters, host, comm);
}

/// The same with all parameters at their defaults. @collective over comm
inline library jit(std::string_view name, const callbacks& host, communicator comm = DIJITSO_COMM_NULL)
{
  return detail::jit(name, nullptr, host, comm);
}

/// The same with a generate callback only and all parameters at their defaults. @collective over comm
inline library jit(std::string_view name, generate_function generate, communicator comm = DIJITSO_COMM_NULL)
{
  callbacks host;
  host.generate = std::move(generate);
  return detail::jit(name, nullptr, host, comm);
}

} // namespace dijitso

#endif
