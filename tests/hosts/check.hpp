// SPDX-License-Identifier: MIT OR Apache-2.0
// Checks that do not stop the program: if one rank ended early, the others would wait for it.
#pragma once

#include <dijitso_host.hpp>

#include <cstdio>
#include <optional>
#include <string>

namespace check
{

inline int failures = 0;
inline std::string context; // name of the current case

#if DIJITSO_HAVE_MPI
inline const dijitso::communicator comm = MPI_COMM_WORLD;
#else
inline const dijitso::communicator comm = DIJITSO_COMM_NULL;
#endif

inline void start([[maybe_unused]] int* argc, [[maybe_unused]] char*** argv)
{
#if DIJITSO_HAVE_MPI
  MPI_Init(argc, argv);
#endif
}

// Also in programs that start no MPI.
inline int rank()
{
  int value = 0;
#if DIJITSO_HAVE_MPI
  int started = 0;
  MPI_Initialized(&started);
  if (started)
    MPI_Comm_rank(comm, &value);
#endif
  return value;
}

inline int size()
{
  int value = 1;
#if DIJITSO_HAVE_MPI
  MPI_Comm_size(comm, &value);
#endif
  return value;
}

// Returns the sum over all ranks; it is a barrier as well.
inline int sum(int value)
{
#if DIJITSO_HAVE_MPI
  MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_SUM, comm);
#endif
  return value;
}

// Ends MPI. Returns the exit status: a failure on every rank if any rank had one.
inline int finish()
{
  failures = sum(failures);
#if DIJITSO_HAVE_MPI
  MPI_Finalize();
#endif
  return failures == 0 ? 0 : 1;
}

struct place
{
  const char* file;
  int line;
};

inline void that(bool condition, const std::string& what, place here)
{
  if (condition)
    return;
  std::fprintf(stderr, "[%d] %s:%d: %s: failed: %s\n", rank(), here.file, here.line, context.c_str(), what.c_str());
  ++failures;
}

// Checks that all ranks have the same text.
inline void same(place here, const std::string& text)
{
  std::string first = text;
#if DIJITSO_HAVE_MPI
  unsigned long length = text.size();
  MPI_Bcast(&length, 1, MPI_UNSIGNED_LONG, 0, comm);
  first.resize(length);
  MPI_Bcast(first.data(), static_cast<int>(length), MPI_CHAR, 0, comm);
#endif
  that(first == text, "rank 0 has the same text as: " + text, here);
}

// Returns the dijitso::error that a step throws.
template <class Step>
std::optional<dijitso::error> error_of(place here, Step step)
{
  try
  {
    step();
    that(false, "it throws", here);
  }
  catch (const dijitso::error& error)
  {
    return error;
  }
  catch (...)
  {
    that(false, "it throws a dijitso::error, not something else", here);
  }
  return std::nullopt;
}

// Checks that a local step throws an error of a generator whose message begins with a text and contains others.
template <class Step, class... Parts>
void fails(place here, Step step, const std::string& beginning, const Parts&... parts)
{
  const std::optional<dijitso::error> error = error_of(here, step);
  const std::string message = error ? error->what() : "";
  that(error && error->status() == DIJITSO_ERROR_GENERATE, "status of a generator", here);
  that(message.rfind(beginning, 0) == 0, "'" + message + "' begins with " + beginning, here);
  (that(message.find(parts) != std::string::npos, "'" + message + "' contains " + parts, here), ...);
}

// Does the same with a collective step: all ranks throw the same error, which is that of `failed_rank`; -1: of any rank.
template <class Step, class... Parts>
void all_fail(place here, int failed_rank, Step step, const std::string& beginning, const Parts&... parts)
{
  std::optional<dijitso::error> error;
  const auto once = [&]
  {
    error = error_of(here, step);
    if (error)
      throw *error;
  };
  fails(here, once, beginning, parts...);
  same(here, error ? error->what() : "");
  same(here, error ? error->log() : "");
  same(here, std::to_string(error ? error->rank() : -2));
#if DIJITSO_HAVE_MPI
  if (failed_rank >= 0 && error)
    that(error->rank() == failed_rank, "the rank is " + std::to_string(failed_rank), here);
#else
  static_cast<void>(failed_rank);
#endif
}

} // namespace check

#define HERE check::place{__FILE__, __LINE__}
#define CHECK(condition) check::that((condition), #condition, HERE)
#define CHECK_FAILS(...) check::fails(HERE, __VA_ARGS__)
#define CHECK_ALL_FAIL(...) check::all_fail(HERE, __VA_ARGS__)
