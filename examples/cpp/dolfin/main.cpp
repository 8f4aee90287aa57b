// SPDX-License-Identifier: MIT OR Apache-2.0
// Poisson's equation with DOLFIN 2019: the forms come as UFL, the right-hand side as a string of C++, both from the command line
// if they are given. They are compiled while the program runs, on all ranks together.
#include <dijitso_dolfin.hpp>

#include <dolfin.h>

const char* const poisson = R"(
V, W = FiniteElement("P", triangle, 1), FiniteElement("P", triangle, 3)
u, v, w = TrialFunction(V), TestFunction(V), Coefficient(V)
f, exact = Coefficient(W), Coefficient(W)
a = inner(grad(u), grad(v))*dx
L = f*v*dx
M = (w - exact)**2*dx
)";

struct boundary : dolfin::SubDomain
{
  bool inside(const dolfin::Array<double>&, bool on_boundary) const override { return on_boundary; }
};

void solve(const std::string& ufl, const std::string& source, MPI_Comm comm)
{
  const auto mesh = std::make_shared<dolfin::UnitSquareMesh>(comm, 32, 32);
  const auto module = dijitso::dolfin::compile(ufl, comm);
  const auto V = dijitso::dolfin::function_space(module, "V", mesh);
  const auto f = dijitso::dolfin::expression({source}, {{"k", 0}}, comm);
  const auto exact = dijitso::dolfin::expression({"sin(pi*x[0])*sin(pi*x[1])"}, {}, comm);
  f->set_property("k", DOLFIN_PI); // compiles nothing

  const auto w = std::make_shared<dolfin::Function>(V);
  const auto a = dijitso::dolfin::form(module, "a", {V, V});
  const auto L = dijitso::dolfin::form(module, "L", {V}, {{"f", f}});
  const auto M = dijitso::dolfin::form(module, "M", {}, {{"w", w}, {"exact", exact}}, mesh);
  dolfin::solve(*a == *L, *w, {V, std::make_shared<dolfin::Constant>(0.0), std::make_shared<boundary>()});
  const double error = std::sqrt(dolfin::assemble(*M));

  std::uint64_t begun = 0;
  dijitso_progress(&begun, nullptr);
  const auto builds = dolfin::MPI::sum(comm, begun);
  if (dolfin::MPI::rank(comm) == 0)
    std::printf("ranks: %u, builds: %d, error in L2: %.6e\n", dolfin::MPI::size(comm), static_cast<int>(builds), error);
}

int main(int argc, char** argv)
{
  dolfin::SubSystemsManager::init_mpi();
  dolfin::set_log_level(dolfin::WARNING);
  try
  {
    solve(argc > 1 ? argv[1] : poisson, argc > 2 ? argv[2] : "2*k*k*sin(k*x[0])*sin(k*x[1])", MPI_COMM_WORLD);
  }
  catch (const dijitso::error& error) // the same on every rank
  {
    if (dolfin::MPI::rank(MPI_COMM_WORLD) == 0)
      std::fprintf(stderr, "poisson_dolfin: %s\n", error.what());
    return 1;
  }
}
