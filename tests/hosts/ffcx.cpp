// SPDX-License-Identifier: MIT OR Apache-2.0
// dijitso_ffcx.hpp: FFCx runs once for all ranks, and not again if the library is in a cache; whatever fails, all ranks get the
// same error.
//
// usage: ffcx WORK cold|warm|errors
#include "check.hpp"

#include <dijitso_ffcx.hpp>

#include <cmath>

using namespace std::chrono_literals;
using namespace dijitso::host;
namespace ffcx = dijitso::ffcx;
namespace fs = std::filesystem;

namespace
{

// For all versions of FFCx.
const std::string beginning = R"(
import numpy
try:
    import basix.ufl
    element, vector = basix.ufl.element("P", "triangle", 1), basix.ufl.element("P", "triangle", 1, shape=(2,))
    V = FunctionSpace(Mesh(vector), element)
    domain = V.ufl_domain()
except ImportError:
    V, domain = FiniteElement("P", triangle, 1), triangle
)";
const std::string ufl = beginning + R"(
u, v, k, x = TrialFunction(V), TestFunction(V), Constant(domain), SpatialCoordinate(domain)
a = inner(grad(u), grad(v))*dx
L = k*v*dx
source = 2*k*x[0]
expressions = [(source, numpy.array([[1/3, 1/3], [1, 0]]))]
)";

struct setup
{
  std::string work;
  dijitso::params params() const
  {
    return dijitso::params{{"cache.cache_dir", work + "/cache"}, {"build.cflags", "-O0 -shared -fPIC"}};
  }

  // Returns options with a Python that counts its runs, and does `first` before each.
  ffcx::options options(const std::string& name, const std::string& first = "") const
  {
    ffcx::options chosen;
    if (check::rank() == 0)
    {
      write_file(work + "/" + name, "#!/bin/sh\necho run >> '" + work + "/runs'\n" + first + "\nexec '" + chosen.python + "' \"$@\"\n");
      fs::permissions(work + "/" + name, fs::perms::owner_all);
    }
    check::sum(0);
    chosen.python = work + "/" + name;
    return chosen;
  }

  int runs() const
  {
    check::sum(0);
    std::ifstream stream(work + "/runs");
    int count = 0;
    for (std::string line; std::getline(stream, line);)
      ++count;
    check::sum(0);
    return count;
  }
};

void results(const ffcx::module& module)
{
  CHECK(module.form("a").rank == 2 && module.form("L").rank == 1);
  CHECK(module.form("L").num_constants == 1);
  const ufcx_expression& source = module.expression("source");
  const double constants[] = {3}, points[] = {0, 0, 0, 6, 0, 0, 0, 1, 0}; // a triangle in three dimensions
  double values[2] = {0, 0};
  const int entity = 0;
#if UFCX_VERSION_MAJOR > 0 || UFCX_VERSION_MINOR >= 10
  source.tabulate_tensor_float64(values, nullptr, constants, points, &entity, nullptr, nullptr);
#else
  source.tabulate_tensor_float64(values, nullptr, constants, points, &entity, nullptr);
#endif
  CHECK(std::abs(values[0] - 2 * 3 * 2) < 1e-12 && std::abs(values[1] - 2 * 3 * 6) < 1e-12);
  const auto unknown = check::error_of(HERE, [&] { module.form("none"); });
  CHECK(unknown && unknown->status() == DIJITSO_ERROR_SYMBOL);
}

