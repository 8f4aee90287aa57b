# SPDX-License-Identifier: MIT OR Apache-2.0
# A stiffness matrix for FFCx; FORM is replaced, so that there are two different ones.
from ufl import FiniteElement, FunctionSpace, Mesh, TestFunction, TrialFunction, VectorElement, dx, grad, inner, triangle

mesh = Mesh(VectorElement("Lagrange", triangle, 1))
V = FunctionSpace(mesh, FiniteElement("Lagrange", triangle, 1))
u = TrialFunction(V)
v = TestFunction(V)
a = FORM
