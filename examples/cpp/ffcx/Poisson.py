# SPDX-License-Identifier: MIT OR Apache-2.0
# The stiffness matrix of linear Lagrange elements on triangles.
from ufl import FunctionSpace, Mesh, TestFunction, TrialFunction, dx, grad, inner

try:
    # FFCx 0.7 and later
    from basix.ufl import element

    coordinates, linear = element("Lagrange", "triangle", 1, shape=(2,)), element("Lagrange", "triangle", 1)
except ImportError:
    from ufl import FiniteElement, VectorElement, triangle

    coordinates, linear = VectorElement("Lagrange", triangle, 1), FiniteElement("Lagrange", triangle, 1)

mesh = Mesh(coordinates)
V = FunctionSpace(mesh, linear)
u = TrialFunction(V)
v = TestFunction(V)
a = inner(grad(u), grad(v)) * dx
