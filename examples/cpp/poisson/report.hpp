// SPDX-License-Identifier: MIT OR Apache-2.0
// Prints the problem and the results, on rank 0 only.
#pragma once

#include "kernel.hpp"
#include "options.hpp"
#include "picture.hpp"

#include <mpi.h>

#include <vector>

// The result on one mesh.
struct run_result
{
  int n;
  int iterations;
  double error;           // L2 norm
  dijitso::origin origin; // how this rank got the kernels
};

// Returns the number of libraries that this rank built in all runs.
int compiles(const std::vector<run_result>& runs);

// Returns the order of convergence between the first and the last run.
double observed_order(const std::vector<run_result>& runs);

// Returns what stands above the picture. Local.
caption describe(const problem& wanted, const mesh& domain, double error);

void print_problem(const options& chosen, const problem& wanted, MPI_Comm comm);

// Also gathers how each rank got its kernels. Collective over comm.
void print_results(const std::vector<run_result>& runs, MPI_Comm comm);
