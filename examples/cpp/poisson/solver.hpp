// SPDX-License-Identifier: MIT OR Apache-2.0
// Conjugate gradients over the ranks of a mesh.
#pragma once

#include "mesh.hpp"
#include "system.hpp"

#include <vector>

struct solution
{
  std::vector<double> values; // of every local vertex, ghosts up to date
  int iterations;
  bool converged; // the same on every rank
};

// Solves by conjugate gradients, preconditioned by the diagonal, until the residual is 1e-10 of the right side. Collective over
// the communicator of the mesh.
solution solve(const mesh& domain, const linear_system& system);
