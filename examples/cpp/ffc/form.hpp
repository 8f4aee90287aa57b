// SPDX-License-Identifier: MIT OR Apache-2.0
// Compiles a UFL file: FFC writes C++ modules that depend on each other, dijitso compiles, links and loads them.
#pragma once

#include <dijitso.hpp>

#include <mpi.h>
#include <ufc.h>

#include <memory>
#include <string>

struct compiled_form
{
  std::shared_ptr<const ufc::form> form;
  dijitso::origin origin; // how this rank got the form's module
  int ffc_runs;           // runs of FFC on this rank: 0 or 1
  int compiles;           // modules that this rank compiled
};

// Returns the name of the module of the form in `ufl`, the text of a UFL file. Local.
std::string form_name(const std::string& ufl);

// Returns parameters with which modules compile and link as FFC expects. Local.
dijitso::params form_parameters(const std::string& cache_directory);

// Compiles the first form of a UFL file and the modules it depends on. Throws command_error on the rank whose FFC failed,
// dijitso::error on all others. Collective over comm.
compiled_form jit_form(const std::string& ufl, const dijitso::params& parameters, MPI_Comm comm);
