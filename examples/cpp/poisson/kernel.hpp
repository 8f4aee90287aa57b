// SPDX-License-Identifier: MIT OR Apache-2.0
// The element kernels of one problem, written as C++, compiled and loaded by dijitso.
#pragma once

#include "expression.hpp"

#include <dijitso.hpp>

#include <mpi.h>

#include <string>

// -div(kappa grad u) = source, with u = exact on the boundary.
struct problem
{
  expression kappa;
  expression source;
  expression exact;
};

// Functions on one triangle whose vertices are coordinates[3][2]. Valid until the process ends.
struct kernel
{
  void (*tabulate_stiffness)(double* matrix, const double* coordinates);                  // matrix[3][3], overwritten
  void (*tabulate_load)(double* vector, const double* coordinates);                       // vector[3], overwritten
  double (*tabulate_squared_error)(const double* vertex_values, const double* coordinates); // integral of (u_h - exact)^2
  double (*exact)(double x, double y);
  dijitso::origin origin; // how this rank got the library
};

// Returns all that the generated code depends on, as JSON for the parameter "generator". dijitso makes the signature from it,
// the name and the build parameters.
std::string generator_json(const problem& wanted);

// Loads the kernels of the problem. `parameters` must contain its generator_json(). Collective over comm.
kernel jit_kernel(const problem& wanted, const dijitso::params& parameters, MPI_Comm comm);
