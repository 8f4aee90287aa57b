// SPDX-License-Identifier: MIT OR Apache-2.0
// The discrete problem: assembly with the generated kernels, and the error of a solution.
#pragma once

#include "kernel.hpp"
#include "mesh.hpp"

#include <cstddef>
#include <vector>

// The owned rows of A u = b, compressed; columns are local vertices of the mesh. Symmetric and positive definite.
struct linear_system
{
  std::vector<std::size_t> row_begin; // one more entry than owned vertices
  std::vector<std::size_t> column;
  std::vector<double> value;
  std::vector<double> diagonal;  // of every owned vertex
  std::vector<double> right_side; // of every owned vertex
};

// Assembles the owned rows. Local: both neighbours compute the triangles at their border, each for its own rows.
linear_system assemble(const mesh& domain, const kernel& kernels);

// Returns the L2 norm of u_h - exact. The ghosts of u must be up to date. Collective over the communicator of the mesh.
double l2_error(const mesh& domain, const kernel& kernels, const std::vector<double>& u);
