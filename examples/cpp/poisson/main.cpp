// SPDX-License-Identifier: MIT OR Apache-2.0
// A finite element program that writes its element kernels at run time; dijitso compiles, distributes and loads them.
#include "agreement.hpp"
#include "derivative.hpp"
#include "kernel.hpp"
#include "mesh.hpp"
#include "options.hpp"
#include "picture.hpp"
#include "report.hpp"
#include "solver.hpp"
#include "system.hpp"

#include <dijitso.hpp>

#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace
{

// All that a rank needs before the first collective call.
struct preparation
{
  problem wanted;
  dijitso::params parameters;
};

expression parse_option(const std::string& option, const std::string& text)
{
  try
  {
    return parse(text);
  }
  catch (const expression_error& error)
  {
    throw std::invalid_argument(option + ": " + error.what());
  }
}

// Reads the expressions and sets the parameters. Local.
preparation prepare(const options& chosen)
{
  const expression kappa = parse_option("--kappa", chosen.kappa);
  const expression exact = parse_option("--exact", chosen.exact);
  const expression source =
      chosen.source.empty() ? manufactured_source(kappa, exact) : parse_option("--source", chosen.source);

  problem wanted{kappa, source, exact};
  dijitso::params parameters;
  parameters.set("generator", generator_json(wanted));
  parameters.set("parallel.buildon", chosen.buildon);
  if (!chosen.cache.empty())
    parameters.set("cache.cache_dir", chosen.cache);
  return {std::move(wanted), std::move(parameters)};
}

// Writes what there is to look at. Collective over the communicator of the mesh.
void write_picture(const std::string& directory, const preparation& prepared, const mesh& domain, const solution& found, double error)
{
  write_svg(directory, describe(prepared.wanted, domain, error), domain, found.values);
  write_vtk(directory, domain, found.values);
}

// Solves on a mesh of n x n squares; draws the solution, if there is a directory for it. Collective over comm.
run_result run(int n, const preparation& prepared, const std::string& picture, MPI_Comm comm)
{
  const kernel kernels = jit_kernel(prepared.wanted, prepared.parameters, comm);
  const mesh domain = unit_square(n, comm);
  const solution found = solve(domain, assemble(domain, kernels));
  if (!found.converged)
    throw agreed_error("the iteration did not converge for n = " + std::to_string(n) + "; is kappa positive?");
  const double error = l2_error(domain, kernels, found.values);
  if (!picture.empty())
    write_picture(picture, prepared, domain, found, error);
  return {n, found.iterations, error, kernels.origin};
}

// Returns true if the order of convergence and the number of compilations are as expected; prints what is not. Collective over comm.
bool as_expected(const std::vector<run_result>& runs, const options& chosen, MPI_Comm comm)
{
  int rank = 0, total = compiles(runs);
  MPI_Comm_rank(comm, &rank);
  MPI_Allreduce(MPI_IN_PLACE, &total, 1, MPI_INT, MPI_SUM, comm);
  const bool prints = rank == 0;

  bool good = true;
  const double order = observed_order(runs);
  if (!(order >= 1.9 && order <= 2.1))
  {
    good = false;
    if (prints)
      std::fprintf(stderr, "poisson: the observed order is not between 1.9 and 2.1. Does the source term belong to the exact "
                           "solution? Is that solution smooth, not linear, and resolved by the mesh?\n");
  }
  if (chosen.expected_compiles && total != *chosen.expected_compiles)
  {
    good = false;
    if (prints)
      std::fprintf(stderr, "poisson: %d compilations instead of %d\n", total, *chosen.expected_compiles);
  }
  return good;
}

// Solves on two meshes. Returns the same result, or throws the same exception, on every rank. Collective over comm.
int solve_twice(const options& chosen, MPI_Comm comm)
{
  const preparation prepared = on_every_rank(comm, [&] { return prepare(chosen); });
  print_problem(chosen, prepared.wanted, comm);
  std::vector<run_result> runs;
  for (const int n : {chosen.n, 2 * chosen.n})
    runs.push_back(run(n, prepared, n == chosen.n ? chosen.picture : "", comm));
  print_results(runs, comm);
  return as_expected(runs, chosen, comm) ? EXIT_SUCCESS : EXIT_FAILURE;
}

} // namespace

int main(int argc, char** argv)
{
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int status = EXIT_FAILURE;
  try
  {
    const options chosen = on_every_rank(MPI_COMM_WORLD, [&] { return parse_options(argc, argv); });
    if (chosen.help && rank == 0)
      std::fputs(usage(), stdout);
    status = chosen.help ? EXIT_SUCCESS : solve_twice(chosen, MPI_COMM_WORLD);
  }
  // Every rank catches the same agreed_error or dijitso::error, so rank 0 prints it.
  catch (const agreed_error& error)
  {
    if (rank == 0)
      std::fprintf(stderr, "poisson: %s\n", error.what());
  }
  catch (const dijitso::error& error)
  {
    if (rank == 0)
      std::fprintf(stderr, "poisson: %s\n", error.what());
  }
  catch (const std::exception& error)
  {
    // Only this rank fails. The others wait for it in a collective, so end them too.
    std::fprintf(stderr, "poisson: rank %d: %s\n", rank, error.what());
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
  }
  MPI_Finalize();
  return status;
}
