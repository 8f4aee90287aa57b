// SPDX-License-Identifier: MIT OR Apache-2.0
#include "system.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace
{

std::array<double, 6> coordinates_of(const mesh& domain, const triangle& cell)
{
  std::array<double, 6> coordinates;
  for (std::size_t i = 0; i < 3; ++i)
  {
    coordinates[2 * i] = domain.coordinates[cell.vertices[i]][0];
    coordinates[2 * i + 1] = domain.coordinates[cell.vertices[i]][1];
  }
  return coordinates;
}

bool is_owned(const mesh& domain, std::size_t vertex) { return vertex >= domain.owned_begin && vertex < domain.owned_end; }

// Returns the sparsity pattern of the owned rows, with all values zero.
linear_system pattern(const mesh& domain)
{
  const std::size_t rows = domain.owned_end - domain.owned_begin;
  std::vector<std::vector<std::size_t>> neighbours(rows);
  for (const triangle& cell : domain.triangles)
    for (const std::size_t vertex : cell.vertices)
      if (is_owned(domain, vertex))
      {
        auto& row = neighbours[vertex - domain.owned_begin];
        row.insert(row.end(), cell.vertices.begin(), cell.vertices.end());
      }

  linear_system system;
  system.row_begin.push_back(0);
  for (auto& row : neighbours)
  {
    std::sort(row.begin(), row.end());
    system.column.insert(system.column.end(), row.begin(), std::unique(row.begin(), row.end()));
    system.row_begin.push_back(system.column.size());
  }
  system.value.resize(system.column.size());
  system.diagonal.resize(rows);
  system.right_side.resize(rows);
  return system;
}

double& entry(linear_system& system, std::size_t row, std::size_t column)
{
  const auto begin = system.column.begin() + static_cast<std::ptrdiff_t>(system.row_begin[row]);
  const auto end = system.column.begin() + static_cast<std::ptrdiff_t>(system.row_begin[row + 1]);
  return system.value[static_cast<std::size_t>(std::lower_bound(begin, end, column) - system.column.begin())];
}

} // namespace

linear_system assemble(const mesh& domain, const kernel& kernels)
{
  linear_system system = pattern(domain);
  const auto boundary_value = [&](std::size_t vertex) {
    return kernels.exact(domain.coordinates[vertex][0], domain.coordinates[vertex][1]);
  };

  for (const triangle& cell : domain.triangles)
  {
    const auto coordinates = coordinates_of(domain, cell);
    std::array<double, 9> matrix;
    std::array<double, 3> vector;
    kernels.tabulate_stiffness(matrix.data(), coordinates.data());
    kernels.tabulate_load(vector.data(), coordinates.data());
    for (std::size_t i = 0; i < 3; ++i)
    {
      const std::size_t vertex = cell.vertices[i];
      if (!is_owned(domain, vertex) || domain.on_boundary[vertex])
        continue;
      const std::size_t row = vertex - domain.owned_begin;
      system.right_side[row] += vector[i];
      // Move known values to the right side, which keeps the matrix symmetric.
      for (std::size_t j = 0; j < 3; ++j)
        if (domain.on_boundary[cell.vertices[j]])
          system.right_side[row] -= matrix[3 * i + j] * boundary_value(cell.vertices[j]);
        else
          entry(system, row, cell.vertices[j]) += matrix[3 * i + j];
    }
  }

  for (std::size_t row = 0; row < system.diagonal.size(); ++row)
  {
    const std::size_t vertex = domain.owned_begin + row;
    if (domain.on_boundary[vertex])
    {
      entry(system, row, vertex) = 1.0;
      system.right_side[row] = boundary_value(vertex);
    }
    system.diagonal[row] = entry(system, row, vertex);
  }
  return system;
}

double l2_error(const mesh& domain, const kernel& kernels, const std::vector<double>& u)
{
  double squared = 0.0;
  for (const triangle& cell : domain.triangles)
    if (cell.owned)
    {
      const auto coordinates = coordinates_of(domain, cell);
      const std::array<double, 3> values = {u[cell.vertices[0]], u[cell.vertices[1]], u[cell.vertices[2]]};
      squared += kernels.tabulate_squared_error(values.data(), coordinates.data());
    }
  MPI_Allreduce(MPI_IN_PLACE, &squared, 1, MPI_DOUBLE, MPI_SUM, domain.comm);
  return std::sqrt(squared);
}
