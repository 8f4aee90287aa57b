// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel.hpp"

#include <string>

namespace
{

// Raise it whenever the text below changes: the signature must differ when the code does.
constexpr int template_version = 1;

constexpr const char* prelude = R"(#include <cmath>

using std::sin;
using std::cos;
using std::tan;
using std::exp;
using std::log;
using std::sqrt;
using std::sinh;
using std::cosh;
using std::tanh;
using std::atan;
using std::pow;

namespace
{
const double pi = 3.14159265358979323846;

)";

constexpr const char* element = R"(
// Barycentric coordinates and weight of six points; exact for polynomials of degree 4. The weights add up to 1.
const double a = 0.445948490915964886, wa = 0.223381589678011466;
const double b = 0.0915762135097707434, wb = 0.109951743655321868;
const double rule[6][4] = {{1 - 2*a, a, a, wa}, {a, 1 - 2*a, a, wa}, {a, a, 1 - 2*a, wa},
                           {1 - 2*b, b, b, wb}, {b, 1 - 2*b, b, wb}, {b, b, 1 - 2*b, wb}};

double area(const double* c)
{
  return 0.5*((c[2] - c[0])*(c[5] - c[1]) - (c[4] - c[0])*(c[3] - c[1]));
}

// The quadrature of g(x, y, barycentric coordinates) over the triangle, divided by its area.
template <class Integrand>
double mean(const double* c, Integrand g)
{
  double sum = 0;
  for (const double* q : rule)
    sum += q[3]*g(q[0]*c[0] + q[1]*c[2] + q[2]*c[4], q[0]*c[1] + q[1]*c[3] + q[2]*c[5], q);
  return sum;
}
}

extern "C" void tabulate_stiffness(double* A, const double* c)
{
  // Gradients of the basis functions, times twice the area.
  const double g[3][2] = {{c[3] - c[5], c[4] - c[2]}, {c[5] - c[1], c[0] - c[4]}, {c[1] - c[3], c[2] - c[0]}};
  const double scale = mean(c, [](double x, double y, const double*) { return kappa(x, y); })/(4*area(c));
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      A[3*i + j] = scale*(g[i][0]*g[j][0] + g[i][1]*g[j][1]);
}

extern "C" void tabulate_load(double* b, const double* c)
{
  for (int i = 0; i < 3; ++i)
    b[i] = area(c)*mean(c, [i](double x, double y, const double* phi) { return source(x, y)*phi[i]; });
}

extern "C" double tabulate_squared_error(const double* u, const double* c)
{
  return area(c)*mean(c, [u](double x, double y, const double* phi) {
    const double error = u[0]*phi[0] + u[1]*phi[1] + u[2]*phi[2] - exact(x, y);
    return error*error;
  });
}

extern "C" double exact_solution(double x, double y) { return exact(x, y); }
)";

std::string function(const std::string& name, const expression& value)
{
  return "double " + name + "(double x, double y) { return " + to_code(value) + "; }\n";
}

std::string generate_code(const problem& wanted)
{
  return prelude + function("kappa", wanted.kappa) + function("source", wanted.source) + function("exact", wanted.exact) +
         element;
}

} // namespace

// Needs no escapes: to_code() gives no quotes, backslashes or control characters.
std::string generator_json(const problem& wanted)
{
  return "{\"template\": " + std::to_string(template_version) + ", \"kappa\": \"" + to_code(wanted.kappa) + "\", \"source\": \"" +
         to_code(wanted.source) + "\", \"exact\": \"" + to_code(wanted.exact) + "\"}";
}

kernel jit_kernel(const problem& wanted, const dijitso::params& parameters, MPI_Comm comm)
{
  const dijitso::library library =
      dijitso::jit("poisson", parameters, [&](dijitso::source& source) { source.set_code(generate_code(wanted)); }, comm);

  kernel loaded;
  loaded.tabulate_stiffness = library.symbol<void(double*, const double*)>("tabulate_stiffness");
  loaded.tabulate_load = library.symbol<void(double*, const double*)>("tabulate_load");
  loaded.tabulate_squared_error = library.symbol<double(const double*, const double*)>("tabulate_squared_error");
  loaded.exact = library.symbol<double(double, double)>("exact_solution");
  loaded.origin = library.origin();
  return loaded;
}
