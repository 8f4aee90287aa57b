# SPDX-License-Identifier: MIT OR Apache-2.0
# The stiffness matrix of linear Lagrange elements on triangles.
from ufl import FiniteElement, TestFunction, TrialFunction, dx, grad, inner, triangle

element = FiniteElement("Lagrange", triangle, 1)
u = TrialFunction(element)
v = TestFunction(element)
a = inner(grad(u), grad(v)) * dx
