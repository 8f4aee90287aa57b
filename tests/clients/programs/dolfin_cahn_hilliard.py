# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN: three steps of the Cahn-Hilliard equation, by Newton's method, on a mixed space."""

from dolfin import (Expression, FiniteElement, Function, FunctionSpace, MPI, MixedElement, TestFunctions, TrialFunction, UnitSquareMesh,
                    assemble, derivative, diff, dot, dx, grad, set_log_level, solve, split, variable)

set_log_level(40)
mesh = UnitSquareMesh(16, 16)
P1 = FiniteElement("Lagrange", mesh.ufl_cell(), 1)
W = FunctionSpace(mesh, MixedElement([P1, P1]))
start = Expression(("0.63 + 0.02*cos(7*x[0])*cos(9*x[1])", "0.0"), degree=2)
w, before = Function(W), Function(W)
w.interpolate(start)
before.interpolate(start)
(c, mu), (c0, mu0), (q, r) = split(w), split(before), TestFunctions(W)
step, surface = 5.0e-6, 1.0e-2
c = variable(c)
potential = diff(100 * c ** 2 * (1 - c) ** 2, c)
middle = 0.5 * (mu0 + mu)
F = (c * q - c0 * q + step * dot(grad(middle), grad(q)) + mu * r - potential * r - surface * dot(grad(c), grad(r))) * dx
J = derivative(F, w, TrialFunction(W))
for _ in range(3):
    before.vector()[:] = w.vector()
    solve(F == 0, w, J=J, solver_parameters={"newton_solver": {"relative_tolerance": 1e-10}})
mass, square = assemble(w[0] * dx), assemble(w[0] ** 2 * dx)
if MPI.rank(MPI.comm_world) == 0:
    print("mass", f"{mass:.10g}", "square", f"{square:.10g}")
