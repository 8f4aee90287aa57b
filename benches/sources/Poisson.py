# SPDX-License-Identifier: MIT OR Apache-2.0
# The forms of DOLFIN's Poisson problem, for FFC: linear elements, data from Expressions of degree 2.
from ufl import Coefficient, FiniteElement, TestFunction, TrialFunction, ds, dx, grad, inner, triangle

element = FiniteElement("Lagrange", triangle, 1)
data = FiniteElement("Lagrange", triangle, 2)
u = TrialFunction(element)
v = TestFunction(element)
f = Coefficient(data)
g = Coefficient(data)
a = inner(grad(u), grad(v)) * dx
L = f * v * dx + g * v * ds
forms = [a, L]
