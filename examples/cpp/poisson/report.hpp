// SPDX-License-Identifier: MIT OR Apache-2.0
// What the program prints, on rank 0 only.
#pragma once

#include "kernel.hpp"
#include "options.hpp"

#include <mpi.h>

#include <vector>

// One mesh size.
struct run_result
{
  int n;
  int iterations;
  double error;           // L2 norm
  dijitso::origin origin; // how this rank got the kernels
};

// How many libraries this rank built in all runs.
int compiles(const std::vector<run_result>& runs);

// The order of convergence between the first and the last run.
double observed_order(const std::vector<run_result>& runs);

void print_problem(const options& chosen, const problem& wanted, MPI_Comm comm);

// Collective over comm: gathers from every rank how it got its kernels.
void print_results(const std::vector<run_result>& runs, MPI_Comm comm);
