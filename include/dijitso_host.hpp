// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_host.hpp
/// For programs whose code comes from a generator: a program that is run, such as a form compiler. Header only, on top of
/// dijitso.hpp. dijitso_ffcx.hpp, dijitso_ffc.hpp and dijitso_dolfin.hpp are made of it.
///
/// A call that runs a generator in a private directory:
///
///     dijitso::host::jit("form", parameters, [&](dijitso::source& source)
///     {
///       const dijitso::host::temporary_directory directory;
///       dijitso::host::write_file(directory / "form.ufl", form);
///       dijitso::host::run_options how;
///       how.directory = directory.path();
///       dijitso::host::run({"compiler", "form.ufl"}, how);
///       source.set_code(dijitso::host::read_file(directory / "form.cpp"));
///     }, comm);
///
/// All functions throw dijitso::error and are local, unless said otherwise.
#ifndef DIJITSO_HOST_HPP
#define DIJITSO_HOST_HPP

#include <dijitso.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" char** environ;

namespace dijitso::host
{

/// Makes an error of a generator.
inline error generator_error(const std::string& message, std::string log = {})
{
  return error(DIJITSO_ERROR_GENERATE, message, -1, std::move(log));
}

/// Returns the contents of a file.
inline std::string read_file(const std::filesystem::path& file)
{
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  // Inserting the buffer of an empty file sets failbit, which is not an error here.
  if (stream && stream.peek() != std::ifstream::traits_type::eof())
    text << stream.rdbuf();
  if (stream.bad() || !stream.is_open())
    throw generator_error("cannot read " + file.string() + ": " + std::strerror(errno));
  return text.str();
}

/// Writes a file, or replaces its contents.
inline void write_file(const std::filesystem::path& file, std::string_view text)
{
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  stream.close();
  if (!stream)
    throw generator_error("cannot write " + file.string() + ": " + std::strerror(errno));
}

/// A private directory, below that of std::filesystem::temp_directory_path(). The destructor removes it with all that is
/// in it.
class temporary_directory
{
public:
  temporary_directory()
  {
    std::error_code failure;
    std::string pattern = std::filesystem::temp_directory_path(failure) / "dijitso-host-XXXXXX";
    if (failure)
      throw generator_error("the directory for temporary files cannot be used (TMPDIR): " + failure.message());
    if (!mkdtemp(pattern.data()))
      throw generator_error("cannot make a directory like " + pattern + ": " + std::strerror(errno));
    path_ = pattern;
  }

  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;

  ~temporary_directory()
  {
    std::error_code ignored; // a destructor cannot report it
    std::filesystem::remove_all(path_, ignored);
  }

  /// Returns its path.
  const std::filesystem::path& path() const noexcept { return path_; }

  /// Returns the path of a file in it.
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

private:
  std::filesystem::path path_;
};

/// The way in which run() runs a program.
struct run_options
{
  std::filesystem::path directory = {};                           ///< its working directory; empty: that of this process
  std::chrono::duration<double> time_limit = std::chrono::minutes(30); ///< after it, the program is ended; 0: none
  std::function<bool()> cancelled = {};                           ///< asked every 20 ms: true ends the program
  std::size_t longest_excerpt = 1200;                             ///< bytes of its output in the message of an error
};

/// Not part of the interface.
namespace detail
{

inline std::string excerpt(std::string_view output, std::size_t longest)
{
  const std::size_t last = output.find_last_not_of(" \n\r\t");
  if (last == std::string_view::npos)
    return ", and printed nothing";
  output = output.substr(0, last + 1);
  const bool cut = output.size() > longest;
  return (cut ? ":\n..." : ":\n") + std::string(cut ? output.substr(output.size() - longest) : output);
}

/// A program that runs, in a process group of its own. The kernel kills the group if this process ends before.
///
/// The input of the group is one end of a socket, from which it reads an end of file. When this process ends, however it
/// ends, the other end is closed, and the kernel sends SIGKILL to the owner of the first.
class process
{
public:
  process(const std::vector<std::string>& argv, const std::filesystem::path& directory, const std::filesystem::path& output)
      : name_(argv[0])
  {
    std::vector<char*> pointers;
    for (const std::string& argument : argv)
      pointers.push_back(const_cast<char*>(argument.c_str())); // posix_spawnp does not write to them
    pointers.push_back(nullptr);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw generator_error("cannot run " + name_ + ": " + std::strerror(errno));
    own_end_ = ends[0];
    group_end_ = ends[1];
    shutdown(own_end_, SHUT_WR);

    // Not fork: the copy of an MPI process may not be allowed to touch its registered memory.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, group_end_, 0);
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (!directory.empty())
      posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
    const int failure = posix_spawnp(&child_, pointers[0], &actions, &attributes, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failure != 0)
    {
      child_ = 0;
      close_ends();
      std::error_code ignored;
      const bool elsewhere = !directory.empty() && !std::filesystem::is_directory(directory, ignored);
      throw generator_error("cannot run " + name_ + (elsewhere ? " in " + directory.string() : "") + ": "
                            + std::strerror(failure));
    }
    fcntl(group_end_, F_SETOWN, -child_);
    fcntl(group_end_, F_SETSIG, SIGKILL);
    fcntl(group_end_, F_SETFL, O_RDWR | O_ASYNC);
  }

