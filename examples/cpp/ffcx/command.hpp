// SPDX-License-Identifier: MIT OR Apache-2.0
// Runs another program on temporary files.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

// Thrown if a program cannot be run, fails, or does not write its output.
class command_error : public std::runtime_error
{
public:
  using std::runtime_error::runtime_error;
};

// A new directory. The destructor removes it with its contents.
class temporary_directory
{
public:
  temporary_directory();
  ~temporary_directory();
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;

  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

// Runs argv[0], looked up on the PATH, without a shell, and waits for it. Its output goes to the file `output`. Throws
// command_error with the end of that output if the exit status is not 0.
void run_command(const std::vector<std::string>& argv, const std::filesystem::path& output);

// Read or write a whole file. Throw command_error.
std::string read_file(const std::filesystem::path& file);
void write_file(const std::filesystem::path& file, const std::string& text);
