// SPDX-License-Identifier: MIT OR Apache-2.0
#include "mesh.hpp"

#include <algorithm>

mesh unit_square(int n, MPI_Comm comm)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  // The first `longer` ranks own one row more. Only the last ranks may own no row, so the ranks with rows follow one another.
  const int rows = n + 1;
  const int shorter = rows / size, longer = rows % size;
  const int begin = rank * shorter + std::min(rank, longer);
  const int end = begin + shorter + (rank < longer ? 1 : 0);
  const bool empty = begin == end;

  mesh part;
  part.comm = comm;
  part.row_length = static_cast<std::size_t>(n) + 1;
  part.owned_begin = part.row_length;
  part.owned_end = part.owned_begin + static_cast<std::size_t>(end - begin) * part.row_length;
  part.below = empty || begin == 0 ? MPI_PROC_NULL : rank - 1;
  part.above = empty || end == rows ? MPI_PROC_NULL : rank + 1;

  for (int row = begin - 1; row <= end; ++row)
    for (int column = 0; column <= n; ++column)
    {
      part.coordinates.push_back({static_cast<double>(column) / n, static_cast<double>(row) / n});
      part.on_boundary.push_back(row <= 0 || row >= n || column == 0 || column == n);
    }

  // A strip of triangles lies between two rows; the owner of the lower row owns it.
  const int first_strip = empty ? n : std::max(begin - 1, 0);
  for (int row = first_strip; row < std::min(end, n); ++row)
    for (int column = 0; column < n; ++column)
    {
      const std::size_t lower = static_cast<std::size_t>(row - (begin - 1)) * part.row_length + static_cast<std::size_t>(column);
      const std::size_t upper = lower + part.row_length;
      const bool owned = row >= begin;
      part.triangles.push_back({{lower, lower + 1, upper + 1}, owned});
      part.triangles.push_back({{lower, upper + 1, upper}, owned});
    }
  return part;
}

void update_ghosts(const mesh& domain, std::vector<double>& values)
{
  const int count = static_cast<int>(domain.row_length);
  double* const lowest_owned = values.data() + domain.owned_begin;
  double* const highest_owned = values.data() + domain.owned_end - domain.row_length;
  double* const ghost_below = values.data();
  double* const ghost_above = values.data() + domain.owned_end;
  MPI_Sendrecv(lowest_owned, count, MPI_DOUBLE, domain.below, 0, ghost_above, count, MPI_DOUBLE, domain.above, 0, domain.comm,
               MPI_STATUS_IGNORE);
  MPI_Sendrecv(highest_owned, count, MPI_DOUBLE, domain.above, 1, ghost_below, count, MPI_DOUBLE, domain.below, 1, domain.comm,
               MPI_STATUS_IGNORE);
}
