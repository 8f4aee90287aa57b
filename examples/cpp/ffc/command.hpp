// SPDX-License-Identifier: MIT OR Apache-2.0
// Running another program on files of our own.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

// A program could not be run, or failed, or did not write what it should have.
class command_error : public std::runtime_error
{
public:
  using std::runtime_error::runtime_error;
};

// A directory of our own, removed with all that is in it at the end of the scope.
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

// Runs argv[0], looked up on the PATH, and waits for it. There is no shell that could reinterpret an argument. What it prints
// goes to the file `output`. Throws command_error with the end of that if it does not exit with status 0.
void run_command(const std::vector<std::string>& argv, const std::filesystem::path& output);

// Whole files. Throw command_error.
std::string read_file(const std::filesystem::path& file);
void write_file(const std::filesystem::path& file, const std::string& text);
