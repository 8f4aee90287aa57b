// SPDX-License-Identifier: MIT OR Apache-2.0
#include "solver.hpp"

#include <array>
#include <cstddef>

namespace
{

constexpr double tolerance = 1e-10;

// Adds up over the ranks, in one reduction for all sums: its cost is the wait for the slowest rank. Collective.
template <std::size_t Count>
std::array<double, Count> add_up(const mesh& domain, std::array<double, Count> sums)
{
  MPI_Allreduce(MPI_IN_PLACE, sums.data(), static_cast<int>(Count), MPI_DOUBLE, MPI_SUM, domain.comm);
  return sums;
}

// Updates the ghosts of `local`, a vector over all local vertices, and multiplies it by the owned rows. Collective.
void multiply(const mesh& domain, const linear_system& system, std::vector<double>& local, std::vector<double>& product)
{
  update_ghosts(domain, local);
  for (std::size_t row = 0; row < product.size(); ++row)
  {
    double sum = 0.0;
    for (std::size_t k = system.row_begin[row]; k < system.row_begin[row + 1]; ++k)
      sum += system.value[k] * local[system.column[k]];
    product[row] = sum;
  }
}

} // namespace

solution solve(const mesh& domain, const linear_system& system)
{
  const std::size_t rows = system.diagonal.size();
  const int most_iterations = 1000 + 20 * static_cast<int>(domain.row_length);
  solution found{std::vector<double>(domain.coordinates.size()), 0, false};

  // These have an entry for every owned vertex. Only the direction, which is multiplied by the matrix, has ghosts.
  std::vector<double> residual = system.right_side; // the first guess is zero
  std::vector<double> scaled(rows), product(rows), direction(domain.coordinates.size());
  double* const owned_direction = direction.data() + domain.owned_begin;
  double* const owned_values = found.values.data() + domain.owned_begin;

  double target = 0.0, previous = 0.0;
  for (;;)
  {
    std::array<double, 2> sums = {0.0, 0.0};
    for (std::size_t i = 0; i < rows; ++i)
    {
      scaled[i] = residual[i] / system.diagonal[i];
      sums[0] += residual[i] * residual[i];
      sums[1] += residual[i] * scaled[i];
    }
    const auto [squared, current] = add_up(domain, sums);
    if (found.iterations == 0)
      target = tolerance * tolerance * squared;
    found.converged = squared <= target;
    // Not `squared <= target`, so that NaN stops the iteration too.
    if (!(squared > target) || found.iterations == most_iterations)
      break;

    const double beta = found.iterations == 0 ? 0.0 : current / previous;
    previous = current;
    for (std::size_t i = 0; i < rows; ++i)
      owned_direction[i] = scaled[i] + beta * owned_direction[i];
    multiply(domain, system, direction, product);
    double mine = 0.0;
    for (std::size_t i = 0; i < rows; ++i)
      mine += owned_direction[i] * product[i];
    const auto [curvature] = add_up<1>(domain, {mine});
    const double step = current / curvature;
    for (std::size_t i = 0; i < rows; ++i)
    {
      owned_values[i] += step * owned_direction[i];
      residual[i] -= step * product[i];
    }
    ++found.iterations;
  }
  update_ghosts(domain, found.values);
  return found;
}
