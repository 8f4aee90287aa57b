# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN: a twisted block of a neo-Hookean material, by Newton's method."""

from dolfin import (CompiledSubDomain, Constant, DirichletBC, Expression, Function, Identity, MPI, TestFunction,
                    TrialFunction, UnitCubeMesh, VectorFunctionSpace, assemble, derivative, det, dot, ds, dx, grad, inner, ln,
                    parameters, set_log_level, solve, tr)

set_log_level(40)
parameters["form_compiler"]["cpp_optimize"] = True
V = VectorFunctionSpace(UnitCubeMesh(6, 4, 4), "Lagrange", 1)
left = CompiledSubDomain("near(x[0], side) && on_boundary", side=0.0)
right = CompiledSubDomain("near(x[0], side) && on_boundary", side=1.0)
turn = Expression(("scale*0.0", "scale*(0.5 + (x[1] - 0.5)*cos(angle) - (x[2] - 0.5)*sin(angle) - x[1])",
                   "scale*(0.5 + (x[1] - 0.5)*sin(angle) + (x[2] - 0.5)*cos(angle) - x[2])"), scale=0.5, angle=0.6, degree=2)
u, v, du = Function(V), TestFunction(V), TrialFunction(V)
F = Identity(3) + grad(u)
mu, lmbda = Constant(3.8), Constant(5.8)
energy = mu / 2 * (tr(F.T * F) - 3) - mu * ln(det(F)) + lmbda / 2 * ln(det(F)) ** 2
Pi = energy * dx - dot(Constant((0.0, -0.5, 0.0)), u) * dx - dot(Constant((0.1, 0.0, 0.0)), u) * ds
R = derivative(Pi, u, v)
solve(R == 0, u, [DirichletBC(V, Constant((0.0, 0.0, 0.0)), left), DirichletBC(V, turn, right)], J=derivative(R, u, du),
      solver_parameters={"newton_solver": {"relative_tolerance": 1e-10}})
values = assemble(inner(u, u) * dx), assemble(energy * dx)
if MPI.rank(MPI.comm_world) == 0:
    print("square", f"{values[0]:.10g}", "energy", f"{values[1]:.10g}")