  process(const process&) = delete;
  process& operator=(const process&) = delete;

  /// Ends the group if wait() has not returned a status.
  ~process()
  {
    if (child_ > 0)
    {
      kill(-child_, SIGKILL);
      while (waitpid(child_, nullptr, 0) == -1 && errno == EINTR)
        ;
    }
    fcntl(group_end_, F_SETFL, O_RDWR); // what the program has left behind on purpose goes on
    close_ends();
  }

  /// Returns the status of the program when it has ended; nothing as soon as `give_up` returns true.
  template <class GiveUp>
  std::optional<int> wait(GiveUp give_up)
  {
    using namespace std::chrono_literals;
    std::chrono::milliseconds pause = 1ms;
    for (;;)
    {
      int status = 0;
      const pid_t ended = waitpid(child_, &status, WNOHANG);
      if (ended == child_)
      {
        child_ = 0;
        return status;
      }
      if (ended == -1 && errno != EINTR) // such as ECHILD, if this program ignores SIGCHLD
        throw generator_error("cannot wait for " + name_ + ": " + std::strerror(errno));
      if (give_up())
        return std::nullopt;
      std::this_thread::sleep_for(pause);
      pause = std::min<std::chrono::milliseconds>(2 * pause, 20ms);
    }
  }

private:
  void close_ends()
  {
    close(own_end_);
    close(group_end_);
  }

  std::string name_;
  pid_t child_ = 0;
  int own_end_ = -1, group_end_ = -1;
};

} // namespace detail

/// Runs a program and waits for it. Its standard input is empty. It is ended, with the programs that it has started, if it
/// takes too long, if it is cancelled, or if this process ends.
///
/// @param argv the program, looked for in PATH, and its arguments
/// @param options where, how long, and who may end it
/// @return what it printed, on standard output and standard error
/// @throws dijitso::error with DIJITSO_ERROR_GENERATE if it cannot be run, fails, takes too long or is cancelled: the
///         message has the end of what it printed, log() the whole; what `options.cancelled` throws
inline std::string run(const std::vector<std::string>& argv, const run_options& options = {})
{
  if (argv.empty())
    throw generator_error("no program to run");
  const temporary_directory scratch;
  const std::filesystem::path output = scratch / "output";
  const auto begin = std::chrono::steady_clock::now();
  std::string message = argv[0];
  std::optional<int> status;
  {
    detail::process process(argv, options.directory, output);
    status = process.wait(
        [&]
        {
          if (options.cancelled && options.cancelled())
            message += " was cancelled";
          else if (options.time_limit.count() > 0 && std::chrono::steady_clock::now() - begin > options.time_limit)
            message += " did not end within its time limit";
          else
            return false;
          return true;
        });
  }
  const std::string printed = read_file(output);
  if (status && WIFEXITED(*status) && WEXITSTATUS(*status) == 0)
    return printed;
  if (status && WIFEXITED(*status))
    message += " ended with exit code " + std::to_string(WEXITSTATUS(*status));
  else if (status)
    message += " was ended by signal " + std::to_string(WTERMSIG(*status));
  throw generator_error(message + detail::excerpt(printed, options.longest_excerpt), printed);
}

/// Returns a text as a string of JSON, with its quotes.
inline std::string json_string(std::string_view text)
{
  constexpr const char* digits = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text)
  {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20)
    {
      quoted += std::string("\\u00") + digits[code >> 4] + digits[code & 15];
      continue;
    }
    if (c == '"' || c == '\\')
      quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

/// Returns an object of JSON whose values are texts. For the parameter "generator": all that the code depends on.
inline std::string json_object(const std::map<std::string, std::string>& members)
{
  std::string text;
  for (const auto& [name, value] : members)
    text += (text.empty() ? "" : ", ") + json_string(name) + ": " + json_string(value);
  return "{" + text + "}";
}

/// Returns a word of a list parameter, such as "build.include_dirs", quoted as for a shell.
inline std::string list_word(std::string_view word)
{
  std::string quoted = "'";
  for (const char c : word)
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  return quoted + "'";
}

/// Returns the value of a list parameter. Texts that are empty are left out.
template <class Words>
std::string list(const Words& words)
{
  std::string text;
  for (const auto& word : words)
    if (!std::string_view(word).empty())
      text += (text.empty() ? "" : " ") + list_word(word);
  return text;
}

/// Returns the lines of a text that are not empty, each once. For what CMake gives about a target.
inline std::vector<std::string> lines(std::string_view text)
{
  std::vector<std::string> found;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);)
    if (!line.empty() && std::find(found.begin(), found.end(), line) == found.end())
      found.push_back(line);
  return found;
}

