// SPDX-License-Identifier: MIT OR Apache-2.0
#include "command.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

extern char** environ;

namespace
{

// Enough for the last lines of a Python traceback.
constexpr std::size_t longest_excerpt = 1000;

std::string excerpt(const std::filesystem::path& output)
{
  std::string text = read_file(output);
  if (text.size() > longest_excerpt)
    text = "..." + text.substr(text.size() - longest_excerpt);
  return text;
}

} // namespace

temporary_directory::temporary_directory()
{
  std::string pattern = std::filesystem::temp_directory_path() / "generate-XXXXXX";
  if (!mkdtemp(pattern.data()))
    throw command_error("cannot make a directory like " + pattern + ": " + std::strerror(errno));
  path_ = pattern;
}

temporary_directory::~temporary_directory()
{
  std::error_code ignored; // a destructor cannot report it
  std::filesystem::remove_all(path_, ignored);
}

void run_command(const std::vector<std::string>& argv, const std::filesystem::path& output)
{
  std::vector<char*> pointers;
  for (const std::string& argument : argv)
    pointers.push_back(const_cast<char*>(argument.c_str())); // posix_spawnp does not write to them
  pointers.push_back(nullptr);

  // Not fork: the copy of an MPI process may not be allowed to touch its registered memory.
  posix_spawn_file_actions_t redirections;
  posix_spawn_file_actions_init(&redirections);
  posix_spawn_file_actions_addopen(&redirections, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&redirections, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&redirections, 1, 2);
  pid_t child = 0;
  const int failure = posix_spawnp(&child, pointers[0], &redirections, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&redirections);
  if (failure != 0)
    throw command_error("cannot run " + argv[0] + ": " + std::strerror(failure));

  int status = 0;
  while (waitpid(child, &status, 0) == -1)
    if (errno != EINTR)
      throw command_error("cannot wait for " + argv[0] + ": " + std::strerror(errno));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw command_error(argv[0] + " failed:\n" + excerpt(output));
}

std::string read_file(const std::filesystem::path& file)
{
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  // Inserting the buffer of an empty file sets failbit, which is not an error here.
  if (stream && stream.peek() != std::ifstream::traits_type::eof())
    text << stream.rdbuf();
  if (stream.bad() || !stream.is_open())
    throw command_error("cannot read " + file.string());
  return text.str();
}

void write_file(const std::filesystem::path& file, const std::string& text)
{
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  stream.close();
  if (!stream)
    throw command_error("cannot write " + file.string());
}
