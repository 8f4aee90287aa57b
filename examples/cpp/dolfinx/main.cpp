// SPDX-License-Identifier: MIT OR Apache-2.0
// Poisson's equation with DOLFINx 0.5: forms and an expression come from the command line as UFL, and are compiled while the
// program runs, on all ranks together.
#include <dijitso_dolfinx.hpp>

#include <dolfinx.h>
#include <dolfinx/fem/petsc.h>
#include <dolfinx/la/petsc.h>

using namespace dolfinx;
using T = PetscScalar;

namespace
{

constexpr const char* poisson = R"(
import numpy as np
V = FiniteElement("Lagrange", triangle, 1)
mesh = VectorElement("Lagrange", triangle, 1)
u, v, f, w = TrialFunction(V), TestFunction(V), Coefficient(V), Coefficient(V)
k = Constant(triangle)
x = SpatialCoordinate(triangle)
exact = sin(pi*x[0])*sin(pi*x[1])
a = k*inner(grad(u), grad(v))*dx
L = 2*pi**2*k*exact*v*dx(metadata={"quadrature_degree": 4})
M = (w - exact)**2*dx(metadata={"quadrature_degree": 6})
flux = -k*grad(w)
expressions = [(flux, np.array([[1/3, 1/3]]))]
)";

void solve(const std::string& ufl, MPI_Comm comm)
{
  const auto mesh = std::make_shared<mesh::Mesh>(
      mesh::create_rectangle(comm, {{{0, 0}, {1, 1}}}, {32, 32}, mesh::CellType::triangle, mesh::GhostMode::none));
  const auto module = dijitso::dolfinx::compile(ufl, comm);
  const auto V = dijitso::dolfinx::function_space(module, "a", "u", mesh);
  const auto k = std::make_shared<fem::Constant<T>>(1.0);
  const auto w = std::make_shared<fem::Function<T>>(V);
  const auto a = dijitso::dolfinx::form<T>(module, "a", {V, V}, {}, {{"k", k}});
  const auto L = dijitso::dolfinx::form<T>(module, "L", {V}, {}, {{"k", k}});
  const auto M = dijitso::dolfinx::form<T>(module, "M", {}, {{"w", w}}, {}, {}, mesh);
  const auto flux = dijitso::dolfinx::expression<T>(module, "flux", {{"w", w}}, {{"k", k}}, mesh);

  mesh->topology_mutable().create_connectivity(1, 2);
  const auto facets = mesh::exterior_facet_indices(mesh->topology());
  const auto bc = std::make_shared<const fem::DirichletBC<T>>(
      T(0), fem::locate_dofs_topological({*V}, 1, facets), V);
  la::petsc::Matrix A(fem::petsc::create_matrix(*a), false);
  la::Vector<T> b(V->dofmap()->index_map, V->dofmap()->index_map_bs());
  fem::assemble_matrix(la::petsc::Matrix::set_block_fn(A.mat(), ADD_VALUES), *a, {bc});
  MatAssemblyBegin(A.mat(), MAT_FLUSH_ASSEMBLY);
  MatAssemblyEnd(A.mat(), MAT_FLUSH_ASSEMBLY);
  fem::set_diagonal<T>(la::petsc::Matrix::set_fn(A.mat(), INSERT_VALUES), *V, {bc});
  MatAssemblyBegin(A.mat(), MAT_FINAL_ASSEMBLY);
  MatAssemblyEnd(A.mat(), MAT_FINAL_ASSEMBLY);
  fem::assemble_vector(b.mutable_array(), *L);
  b.scatter_rev(std::plus<T>());
  fem::set_bc(b.mutable_array(), {bc});
  la::petsc::KrylovSolver solver(comm);
  la::petsc::options::set("ksp_rtol", 1e-12);
  solver.set_from_options();
  solver.set_operator(A.mat());
  la::petsc::Vector x(la::petsc::create_vector_wrap(*w->x()), false), y(la::petsc::create_vector_wrap(b), false);
  solver.solve(x.vec(), y.vec());
  w->x()->scatter_fwd();

  std::vector<std::int32_t> cells(mesh->topology().index_map(2)->size_local());
  std::iota(cells.begin(), cells.end(), 0);
  std::vector<T> values(2 * cells.size());
  const auto value_at = [&](std::size_t cell, std::size_t component) -> T& { return values[2 * cell + component]; };
  flux->eval(cells, value_at);
  double mine[2] = {fem::assemble_scalar(*M), 0}, all[2];
  for (const T value : values)
    mine[1] += value * value / (2 * 32 * 32);
  std::uint64_t begun = 0, builds = 0;
  dijitso_progress(&begun, nullptr);
  MPI_Reduce(&begun, &builds, 1, MPI_UINT64_T, MPI_SUM, 0, comm);
  MPI_Reduce(mine, all, 2, MPI_DOUBLE, MPI_SUM, 0, comm);
  if (dolfinx::MPI::rank(comm) == 0)
    std::printf("ranks: %d, builds: %d, error in L2: %.5e, flux: %.5f\n", dolfinx::MPI::size(comm), static_cast<int>(builds),
                std::sqrt(all[0]), std::sqrt(all[1]));
}

} // namespace

int main(int argc, char** argv)
{
  dolfinx::init_logging(argc, argv);
  PetscInitialize(&argc, &argv, nullptr, nullptr);
  int rank = 0, failed = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  try
  {
    solve(argc > 1 ? argv[1] : poisson, MPI_COMM_WORLD);
  }
  catch (const dijitso::error& error) // on every rank
  {
    failed = 1;
    if (rank == 0)
      std::fprintf(stderr, "poisson_dolfinx: %s\n", error.what());
  }
  PetscFinalize();
  return failed;
}
