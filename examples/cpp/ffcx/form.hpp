// SPDX-License-Identifier: MIT OR Apache-2.0
// Compiles a UFL file: FFCx writes C, dijitso compiles and loads it.
#pragma once

#include <dijitso.hpp>

#include <mpi.h>
#include <ufcx.h>

#include <string>

struct compiled_form
{
  const ufcx_form* form;  // valid until the process ends
  dijitso::origin origin; // how this rank got the form
  int ffcx_runs;          // runs of FFCx on this rank: 0 or 1
};

// Returns the parameters for compiling the form in `ufl`, the text of a UFL file. Local.
dijitso::params form_parameters(const std::string& ufl, const std::string& cache_directory);

// Compiles the form `form_name` of a UFL file. Throws command_error on the rank whose FFCx failed, dijitso::error on all others.
// Collective over comm.
compiled_form jit_form(const std::string& ufl, const std::string& form_name, const dijitso::params& parameters, MPI_Comm comm);
