// SPDX-License-Identifier: MIT OR Apache-2.0
// Poisson's equation with DOLFIN 2019: the forms come from the command line as UFL, the right-hand side as a string of C++. Both
// are compiled while the program runs, on all ranks together.
#include <dijitso_dolfin.hpp>

#include <dolfin.h>

namespace
{

constexpr const char* poisson = R"(
V, W = FiniteElement("P", triangle, 1), FiniteElement("P", triangle, 3)
u, v, w = TrialFunction(V), TestFunction(V), Coefficient(V)
f, exact = Coefficient(W), Coefficient(W)
a = inner(grad(u), grad(v))*dx
L = f*v*dx
M = (w - exact)**2*dx
)";

class Boundary : public dolfin::SubDomain
{
  bool inside(const dolfin::Array<double>&, bool on_boundary) const override { return on_boundary; }
};

void solve(const std::string& ufl)
{
  const auto mesh = std::make_shared<dolfin::UnitSquareMesh>(MPI_COMM_WORLD, 32, 32);
  const MPI_Comm comm = mesh->mpi_comm();

  const auto module = dijitso::dolfin::compile(ufl, comm);
  const auto V = dijitso::dolfin::function_space(module, "a", 0, mesh);
  const auto f = dijitso::dolfin::expression({"2*k*k*sin(k*x[0])*sin(k*x[1])"}, {{"k", DOLFIN_PI}}, comm);
  const auto exact = dijitso::dolfin::expression({"sin(k*x[0])*sin(k*x[1])"}, {{"k", DOLFIN_PI}}, comm);
  const auto a = dijitso::dolfin::form(module, "a", {V, V});
  const auto L = dijitso::dolfin::form(module, "L", {V}, {{"f", f}});
  const auto w = std::make_shared<dolfin::Function>(V);
  const auto M = dijitso::dolfin::form(module, "M", {}, {{"w", w}, {"exact", exact}}, mesh);

  const dolfin::DirichletBC bc(V, std::make_shared<dolfin::Constant>(0.0), std::make_shared<Boundary>());
  dolfin::solve(*a == *L, *w, bc);
  const double error = std::sqrt(dolfin::assemble(*M));

  std::uint64_t begun = 0, builds = 0;
  dijitso_progress(&begun, nullptr);
  MPI_Reduce(&begun, &builds, 1, MPI_UINT64_T, MPI_SUM, 0, comm);
  if (dolfin::MPI::rank(comm) == 0)
    std::printf("ranks: %u, builds: %d, error in L2: %.6e\n", dolfin::MPI::size(comm), static_cast<int>(builds), error);
}

} // namespace

int main(int argc, char** argv)
{
  dolfin::SubSystemsManager::init_mpi();
  dolfin::set_log_level(dolfin::WARNING);
  try
  {
    solve(argc > 1 ? argv[1] : poisson);
  }
  catch (const dijitso::error& error) // on every rank
  {
    if (dolfin::MPI::rank(MPI_COMM_WORLD) == 0)
      std::fprintf(stderr, "poisson_dolfin: %s\n", error.what());
    return 1;
  }
}