/// Sets "build.include_dirs" and "build.defines" to those of a target of CMake. The function
/// dijitso_pass_build_params(TARGET) of the CMake package writes them to the header <dijitso_build_params.hpp>.
inline void set_build_params(params& parameters, std::string_view include_dirs, std::string_view defines)
{
  parameters.set("build.include_dirs", list(lines(include_dirs)));
  parameters.set("build.defines", list(lines(defines)));
}

/// Not part of the interface.
namespace detail
{

#if DIJITSO_HAVE_MPI

/// Returns the error of rank `first` on every rank.
inline error error_of(int first, const error& mine, MPI_Comm comm)
{
  std::string message = mine.what(), log = mine.log();
  unsigned long long facts[3] = {message.size(), log.size(), static_cast<unsigned long long>(mine.status())};
  MPI_Bcast(facts, 3, MPI_UNSIGNED_LONG_LONG, first, comm);
  message.resize(facts[0]);
  log.resize(facts[1]);
  for (std::string* const text : {&message, &log})
    for (std::size_t done = 0, part = 0; done < text->size(); done += part)
    {
      part = std::min<std::size_t>(text->size() - done, 1 << 30); // a count is an int
      MPI_Bcast(text->data() + done, static_cast<int>(part), MPI_CHAR, first, comm);
    }
  return error(static_cast<dijitso_status>(facts[2]), message, first, log);
}

#endif

/// Runs a step. Returns what it threw, as an error.
template <class Step>
std::optional<error> caught(Step step)
{
  try
  {
    step();
    return std::nullopt;
  }
  catch (const error& failure)
  {
    return failure;
  }
  catch (const std::exception& failure)
  {
    return generator_error(failure.what());
  }
  catch (...)
  {
    return generator_error("a function of the program threw something that is not a std::exception");
  }
}

} // namespace detail

/// Runs a step that does not communicate on every rank, and returns its result. If it throws on any rank, throws on all
/// ranks, with the text, status and log of the lowest rank that failed: so all ranks may go on to the next collective, or
/// end. With the null communicator it is local.
/// @note Collective over comm.
template <class Step>
auto on_every_rank(communicator comm, Step step)
{
  std::optional<decltype(step())> result;
  const std::optional<error> failure = detail::caught([&] { result.emplace(step()); });
#if DIJITSO_HAVE_MPI
  if (comm != DIJITSO_COMM_NULL)
  {
    int rank = 0, size = 1;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    const int failed = failure ? rank : size;
    int first = size;
    MPI_Allreduce(&failed, &first, 1, MPI_INT, MPI_MIN, comm);
    if (first < size)
      throw detail::error_of(first, failure ? *failure : generator_error(""), comm);
  }
#endif
  static_cast<void>(comm);
  if (failure)
    throw *failure;
  return std::move(*result);
}

/// Does what dijitso::jit() does, and throws the same on every rank if `generate` throws: dijitso::jit() throws that
/// exception on the rank on which it was thrown, and its text in one line on the others.
///
/// @param name as for dijitso::jit()
/// @param parameters the same on every rank
/// @param generate called on ranks that build, and only on a miss
/// @param comm the ranks that take part; with the null communicator the call is local
/// @param poll asked at least every 50 ms while the call compiles or waits: true cancels the call on all ranks
/// @throws dijitso::error with the same status, message, log and rank on every rank: if `generate` throws, those of what
///         it throws
/// @note Collective over comm.
inline library jit(std::string_view name, const params& parameters, const generate_function& generate, communicator comm,
                   const std::function<bool()>& poll = {})
{
  std::optional<error> mine;
  callbacks calls;
  calls.generate = [&](source& request)
  {
    mine = detail::caught([&] { generate(request); });
    if (mine)
      throw *mine;
  };
  calls.poll = poll;
  try
  {
    return dijitso::detail::jit(dijitso::detail::name_for(parameters, name), parameters.handle(), calls, comm, false);
  }
  catch (const error& agreed)
  {
    if (agreed.status() != DIJITSO_ERROR_GENERATE)
      throw;
#if DIJITSO_HAVE_MPI
    // All ranks have this error, so all ranks come here.
    if (comm != DIJITSO_COMM_NULL && agreed.rank() >= 0)
      throw detail::error_of(agreed.rank(), mine ? *mine : agreed, comm);
#endif
    throw mine ? *mine : agreed;
  }
}

} // namespace dijitso::host

#endif
