# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN: Poisson's equation as a mixed problem, with an Expression in Python for the flux on the boundary."""

from dolfin import (DirichletBC, Expression, FiniteElement, Function, FunctionSpace, MPI, TestFunctions, TrialFunctions, UnitSquareMesh,
                    UserExpression, assemble, div, dot, dx, set_log_level, solve)

set_log_level(40)
mesh = UnitSquareMesh(16, 16)
W = FunctionSpace(mesh, FiniteElement("BDM", mesh.ufl_cell(), 1) * FiniteElement("DG", mesh.ufl_cell(), 0))
(sigma, u), (tau, v) = TrialFunctions(W), TestFunctions(W)
f = Expression("10*exp(-(pow(x[0] - 0.5, 2) + pow(x[1] - 0.5, 2)) / 0.02)", degree=2)


class Flux(UserExpression):
    def eval(self, value, x):
        value[0] = 0.0
        value[1] = -abs(x[0]) if x[1] < 0.5 else abs(x[0])

    def value_shape(self):
        return (2,)


# DOLFIN keeps only the C++ part of it.
boundary = Flux(degree=1)
w = Function(W)
solve((dot(sigma, tau) + div(tau) * u + div(sigma) * v) * dx == -f * v * dx, w,
      DirichletBC(W.sub(0), boundary, "x[1] < DOLFIN_EPS || x[1] > 1.0 - DOLFIN_EPS"))
flux, u = w.split()
values = assemble(dot(flux, flux) * dx), assemble(u * u * dx)
if MPI.rank(MPI.comm_world) == 0:
    print("flux", f"{values[0]:.10g}", "square", f"{values[1]:.10g}")
