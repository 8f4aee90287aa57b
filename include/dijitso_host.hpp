// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_host.hpp
/// For programs whose code comes from a generator: a program that is run, such as a form compiler. Header only, on top of
/// dijitso.hpp. dijitso_ffcx.hpp, dijitso_ffc.hpp and dijitso_dolfin.hpp are made of it.
///
/// A callback that runs a generator in a private directory:
///
///     [&](dijitso::source& source)
///     {
///       const dijitso::host::temporary_directory directory;
///       dijitso::host::write_file(directory / "form.ufl", form);
///       dijitso::host::run({"compiler", "form.ufl"}, {directory.path()});
///       source.set_code(dijitso::host::read_file(directory / "form.cpp"));
///     }
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
#include <initializer_list>
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
    std::string pattern = std::filesystem::temp_directory_path() / "dijitso-host-XXXXXX";
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

inline std::string excerpt(const std::string& output, std::size_t longest)
{
  if (output.empty())
    return ", and printed nothing";
  return ":\n" + (output.size() > longest ? "..." + output.substr(output.size() - longest) : output);
}

/// Waits for a process. Returns its status; nothing if `give_up` became true, after it has ended the process.
template <class GiveUp>
std::optional<int> wait_for(pid_t child, GiveUp give_up)
{
  using namespace std::chrono_literals;
  std::chrono::milliseconds pause = 1ms;
  int status = 0;
  for (;;)
  {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child)
      return status;
    if (ended == -1 && errno != EINTR)
      throw generator_error(std::string("cannot wait for a program: ") + std::strerror(errno));
    if (give_up())
    {
      kill(child, SIGKILL);
      while (waitpid(child, &status, 0) == -1 && errno == EINTR)
        ;
      return std::nullopt;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::milliseconds>(2 * pause, 20ms);
  }
}

} // namespace detail

/// Runs a program and waits for it. Its standard input is empty.
///
/// @param argv the program, looked for in PATH, and its arguments
/// @param options where, how long, and who may end it
/// @return what it printed, on standard output and standard error
/// @throws dijitso::error with DIJITSO_ERROR_GENERATE if it cannot be run, fails, or takes too long: the message has the
///         end of what it printed, log() the whole
inline std::string run(const std::vector<std::string>& argv, const run_options& options = {})
{
  if (argv.empty())
    throw generator_error("no program to run");
  const temporary_directory scratch;
  const std::filesystem::path output = scratch / "output";
  std::vector<char*> pointers;
  for (const std::string& argument : argv)
    pointers.push_back(const_cast<char*>(argument.c_str())); // posix_spawnp does not write to them
  pointers.push_back(nullptr);

  // Not fork: the copy of an MPI process may not be allowed to touch its registered memory.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  if (!options.directory.empty())
    posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
  pid_t child = 0;
  const int failure = posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0)
    throw generator_error("cannot run " + argv[0] + ": " + std::strerror(failure));

  const auto begin = std::chrono::steady_clock::now();
  const char* reason = nullptr;
  const std::optional<int> status = detail::wait_for(
      child,
      [&]
      {
        if (options.cancelled && options.cancelled())
          reason = " was cancelled";
        else if (options.time_limit.count() > 0 && std::chrono::steady_clock::now() - begin > options.time_limit)
          reason = " did not end within its time limit";
        return reason != nullptr;
      });
  const std::string printed = read_file(output);
  if (status && WIFEXITED(*status) && WEXITSTATUS(*status) == 0)
    return printed;
  std::string message = argv[0];
  if (!status)
    message += reason;
  else if (WIFEXITED(*status))
    message += WEXITSTATUS(*status) == 127 ? " cannot be run" : " ended with exit code " + std::to_string(WEXITSTATUS(*status));
  else
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

#if DIJITSO_HAVE_MPI

/// Runs a step that does not communicate on every rank, and returns its result. If it throws on any rank, throws on all
/// ranks, with the text of the lowest rank that failed: so all ranks may go on to the next collective, or end.
/// @note Collective over comm.
template <class Step>
auto on_every_rank(MPI_Comm comm, Step step)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  std::optional<decltype(step())> result;
  std::string reason;
  int status = DIJITSO_ERROR_GENERATE;
  try
  {
    result.emplace(step());
  }
  catch (const error& failure)
  {
    reason = failure.what();
    status = failure.status();
  }
  catch (const std::exception& failure)
  {
    reason = failure.what();
  }
  const int failed = result ? size : rank;
  int first = size;
  MPI_Allreduce(&failed, &first, 1, MPI_INT, MPI_MIN, comm);
  if (first == size)
    return std::move(*result);
  int facts[2] = {static_cast<int>(reason.size()), status};
  MPI_Bcast(facts, 2, MPI_INT, first, comm);
  reason.resize(static_cast<std::size_t>(facts[0]));
  MPI_Bcast(reason.data(), facts[0], MPI_CHAR, first, comm);
  throw error(facts[1], reason, first);
}

#endif

} // namespace dijitso::host

#endif
