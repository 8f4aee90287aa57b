// SPDX-License-Identifier: MIT OR Apache-2.0
// The unit square as n x n squares, each cut into two triangles, split over the ranks by rows of vertices.
#pragma once

#include <mpi.h>

#include <array>
#include <cstddef>
#include <vector>

struct triangle
{
  std::array<std::size_t, 3> vertices; // counter-clockwise, local numbers
  bool owned;                          // true on exactly one rank, so that integrals count a triangle once
};

// The part of one rank. Local vertices: a ghost row, the owned rows, a ghost row; row by row from the bottom, each from the left.
// A ghost row is a copy from a neighbour; at the bottom and the top of the square it is unused. A rank may own no row.
struct mesh
{
  std::size_t row_length;                         // vertices in a row
  std::size_t owned_begin, owned_end;             // local numbers of the owned vertices
  int below, above;                               // ranks of the neighbours, or MPI_PROC_NULL
  std::vector<std::array<double, 2>> coordinates; // of every local vertex
  std::vector<char> on_boundary;                  // of every local vertex
  std::vector<triangle> triangles;                // all that touch an owned vertex
  MPI_Comm comm;                                  // borrowed
};

// Returns this rank's part of the mesh. Local.
mesh unit_square(int n, MPI_Comm comm);

// Copies the owned values next to a neighbour into its ghost row. Collective over the communicator of the mesh.
void update_ghosts(const mesh& domain, std::vector<double>& values);
