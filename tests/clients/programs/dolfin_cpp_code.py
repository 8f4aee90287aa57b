# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN: classes in C++ with pybind11, by compile_cpp_code, as Expressions; a second module with flags of its own."""

from dolfin import CompiledExpression, FunctionSpace, MPI, UnitSquareMesh, assemble, compile_cpp_code, dx, interpolate, set_log_level

set_log_level(40)
code = r"""
#include <cmath>
#include <pybind11/pybind11.h>
#include <pybind11/eigen.h>
#include <dolfin/function/Expression.h>

class Ripple : public dolfin::Expression
{
public:
  Ripple() : dolfin::Expression(), waves(1.0) {}
  void eval(Eigen::Ref<Eigen::VectorXd> values, Eigen::Ref<const Eigen::VectorXd> x) const override
  { values[0] = std::sin(waves*x[0])*std::cos(x[1]); }
  double waves;
};

PYBIND11_MODULE(SIGNATURE, m)
{
  pybind11::class_<Ripple, std::shared_ptr<Ripple>, dolfin::Expression>(m, "Ripple")
    .def(pybind11::init<>()).def_readwrite("waves", &Ripple::waves);
}
"""
small = """
#include <pybind11/pybind11.h>
PYBIND11_MODULE(SIGNATURE, m) { m.def("answer", [](int x) { return x * ANSWER; }); }
"""
mesh = UnitSquareMesh(12, 12)
values = []
module = compile_cpp_code(code)
ripple = CompiledExpression(module.Ripple(), degree=2)
for waves in 1.0, 3.0:
    ripple.waves = waves
    values.append(assemble(interpolate(ripple, FunctionSpace(mesh, "Lagrange", 2)) * dx))
values += [compile_cpp_code(small, cppargs=["-DANSWER=21"]).answer(2), int(compile_cpp_code(code) is module)]
if MPI.rank(mesh.mpi_comm()) == 0:
    print(*(f"{value:.10g}" for value in values))
