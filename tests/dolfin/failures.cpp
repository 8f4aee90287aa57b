// SPDX-License-Identifier: MIT OR Apache-2.0
// Each failure of dijitso_ffc.hpp and dijitso_dolfin.hpp: all ranks get the same error, which says what to mend, and the next
// call on the communicator works.
#include <dijitso_dolfin.hpp>

#include <dolfin.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>

namespace
{

const MPI_Comm comm = MPI_COMM_WORLD;
int failures = 0;

// Counts and prints what is not so on this rank.
void check(bool good, const std::string& what)
{
  if (good)
    return;
  ++failures;
  std::fprintf(stderr, "rank %u: %s\n", dolfin::MPI::rank(comm), what.c_str());
}

// Checks that the call throws an error of this status whose text has `part`, and the same on all ranks. Collective.
void expect(dijitso_status status, const std::string& part, const std::function<void()>& call)
{
  std::string message = "no error";
  try
  {
    call();
  }
  catch (const dijitso::error& error)
  {
    message = std::to_string(error.status()) + " " + error.what() + "\nlog: " + error.log();
  }
  catch (const std::exception& error)
  {
    message = std::string("not an error of dijitso: ") + error.what();
  }
  const std::string beginning = std::to_string(status) + " ";
  check(message.compare(0, beginning.size(), beginning) == 0 && message.find(part) != std::string::npos,
        "expected status " + beginning + "and \"" + part + "\", got: " + message);
  std::vector<std::string> all;
  dolfin::MPI::all_gather(comm, message, all);
  for (const std::string& other : all)
    check(other == message, "ranks differ: \"" + message + "\" and \"" + other + "\"");
}

// Returns how many libraries the ranks have begun to compile. Collective.
std::uint64_t builds()
{
  std::uint64_t begun = 0;
  dijitso_progress(&begun, nullptr);
  return dolfin::MPI::sum(comm, begun);
}

const std::string elements = "V = FiniteElement('P', triangle, 1)\nu, v = TrialFunction(V), TestFunction(V)\n"
                             "f, g = Coefficient(V), Coefficient(V)\n";
const std::string good = elements + "a = g*u*v*dx\nL = f*v*dx\n";

void ffc_failures()
{
  using dijitso::ffc::compile;
  const bool last = dolfin::MPI::rank(comm) + 1 == dolfin::MPI::size(comm);
  expect(DIJITSO_ERROR_GENERATE, "File \"form.ufl\", line 4, in <module>\n    a = innr(u, v)*dx\n        ^^^^\nNameError: name 'innr'",
         [] { compile(elements + "a = innr(u, v)*dx\n", comm); });
  expect(DIJITSO_ERROR_GENERATE, "defines no form", [] { compile("x = 1\n", comm); });
  expect(DIJITSO_ERROR_GENERATE, "ended by signal 9", [] { compile("import os\nos.kill(os.getpid(), 9)\n", comm); });
  expect(DIJITSO_ERROR_GENERATE, "did not end within its time limit", [] {
    dijitso::ffc::options options;
    options.time_limit = std::chrono::milliseconds(200);
    compile("import time\ntime.sleep(60)\n", comm, options);
  });
  expect(DIJITSO_ERROR_GENERATE, "cannot run /no/python3", [] {
    dijitso::ffc::options options;
    options.python = "/no/python3";
    compile(good + "# another text\n", comm, options);
  });
  expect(DIJITSO_ERROR_GENERATE, "FFC has no parameter optimise", [] {
    dijitso::ffc::options options;
    options.parameters = {{"optimise", "True"}};
    compile(good, comm, options);
  });
  // One rank cannot read the file.
  const dijitso::host::temporary_directory directory;
  dijitso::host::write_file(directory / "good.py", good);
  expect(DIJITSO_ERROR_GENERATE, "cannot read /no/file.py",
         [&] { dijitso::ffc::compile_file(last ? std::filesystem::path("/no/file.py") : directory / "good.py", comm); });
  // One rank has another text.
  if (dolfin::MPI::size(comm) > 1)
    expect(DIJITSO_ERROR_RANKS_DISAGREE, "ffc", [&] { compile(last ? good + "# mine\n" : good, comm); });
}

void forms()
{
  using dijitso::dolfin::compile;
  const std::uint64_t before = builds();
  const auto module = compile(good, comm);
  // Two forms, the element, the element of coordinates, the coordinate mapping, and the table of all.
  check(builds() - before == 6, std::to_string(builds() - before) + " builds, not 6");
  const auto other = compile(good + "# only the table is another\n", comm);
  check(builds() - before == 7, "texts with the same forms share no libraries");
  check(module.library().signature() != other.library().signature(), "the signature does not cover the text");
  check(module.forms() == std::vector<std::string>{"a", "L"}, "not the forms a, L");
  check(module.elements() == std::vector<std::string>{"V"}, "not the element V");
  check(module.coefficients("a") == std::vector<std::string>{"g"}, "not the coefficient g");
  dijitso::ffc::options options;
  options.parameters = {{"quadrature_degree", "4"}};
  const std::string small = "V = FiniteElement('P', triangle, 1)\n";
  check(compile(small, comm, options).library().signature() != compile(small, comm).library().signature(),
        "the signature does not cover the parameters of FFC");
  options = {};
  options.version += ".1"; // part of the signature, so FFC runs
  expect(DIJITSO_ERROR_GENERATE, "and the program was built for FFC " + options.version,
         [&] { compile(small, comm, options); });
  options = {};
  options.cancelled = [] { return dolfin::MPI::rank(comm) == 0; };
  expect(DIJITSO_ERROR_CANCELLED, "", [&] { compile("import time\ntime.sleep(61)\n", comm, options); });

  std::shared_ptr<const ufc::form> alone = compile(good, comm).form("a");
  check(alone->rank() == 2, "a form has not outlived its module");

  const auto mesh = std::make_shared<dolfin::UnitSquareMesh>(comm, 4, 4);
  const auto V = dijitso::dolfin::function_space(module, "V", mesh);
  check(V->dim() == 25 && dijitso::dolfin::function_space(module, "a", 1, mesh)->dim() == 25, "not 25 degrees of freedom");
  const auto two = std::make_shared<dolfin::Constant>(2.0);
  const auto a = dijitso::dolfin::form(module, "a", {V, V}, {{"g", two}, {"f", two}});
  a->set_coefficient("g", std::make_shared<dolfin::Constant>(3.0));
  dolfin::PETScMatrix A;
  dolfin::assemble(A, *a);
  dolfin::PETScVector one(comm), row(comm);
  A.init_vector(one, 1);
  one = 1.0;
  A.mult(one, row);
  check(std::abs(row.sum() - 3) < 1e-12, "the integral of 3 over the unit square is " + std::to_string(row.sum()));

  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "no form b, only: a, L", [&] { module.form("b"); });
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "no element W, only: V", [&] { module.element("W"); });
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "needs 2 function spaces", [&] { dijitso::dolfin::form(module, "a", {V}); });
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "needs a coefficient f",
         [&] { dijitso::dolfin::form(module, "L", {V}, {{"g", two}}); });
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "has no argument 3",
         [&] { dijitso::dolfin::function_space(module, "a", 3, mesh); });
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "no coefficient h", [&] { a->set_coefficient("h", two); });
}