void cold(const setup& here)
{
  // FFCx runs in a private directory, so that files beside the program are not taken for modules of Python.
  if (check::rank() == 0)
  {
    fs::create_directory(here.work + "/beside");
    write_file(here.work + "/beside/numpy.py", "raise RuntimeError('the wrong numpy')\n");
    write_file(here.work + "/form.py", ufl);
  }
  check::sum(0);
  fs::current_path(here.work + "/beside");
  const ffcx::options options = here.options("python");

  check::context = "cold";
  const ffcx::module module = ffcx::compile(ufl, check::comm, options, here.params());
  results(module);
  CHECK(here.runs() == 1);

  check::context = "in memory";
  const ffcx::module again = ffcx::compile(ufl, check::comm, options, here.params());
  CHECK(again.library().origin() == dijitso::origin::memory && &again.form("a") == &module.form("a"));
  const ffcx::module file = ffcx::compile_file(here.work + "/form.py", check::comm, options, here.params());
  CHECK(&file.form("a") == &module.form("a"));
  CHECK(here.runs() == 1);

  check::context = "another text";
  const ffcx::module other = ffcx::compile(ufl + "M = k*dx\n", check::comm, options, here.params());
  CHECK(other.form("M").rank == 0 && other.library().signature() != module.library().signature());
  CHECK(here.runs() == 2);

  check::context = "other arguments";
  ffcx::options arguments = options;
  arguments.arguments = {"--table_rtol", "1e-8"};
  const ffcx::module summed = ffcx::compile(ufl, check::comm, arguments, here.params());
  CHECK(summed.form("a").rank == 2 && summed.library().signature() != module.library().signature());
  CHECK(here.runs() == 3);
}

void warm(const setup& here)
{
  check::context = "warm";
  ffcx::options options = here.options("python");
  const ffcx::module module = ffcx::compile(ufl, check::comm, options, here.params());
  results(module);
  CHECK(here.runs() == 3);
  // The generator is not needed.
  options.python = "/no/such/python";
  const ffcx::module other = ffcx::compile(ufl + "M = k*dx\n", check::comm, options, here.params());
  CHECK(other.form("M").rank == 0);
  CHECK(here.runs() == 3);
}

void errors(const setup& here)
{
  const std::string fresh = ufl + "# in no cache\n";
  ffcx::options options = here.options("python");
  const auto compile = [&](const std::string& text) { return [&, text] { ffcx::compile(text, check::comm, options, here.params()); }; };

  check::context = "typo";
  CHECK_ALL_FAIL(-1, compile(beginning + "a = innr(TrialFunction(V), TestFunction(V))*dx\n"),
                 options.python + " ended with exit code 1:\n", "Traceback", "name 'innr' is not defined");
  CHECK_ALL_FAIL(-1, compile("a = (\n"), options.python + " ended with exit code 1:\n", "SyntaxError");

  check::context = "missing";
  options.python = "/no/such/python";
  CHECK_ALL_FAIL(-1, compile(fresh), "cannot run /no/such/python: No such file or directory");
  options = here.options("without_ffcx", "exec '" DIJITSO_FFCX_PYTHON "' -S -m ffcx");
  CHECK_ALL_FAIL(-1, compile(fresh), options.python + " ended with exit code 1:\n", "No module named ffcx");

  check::context = "time limit";
  options = here.options("slow", "echo begun; sleep 60");
  options.time_limit = 500ms;
  CHECK_ALL_FAIL(-1, compile(fresh), options.python + " did not end within its time limit:\nbegun");

  check::context = "cancelled";
  options.time_limit = 60s;
  options.cancelled = [] { return true; };
  const auto cancelled = check::error_of(HERE, compile(fresh));
  CHECK(cancelled && (cancelled->status() == DIJITSO_ERROR_CANCELLED || cancelled->status() == DIJITSO_ERROR_GENERATE));
  check::same(HERE, cancelled ? cancelled->what() : "");

  check::context = "another version";
  options = here.options("python");
  options.version = "0.0.42";
  CHECK_ALL_FAIL(-1, compile(fresh), options.python + " has another FFCx than 0.0.42");

  check::context = "a file that one rank cannot read";
  options = here.options("python");
  if (check::rank() == 0)
    write_file(here.work + "/typo.py", "a = innr\n");
  check::sum(0);
  const int last = check::size() - 1;
  const std::string path = here.work + (check::rank() == last ? "/none.py" : "/typo.py");
  CHECK_ALL_FAIL(last, [&] { ffcx::compile_file(path, check::comm, options, here.params()); },
                 "cannot read " + here.work + "/none.py: No such file or directory");

  check::context = "the next call";
  results(ffcx::compile(fresh, check::comm, options, here.params()));
}

} // namespace

int main(int argc, char** argv)
{
  check::start(&argc, &argv);
  const setup here{argv[1]};
  const std::string phase = argv[2];
  if (phase == "cold")
    cold(here);
  else if (phase == "warm")
    warm(here);
  else
    errors(here);
  return check::finish();
}
