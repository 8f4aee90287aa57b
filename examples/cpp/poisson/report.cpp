// SPDX-License-Identifier: MIT OR Apache-2.0
#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace
{

constexpr std::size_t longest_shown = 200;

void print_convergence(const std::vector<run_result>& runs)
{
  std::printf("\n     n    vertices   iterations       L2 error\n");
  for (const run_result& run : runs)
    std::printf("%6d %11d %12d %14.4e\n", run.n, (run.n + 1) * (run.n + 1), run.iterations, run.error);
  std::printf("observed order: %.2f\n", observed_order(runs));
}

// Keeps a line of the picture within it.
std::string shortened(const std::string& text, std::size_t longest)
{
  return text.size() <= longest ? text : text.substr(0, longest - 3) + "...";
}

} // namespace

caption describe(const problem& wanted, const mesh& domain, double error)
{
  int size = 1;
  MPI_Comm_size(domain.comm, &size);
  const std::size_t squares = (domain.row_length - 1) * (domain.row_length - 1);
  char numbers[100];
  std::snprintf(numbers, sizeof numbers, "%zu triangles, %d %s, L2 error %.2e", 2 * squares, size, size == 1 ? "rank" : "ranks",
                error);
  return {"-div(\u03ba grad u) = f,  \u03ba = " + shortened(to_code(wanted.kappa), 24), numbers};
}

int compiles(const std::vector<run_result>& runs)
{
  return static_cast<int>(
      std::count_if(runs.begin(), runs.end(), [](const run_result& run) { return run.origin == dijitso::origin::built; }));
}

double observed_order(const std::vector<run_result>& runs)
{
  const run_result& coarse = runs.front();
  const run_result& fine = runs.back();
  return std::log(coarse.error / fine.error) / std::log(static_cast<double>(fine.n) / coarse.n);
}

void print_problem(const options& chosen, const problem& wanted, MPI_Comm comm)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  if (rank != 0)
    return;
  std::printf("-div(kappa grad u) = f on the unit square, P1 triangles, %d %s\n", size, size == 1 ? "rank" : "ranks");
  std::printf("  kappa = %s\n", to_code(wanted.kappa).c_str());
  std::printf("  u     = %s\n", to_code(wanted.exact).c_str());
  const std::string source = to_code(wanted.source);
  if (!chosen.source.empty())
    std::printf("  f     = %s\n", source.c_str());
  else if (source.size() <= longest_shown)
    std::printf("  f     = %s  (derived)\n", source.c_str());
  else
    std::printf("  f     = -div(kappa grad u), derived, %zu characters\n", source.size());
}

void print_results(const std::vector<run_result>& runs, MPI_Comm comm)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  std::vector<std::int32_t> mine;
  for (const run_result& run : runs)
    mine.push_back(static_cast<std::int32_t>(run.origin));
  mine.push_back(compiles(runs));
  const int count = static_cast<int>(mine.size());
  std::vector<std::int32_t> all(mine.size() * static_cast<std::size_t>(size));
  MPI_Gather(mine.data(), count, MPI_INT32_T, all.data(), count, MPI_INT32_T, 0, comm);
  if (rank != 0)
    return;

  print_convergence(runs);
  std::printf("\n  rank");
  for (const run_result& run : runs)
    std::printf("  kernels, n = %-4d", run.n);
  std::printf("  compiles\n");
  for (int r = 0; r < size; ++r)
  {
    const std::int32_t* const row = all.data() + static_cast<std::size_t>(r) * mine.size();
    std::printf("%6d", r);
    for (std::size_t i = 0; i < runs.size(); ++i)
      std::printf("  %-17s", std::string(to_string(static_cast<dijitso::origin>(row[i]))).c_str());
    std::printf("  %8d\n", row[runs.size()]);
  }
}
