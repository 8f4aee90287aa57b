// SPDX-License-Identifier: MIT OR Apache-2.0
// Compiles a UFL form with FFCx at run time, on every rank of MPI_COMM_WORLD, and checks the element matrix that it computes.
//
// usage: poisson_ffcx [--expect-runs N] [UFL_FILE]
#include <dijitso_ffcx.hpp>

#include <mpi.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace
{

// FFCx 0.7 has put the integrals of all kinds into one list.
template <class Form>
auto first_cell_integral(const Form& form, int) -> decltype(form.form_integrals[0])
{
  return form.form_integrals[form.form_integral_offsets[cell]];
}

template <class Form>
auto first_cell_integral(const Form& form, long) -> decltype(form.integrals(cell)[0])
{
  return form.integrals(cell)[0];
}

// FFCx 0.11 has added an argument for the data of custom integrals.
template <class... Arguments>
void tabulate(void (*kernel)(Arguments...), double* matrix, const double* coordinates)
{
  if constexpr (sizeof...(Arguments) == 7)
    kernel(matrix, nullptr, nullptr, coordinates, nullptr, nullptr, nullptr);
  else
    kernel(matrix, nullptr, nullptr, coordinates, nullptr, nullptr);
}

// Returns true if the form gives the stiffness matrix of linear elements on the triangle (0,0), (1,0), (0,1). Prints a wrong matrix.
bool is_stiffness_matrix(const ufcx_form& form)
{
  const std::array<double, 9> expected = {1.0, -0.5, -0.5, -0.5, 0.5, 0.0, -0.5, 0.0, 0.5};
  const std::array<double, 9> coordinates = {0, 0, 0, 1, 0, 0, 0, 1, 0}; // three vertices in three dimensions
  std::array<double, 9> matrix = {};                                     // the kernel adds to it
  tabulate(first_cell_integral(form, 0)->tabulate_tensor_float64, matrix.data(), coordinates.data());
  bool good = form.rank == 2;
  for (std::size_t i = 0; i < 9; ++i)
    good = good && std::abs(matrix[i] - expected[i]) < 1e-14;
  for (std::size_t row = 0; !good && row < 9; row += 3)
    std::fprintf(stderr, "%12g %12g %12g\n", matrix[row], matrix[row + 1], matrix[row + 2]);
  return good;
}

// Collective over comm. Returns true if every rank has a correct form and FFCx ran as often as expected.
bool run(const std::string& file, int expected_runs, MPI_Comm comm)
{
  const dijitso::ffcx::module module = dijitso::ffcx::compile_file(file, comm);
  std::uint64_t builds = 0;
  dijitso_progress(&builds, nullptr);
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  int mine[2] = {static_cast<int>(builds), !is_stiffness_matrix(module.form("a"))}, all[2];
  MPI_Allreduce(mine, all, 2, MPI_INT, MPI_SUM, comm);
  std::printf("rank %d: form from %s, element matrix %s\n", rank, std::string(to_string(module.library().origin())).c_str(),
              mine[1] ? "WRONG" : "correct");
  if (rank == 0)
    std::printf("FFCx runs: %d\n", all[0]);
  return all[1] == 0 && (expected_runs < 0 || all[0] == expected_runs);
}

} // namespace

int main(int argc, char** argv)
{
  MPI_Init(&argc, &argv);
  int rank = 0, expected_runs = -1;
  std::string file = UFL_FILE;
  for (int i = 1; i < argc; ++i)
    if (std::string(argv[i]) == "--expect-runs" && i + 1 < argc)
      expected_runs = std::atoi(argv[++i]);
    else
      file = argv[i];
  bool good = false;
  try
  {
    good = run(file, expected_runs, MPI_COMM_WORLD);
  }
  catch (const dijitso::error& error) // the same on every rank
  {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
      std::fprintf(stderr, "poisson_ffcx: %s\n", error.what());
  }
  MPI_Finalize();
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
