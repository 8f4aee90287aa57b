# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN: Poisson's equation with a source and boundary values from strings."""

from dolfin import (DirichletBC, Expression, Function, FunctionSpace, MPI, TestFunction, TrialFunction, UnitSquareMesh, assemble, dot, ds,
                    dx, grad, norm, set_log_level, solve)

set_log_level(40)
mesh = UnitSquareMesh(24, 24)
V = FunctionSpace(mesh, "Lagrange", 1)
u, v = TrialFunction(V), TestFunction(V)
f = Expression("10*exp(-(pow(x[0] - 0.5, 2) + pow(x[1] - 0.5, 2)) / 0.02)", degree=2)
g = Expression("sin(5*x[0])", degree=2)
bc = DirichletBC(V, 0.0, "x[0] < DOLFIN_EPS || x[0] > 1.0 - DOLFIN_EPS")
solution = Function(V)
solve(dot(grad(u), grad(v)) * dx == f * v * dx + g * v * ds, solution, bc)
flux = assemble(dot(grad(solution), grad(solution)) * dx)
length = norm(solution)
if MPI.rank(MPI.comm_world) == 0:
    print("L2", f"{length:.10g}", "energy", f"{flux:.10g}")
