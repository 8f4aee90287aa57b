# SPDX-License-Identifier: MIT OR Apache-2.0
"""FFC alone compiles forms, and the matrices of one cell are printed. usage: ffc_forms.py poisson | hyperelasticity | mixed | tensor"""

import sys

import ffc
import ufc_values
from ufl import (Coefficient, FiniteElement, Identity, MixedElement, TensorElement, TestFunction, TestFunctions, TrialFunction,
                 TrialFunctions, VectorElement, derivative, det, div, dx, grad, inner, ln, sym, tetrahedron, tr, triangle, variable, diff)


def poisson():
    element = FiniteElement("Lagrange", triangle, 2)
    u, v, f = TrialFunction(element), TestFunction(element), Coefficient(element)
    return inner(grad(u), grad(v)) * dx, f * v * dx


def hyperelasticity():
    element = VectorElement("Lagrange", tetrahedron, 1)
    u, v, du = Coefficient(element), TestFunction(element), TrialFunction(element)
    F = Identity(3) + grad(u)
    energy = 0.5 * (tr(F.T * F) - 3) - ln(det(F)) + 2.0 * ln(det(F)) ** 2
    residual = derivative(energy * dx, u, v)
    return residual, derivative(residual, u, du)


def mixed():
    element = MixedElement([FiniteElement("RT", triangle, 1), FiniteElement("Discontinuous Lagrange", triangle, 0)])
    (sigma, u), (tau, v) = TrialFunctions(element), TestFunctions(element)
    return ((inner(sigma, tau) + div(tau) * u + div(sigma) * v) * dx,)


def tensor():
    stress, displacement = TensorElement("Discontinuous Lagrange", triangle, 1), VectorElement("Lagrange", triangle, 2)
    s, v = Coefficient(stress), TestFunction(displacement)
    strain = variable(sym(grad(Coefficient(displacement))))
    return inner(s, grad(v)) * dx, inner(diff(inner(strain, strain), strain), TestFunction(stress)) * dx


for form in {"poisson": poisson, "hyperelasticity": hyperelasticity, "mixed": mixed, "tensor": tensor}[sys.argv[1]]():
    compiled, module, prefix = ffc.jit(form)
    # One text, which no other rank's output splits.
    sys.stdout.write(" ".join([prefix, *(f"{value:.12g}" for value in ufc_values.of_form(compiled))]) + "\n")
