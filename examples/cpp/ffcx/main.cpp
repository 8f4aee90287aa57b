// SPDX-License-Identifier: MIT OR Apache-2.0
// Compiles a UFL form with FFCx at run time, on every rank of MPI_COMM_WORLD, and checks the element matrix it computes.
#include "agreement.hpp"
#include "command.hpp"
#include "form.hpp"

#include <dijitso.hpp>

#include <mpi.h>
#include <ufcx.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace
{

struct options
{
  std::string cache;                    // empty: the default directory of dijitso
  std::optional<int> expected_ffcx_runs; // over all ranks
};

struct preparation
{
  options chosen;
  std::string ufl;
  dijitso::params parameters;
};

options parse_options(int argc, char** argv)
{
  const std::invalid_argument usage("usage: poisson_ffcx [--cache DIRECTORY] [--expect-runs N]");
  options chosen;
  for (int i = 1; i < argc; i += 2)
  {
    const std::string_view option = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (value.empty() || (option != "--cache" && option != "--expect-runs"))
      throw usage;
    if (option == "--cache")
    {
      chosen.cache = value;
      continue;
    }
    const auto [end, failure] = std::from_chars(value.begin(), value.end(), chosen.expected_ffcx_runs.emplace());
    if (failure != std::errc() || end != value.end())
      throw usage;
  }
  return chosen;
}

preparation prepare(int argc, char** argv)
{
  options chosen = parse_options(argc, argv);
  std::string ufl = read_file(UFL_FILE);
  dijitso::params parameters = form_parameters(ufl, chosen.cache);
  return {std::move(chosen), std::move(ufl), std::move(parameters)};
}

// Returns true if the form gives the stiffness matrix of linear elements on the triangle (0,0), (1,0), (0,1). Prints a wrong matrix.
bool is_stiffness_matrix(const ufcx_form& form)
{
  if (form.rank != 2 || form.num_integrals(cell) != 1)
    return false;
  const std::array<double, 9> expected = {1.0, -0.5, -0.5, -0.5, 0.5, 0.0, -0.5, 0.0, 0.5};
  const std::array<double, 9> coordinates = {0, 0, 0, 1, 0, 0, 0, 1, 0}; // three vertices in three dimensions
  std::array<double, 9> matrix = {};                                     // the kernel adds to it
  form.integrals(cell)[0]->tabulate_tensor_float64(matrix.data(), nullptr, nullptr, coordinates.data(), nullptr, nullptr);

  bool good = true;
  for (std::size_t i = 0; i < 9; ++i)
    good = good && std::abs(matrix[i] - expected[i]) < 1e-14;
  if (!good)
    for (std::size_t row = 0; row < 9; row += 3)
      std::fprintf(stderr, "%12g %12g %12g\n", matrix[row], matrix[row + 1], matrix[row + 2]);
  return good;
}

// Prints a line for every rank. Returns true if every rank has a correct form and the counts are as expected. Collective over comm.
bool report(const compiled_form& compiled, const options& chosen, MPI_Comm comm)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  constexpr int fields = 3;
  const std::array<std::int32_t, fields> mine = {static_cast<std::int32_t>(compiled.origin), compiled.ffcx_runs,
                                                 is_stiffness_matrix(*compiled.form)};
  std::vector<std::int32_t> all(fields * static_cast<std::size_t>(size));
  MPI_Allgather(mine.data(), fields, MPI_INT32_T, all.data(), fields, MPI_INT32_T, comm);

  bool good = true;
  int ffcx_runs = 0;
  for (int r = 0; r < size; ++r)
  {
    const std::int32_t* const fields_of_rank = &all[fields * static_cast<std::size_t>(r)];
    ffcx_runs += fields_of_rank[1];
    good = good && fields_of_rank[2];
    if (rank == 0)
      std::printf("rank %d: form from %-9s element matrix %s\n", r,
                  (std::string(to_string(static_cast<dijitso::origin>(fields_of_rank[0]))) + ",").c_str(),
                  fields_of_rank[2] ? "correct" : "WRONG");
  }
  if (rank == 0)
    std::printf("FFCx runs: %d\n", ffcx_runs);
  return good && ffcx_runs == chosen.expected_ffcx_runs.value_or(ffcx_runs);
}

// Collective over comm.
bool run(int argc, char** argv, MPI_Comm comm)
{
  const preparation prepared = on_every_rank(comm, [&] { return prepare(argc, argv); });
  return report(jit_form(prepared.ufl, "a", prepared.parameters, comm), prepared.chosen, comm);
}

} // namespace

int main(int argc, char** argv)
{
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  std::string failure;
  bool good = false;
  try
  {
    good = run(argc, argv, MPI_COMM_WORLD);
  }
  // If one rank throws one of these three, every rank throws one of them, so all ranks finalize MPI and rank 0 prints the reason.
  catch (const agreed_error& error)
  {
    failure = error.what();
  }
  catch (const dijitso::error& error)
  {
    failure = error.what();
  }
  catch (const command_error& error)
  {
    failure = error.what();
  }
  catch (const std::exception& error)
  {
    std::fprintf(stderr, "poisson_ffcx: rank %d: %s\n", rank, error.what());
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
  }
  if (rank == 0 && !failure.empty())
    std::fprintf(stderr, "poisson_ffcx: %s\n", failure.c_str());
  MPI_Finalize();
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
