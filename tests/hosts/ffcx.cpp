// SPDX-License-Identifier: MIT OR Apache-2.0
// dijitso_ffcx.hpp if its generator is missing, fails, or is another: the same error on every rank.
//
// usage: ffcx [cold|warm]
#include <dijitso_ffcx.hpp>

#include <cstdio>
#include <cstring>

namespace
{

constexpr const char* ufl = R"(
V = FiniteElement("Lagrange", triangle, 1)
u, v = TrialFunction(V), TestFunction(V)
mass = u*v*dx
forms = [mass]
)";

template <class Step>
std::string failure_of(Step step)
{
  try
  {
    step();
  }
  catch (const dijitso::error& error)
  {
    return error.what();
  }
  return "nothing failed";
}

bool contains(const std::string& text, const std::string& part)
{
  if (text.find(part) == std::string::npos)
    std::fprintf(stderr, "this message lacks \"%s\":\n%s\n", part.c_str(), text.c_str());
  return text.find(part) != std::string::npos;
}

bool works(MPI_Comm comm)
{
  namespace ffcx = dijitso::ffcx;
  dijitso::ffcx::options missing;
  missing.python = "no-such-python";
  missing.name = "missing";
  dijitso::ffcx::options quick;
  quick.time_limit = std::chrono::milliseconds(1);
  quick.name = "quick";
  bool good = contains(failure_of([&] { ffcx::compile(ufl, comm, missing); }), "cannot run no-such-python");
  good = contains(failure_of([&] { ffcx::compile(ufl, comm, quick); }), "did not end within its time limit") && good;
  good = contains(failure_of([&] { ffcx::compile("a = dx*", comm); }), "SyntaxError") && good;
  good = contains(failure_of([&] { ffcx::compile_file("/no/such/file.py", comm); }), "cannot read /no/such/file.py") && good;

  const ffcx::module module = ffcx::compile(ufl, comm);
  good = module.form("mass").rank == 2 && good;
  good = contains(failure_of([&] { module.form("mas"); }), "has no symbol") && good;
  // Options are part of the signature.
  dijitso::ffcx::options other;
  other.arguments = {"--sum_factorization"};
  good = failure_of([&] {
           if (ffcx::compile(ufl, comm, other).library().signature() == module.library().signature())
             throw dijitso::error(DIJITSO_ERROR_INTERNAL, "two signatures are the same");
         }) != "two signatures are the same" && good;
  return good;
}

// With a cache in which it is, a form needs no form compiler.
bool works_without_generator(MPI_Comm comm)
{
  dijitso::ffcx::options missing;
  missing.python = "no-such-python";
  return dijitso::ffcx::compile(ufl, comm, missing).form("mass").rank == 2;
}

} // namespace

int main(int argc, char** argv)
{
  MPI_Init(&argc, &argv);
  const bool good = argc > 1 && std::strcmp(argv[1], "warm") == 0 ? works_without_generator(MPI_COMM_WORLD) : works(MPI_COMM_WORLD);
  MPI_Finalize();
  return good ? 0 : 1;
}
