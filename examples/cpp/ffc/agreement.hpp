// SPDX-License-Identifier: MIT OR Apache-2.0
// Makes all ranks fail together. If one rank failed alone, the others would wait for it in the next collective.
#pragma once

#include <mpi.h>

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

// An error that every rank throws at the same point and with the same text, so that one rank prints it and MPI is still usable.
class agreed_error : public std::runtime_error
{
public:
  using std::runtime_error::runtime_error;
};

// Runs a step that does not communicate, and returns its result. If it throws on any rank, throws agreed_error on all ranks, with
// the text of the lowest rank that failed. Collective over comm.
template <class Step>
auto on_every_rank(MPI_Comm comm, Step step)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  std::optional<decltype(step())> result;
  std::string reason;
  try
  {
    result.emplace(step());
  }
  catch (const std::exception& error)
  {
    reason = error.what();
  }

  const int failed = result ? size : rank;
  int first_failed = size;
  MPI_Allreduce(&failed, &first_failed, 1, MPI_INT, MPI_MIN, comm);
  if (first_failed < size)
  {
    int length = static_cast<int>(reason.size());
    MPI_Bcast(&length, 1, MPI_INT, first_failed, comm);
    reason.resize(static_cast<std::size_t>(length));
    MPI_Bcast(reason.data(), length, MPI_CHAR, first_failed, comm);
    throw agreed_error(reason);
  }
  return std::move(*result);
}
