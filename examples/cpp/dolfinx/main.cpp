// SPDX-License-Identifier: MIT OR Apache-2.0
// Poisson's equation with DOLFINx 0.5: forms and the right-hand side come from the command line as UFL, and are compiled while
// the program runs, on all ranks together.
#include <dijitso_dolfinx.hpp>

#include <dolfinx.h>
#include <dolfinx/fem/petsc.h>
#include <dolfinx/la/petsc.h>

using namespace dolfinx;
using T = PetscScalar;

constexpr const char* poisson = R"(
import numpy as np
V = FiniteElement("Lagrange", triangle, 1)
u, v, f, w = TrialFunction(V), TestFunction(V), Coefficient(V), Coefficient(V)
k, x = Constant(triangle), SpatialCoordinate(triangle)
exact = sin(k*x[0])*sin(k*x[1])
a = inner(grad(u), grad(v))*dx
L = f*v*dx
M = (w - exact)**2*dx(metadata={"quadrature_degree": 6})
source = 2*k**2*sin(k*x[0])*sin(k*x[1])
expressions = [(source, np.array([[0, 0], [1, 0], [0, 1]]))] # at the points of V
)";

void solve(const std::string& ufl, MPI_Comm comm)
{
  const auto mesh = std::make_shared<mesh::Mesh>(
      mesh::create_rectangle(comm, {{{0, 0}, {1, 1}}}, {32, 32}, mesh::CellType::triangle, mesh::GhostMode::none));
  const auto module = dijitso::dolfinx::compile(ufl, comm);
  const auto V = dijitso::dolfinx::function_space(module, "a", "u", mesh);
  const auto k = std::make_shared<fem::Constant<T>>(M_PI);
  const auto f = std::make_shared<fem::Function<T>>(V), w = std::make_shared<fem::Function<T>>(V);
  f->interpolate(*dijitso::dolfinx::expression<T>(module, "source", {}, {{"k", k}}, mesh));
  const auto a = dijitso::dolfinx::form<T>(module, "a", {V, V});
  const auto L = dijitso::dolfinx::form<T>(module, "L", {V}, {{"f", f}});
  const auto M = dijitso::dolfinx::form<T>(module, "M", {}, {{"w", w}}, {{"k", k}}, {}, mesh);

  mesh->topology_mutable().create_connectivity(1, 2);
  const auto boundary = fem::locate_dofs_topological({*V}, 1, mesh::exterior_facet_indices(mesh->topology()));
  const std::vector bcs = {std::make_shared<const fem::DirichletBC<T>>(T(0), boundary, V)};
  la::petsc::Matrix A(fem::petsc::create_matrix(*a), false);
  la::Vector<T> b(V->dofmap()->index_map, 1);
  fem::assemble_matrix(la::petsc::Matrix::set_block_fn(A.mat(), ADD_VALUES), *a, bcs);
  MatAssemblyBegin(A.mat(), MAT_FLUSH_ASSEMBLY);
  MatAssemblyEnd(A.mat(), MAT_FLUSH_ASSEMBLY);
  fem::set_diagonal<T>(la::petsc::Matrix::set_fn(A.mat(), INSERT_VALUES), *V, bcs);
  MatAssemblyBegin(A.mat(), MAT_FINAL_ASSEMBLY);
  MatAssemblyEnd(A.mat(), MAT_FINAL_ASSEMBLY);
  fem::assemble_vector(b.mutable_array(), *L);
  b.scatter_rev(std::plus<T>());
  fem::set_bc(b.mutable_array(), bcs);
  la::petsc::KrylovSolver solver(comm);
  solver.set_operator(A.mat());
  la::petsc::Vector x(la::petsc::create_vector_wrap(*w->x()), false), y(la::petsc::create_vector_wrap(b), false);
  solver.solve(x.vec(), y.vec());
  w->x()->scatter_fwd();

  std::uint64_t builds = 0;
  dijitso_progress(&builds, nullptr);
  double mine[2] = {fem::assemble_scalar(*M), static_cast<double>(builds)}, all[2];
  MPI_Reduce(mine, all, 2, MPI_DOUBLE, MPI_SUM, 0, comm);
  if (dolfinx::MPI::rank(comm) == 0)
    std::printf("ranks: %d, builds: %g, error in L2: %.3e\n", dolfinx::MPI::size(comm), all[1], std::sqrt(all[0]));
}

int main(int argc, char** argv)
{
  PetscInitialize(&argc, &argv, nullptr, nullptr);
  dolfinx::init_logging(argc, argv);
  int failed = 0;
  try
  {
    solve(argc > 1 ? argv[1] : poisson, MPI_COMM_WORLD);
  }
  catch (const dijitso::error& error) // on every rank
  {
    failed = 1;
    if (dolfinx::MPI::rank(MPI_COMM_WORLD) == 0)
      std::fprintf(stderr, "poisson_dolfinx: %s\n", error.what());
  }
  PetscFinalize();
  return failed;
}
