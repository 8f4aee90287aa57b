// SPDX-License-Identifier: MIT OR Apache-2.0
// Compiles a UFL file with FFC at run time, on every rank of MPI_COMM_WORLD, and checks what the compiled libraries compute.
#include <dijitso_ffc.hpp>

#include <mpi.h>
#include <ufc.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace
{

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

// Returns true if the libraries that the form is linked to describe linear elements on triangles, and so does the element by name.
bool elements_answer(const dijitso::ffc::module& module)
{
  const auto form = module.form("a");
  const std::unique_ptr<const ufc::finite_element> element(form->create_finite_element(0));
  const std::unique_ptr<const ufc::dofmap> dofmap(form->create_dofmap(0));
  const std::unique_ptr<const ufc::coordinate_mapping> mapping(form->create_coordinate_mapping());
  const std::unique_ptr<const ufc::finite_element> coordinate_element(mapping->create_coordinate_finite_element());
  return element->space_dimension() == 3 && dofmap->num_element_dofs() == 3 && coordinate_element->space_dimension() == 6
         && std::string(module.element("element")->signature()) == element->signature()
         && std::string(module.dofmap("element")->signature()) == dofmap->signature();
}

// Prints a line for every rank. Returns true if all is correct on every rank. Collective over comm.
bool report(const dijitso::ffc::module& module, MPI_Comm comm)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  std::uint64_t begun = 0;
  dijitso_progress(&begun, nullptr);
  const std::array<int, 3> mine = {static_cast<int>(module.library().origin()), static_cast<int>(begun),
                                   is_stiffness_matrix(*module.form("a")) && elements_answer(module)};
  std::vector<std::array<int, 3>> all(static_cast<std::size_t>(size));
  MPI_Allgather(mine.data(), 3, MPI_INT, all.data(), 3, MPI_INT, comm);

  bool good = true;
  int builds = 0;
  for (int r = 0; r < size; ++r)
  {
    const auto [origin, builds_of_rank, correct] = all[static_cast<std::size_t>(r)];
    builds += builds_of_rank;
    good = good && correct;
    if (rank == 0)
      std::printf("rank %d: forms from %-9s element matrix and elements %s\n", r,
                  (std::string(to_string(static_cast<dijitso::origin>(origin))) + ",").c_str(), correct ? "correct" : "WRONG");
  }
  if (rank == 0)
    std::printf("libraries compiled: %d, %s\n", builds, good ? "all correct" : "NOT all correct");
  return good;
}

} // namespace

int main(int argc, char** argv)
{
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  bool good = false;
  try
  {
    good = report(dijitso::ffc::compile_file(argc > 1 ? argv[1] : UFL_FILE, MPI_COMM_WORLD), MPI_COMM_WORLD);
  }
  catch (const dijitso::error& error) // the same on every rank
  {
    if (rank == 0)
      std::fprintf(stderr, "poisson_ffc: %s\n", error.what());
  }
  MPI_Finalize();
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
