# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN: Expressions of all shapes with parameters that change, one that does not compile, and a SubDomain."""

from dolfin import (CompiledSubDomain, Expression, FunctionSpace, MPI, MeshFunction, TensorFunctionSpace, UnitSquareMesh,
                    VectorFunctionSpace, assemble, dx, inner, interpolate, set_log_level)

set_log_level(50)
mesh = UnitSquareMesh(10, 10)
comm = mesh.mpi_comm()
values = []
scalar = Expression("a*x[0] + t*sin(x[1])", a=1.5, t=0.0, degree=2)
inside = Expression("f*f + b", f=scalar, b=0.5, degree=2)
vector = Expression(("x[0]*x[1]", "exp(k*x[0])"), k=0.25, degree=2)
tensor = Expression((("x[0]", "1.0"), ("x[1]", "k")), k=3.0, degree=1)
for t in 0.0, 1.0, 2.5:
    scalar.t = t
    values += [assemble(interpolate(scalar, FunctionSpace(mesh, "Lagrange", 2)) * dx), assemble(inside * dx(mesh))]
for field, space in (vector, VectorFunctionSpace(mesh, "Lagrange", 2)), (tensor, TensorFunctionSpace(mesh, "DG", 1)):
    field.k = field.k + 1.0
    u = interpolate(field, space)
    values.append(assemble(inner(u, u) * dx))
try:
    Expression("no_such_name(x[0])", degree=1)
    values.append(-1.0)
except RuntimeError:
    values.append(1.0)
marks = MeshFunction("size_t", mesh, 2, 0)
CompiledSubDomain("x[0] < limit", limit=0.45).mark(marks, 3)
values.append(assemble(scalar * dx(3, domain=mesh, subdomain_data=marks)))
if MPI.rank(comm) == 0:
    print(*(f"{value:.10g}" for value in values))