void expressions()
{
  using dijitso::dolfin::expression;
  expect(DIJITSO_ERROR_COMPILE, "component 1:1:5: error: 'sni' was not declared",
         [] { expression({"x[0]", "2 + sni(x[0])"}, {}, comm); });
  expect(DIJITSO_ERROR_COMPILE, "component 0:", [] { expression({"2*(x[0] + 1"}, {}, comm); });
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "of 4 components cannot have 2 strings",
         [] { expression({"0", "1"}, {}, comm, std::vector<std::size_t>{2, 2}); });
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "cannot have the name \"x\"", [] { expression({"0"}, {{"x", 1}}, comm); });

  const std::uint64_t before = builds();
  const auto f = expression({"t*sin(x[0])", "near(x[1], 2) ? k : -k"}, {{"t", 0.5}, {"k", 4}}, comm);
  const auto other = expression({"t*sin(x[0])", "near(x[1], 2) ? k : -k"}, {{"t", 7}, {"k", 8}}, comm);
  check(builds() - before == 1, "another value was compiled");
  check(f->value_rank() == 1 && f->value_dimension(0) == 2, "not a vector of two components");
  Eigen::VectorXd values(2), x(2);
  x << 1, 2;
  f->eval(values, x);
  check(values[0] == 0.5 * std::sin(1.0) && values[1] == 4, "wrong values");
  f->set_property("t", 2);
  f->eval(values, x);
  check(values[0] == 2 * std::sin(1.0) && f->get_property("t") == 2 && other->get_property("t") == 7, "wrong after a change");
  check(expression({"pi"}, {}, comm)->value_rank() == 0, "one component is no scalar");
  check(expression({"1", "2", "3", "4"}, {}, comm, std::vector<std::size_t>{2, 2})->value_rank() == 2, "not a tensor");
  expect(DIJITSO_ERROR_INVALID_ARGUMENT, "no constant s", [&] { f->set_property("s", 1); });
}

} // namespace

int main()
{
  dolfin::SubSystemsManager::init_mpi();
  dolfin::set_log_level(dolfin::WARNING);
  ffc_failures();
  forms();
  expressions();
  const int all = dolfin::MPI::sum(comm, failures);
  if (dolfin::MPI::rank(comm) == 0)
    std::printf("%d failures\n", all);
  return all == 0 ? 0 : 1;
}
