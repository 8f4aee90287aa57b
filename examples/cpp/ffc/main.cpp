// SPDX-License-Identifier: MIT OR Apache-2.0
// Compiles a UFL form with FFC at run time, on every rank of MPI_COMM_WORLD, and checks what the compiled modules compute.
#include "agreement.hpp"
#include "command.hpp"
#include "form.hpp"

#include <dijitso.hpp>

#include <mpi.h>
#include <ufc.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
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
  std::optional<int> expected_compiles; // over all ranks
};

struct preparation
{
  options chosen;
  std::string ufl;
  dijitso::params parameters;
};

options parse_options(int argc, char** argv)
{
  const std::invalid_argument usage("usage: poisson_ffc [--cache DIRECTORY] [--expect-compiles N]");
  options chosen;
  for (int i = 1; i < argc; i += 2)
  {
    const std::string_view option = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (value.empty() || (option != "--cache" && option != "--expect-compiles"))
      throw usage;
    if (option == "--cache")
    {
      chosen.cache = value;
      continue;
    }
    const auto [end, failure] = std::from_chars(value.begin(), value.end(), chosen.expected_compiles.emplace());
    if (failure != std::errc() || end != value.end())
      throw usage;
  }
  return chosen;
}

preparation prepare(int argc, char** argv)
{
  options chosen = parse_options(argc, argv);
  std::string ufl = read_file(UFL_FILE);
  dijitso::params parameters = form_parameters(chosen.cache);
  return {std::move(chosen), std::move(ufl), std::move(parameters)};
}

// Returns true if the form gives the stiffness matrix of linear elements on the triangle (0,0), (1,0), (0,1). Prints a wrong matrix.
bool is_stiffness_matrix(const ufc::form& form)
{
  const std::array<double, 9> expected = {1.0, -0.5, -0.5, -0.5, 0.5, 0.0, -0.5, 0.0, 0.5};
  const std::array<double, 6> coordinates = {0, 0, 1, 0, 0, 1};
  std::array<double, 9> matrix = {};
  const std::unique_ptr<const ufc::cell_integral> integral(form.create_default_cell_integral());
  integral->tabulate_tensor(matrix.data(), nullptr, coordinates.data(), 0);

  bool good = form.rank() == 2;
  for (std::size_t i = 0; i < 9; ++i)
    good = good && std::abs(matrix[i] - expected[i]) < 1e-14;
  if (!good)
    for (std::size_t row = 0; row < 9; row += 3)
      std::fprintf(stderr, "%12g %12g %12g\n", matrix[row], matrix[row + 1], matrix[row + 2]);
  return good;
}

// Returns true if the modules that the form is linked to describe linear elements on triangles.
bool dependencies_answer(const ufc::form& form)
{
  const std::unique_ptr<const ufc::finite_element> element(form.create_finite_element(0));
  const std::unique_ptr<const ufc::dofmap> dofmap(form.create_dofmap(0));
  const std::unique_ptr<const ufc::coordinate_mapping> mapping(form.create_coordinate_mapping());
  const std::unique_ptr<const ufc::finite_element> coordinate_element(mapping->create_coordinate_finite_element());
  return element->space_dimension() == 3 && dofmap->num_element_dofs() == 3 && coordinate_element->space_dimension() == 6;
}

// Prints a line for every rank. Returns true if every rank has a correct form and the counts are as expected. Collective over comm.
bool report(const compiled_form& compiled, const options& chosen, MPI_Comm comm)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  constexpr int fields = 4;
  const bool correct = is_stiffness_matrix(*compiled.form) && dependencies_answer(*compiled.form);
  const std::array<std::int32_t, fields> mine = {static_cast<std::int32_t>(compiled.origin), compiled.ffc_runs,
                                                 compiled.compiles, correct};
  std::vector<std::int32_t> all(fields * static_cast<std::size_t>(size));
  MPI_Allgather(mine.data(), fields, MPI_INT32_T, all.data(), fields, MPI_INT32_T, comm);

  bool good = true;
  int ffc_runs = 0, compiles = 0;
  for (int r = 0; r < size; ++r)
  {
    const std::int32_t* const fields_of_rank = &all[fields * static_cast<std::size_t>(r)];
    ffc_runs += fields_of_rank[1];
    compiles += fields_of_rank[2];
    good = good && fields_of_rank[3];
    if (rank == 0)
      std::printf("rank %d: form from %-9s element matrix and elements %s\n", r,
                  (std::string(to_string(static_cast<dijitso::origin>(fields_of_rank[0]))) + ",").c_str(),
                  fields_of_rank[3] ? "correct" : "WRONG");
  }
  if (rank == 0)
    std::printf("FFC runs: %d, modules compiled: %d\n", ffc_runs, compiles);
  return good && compiles == chosen.expected_compiles.value_or(compiles);
}

// Collective over comm.
bool run(int argc, char** argv, MPI_Comm comm)
{
  const preparation prepared = on_every_rank(comm, [&] { return prepare(argc, argv); });
  return report(jit_form(prepared.ufl, prepared.parameters, comm), prepared.chosen, comm);
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
    std::fprintf(stderr, "poisson_ffc: rank %d: %s\n", rank, error.what());
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
  }
  if (rank == 0 && !failure.empty())
    std::fprintf(stderr, "poisson_ffc: %s\n", failure.c_str());
  MPI_Finalize();
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
