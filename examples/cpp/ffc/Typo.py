# SPDX-License-Identifier: MIT OR Apache-2.0
# A mistake in its last line.
element = FiniteElement("Lagrange", triangle, 1)
u, v = TrialFunction(element), TestFunction(element)
a = innr(grad(u), grad(v)) * dx
