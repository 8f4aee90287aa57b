# SPDX-License-Identifier: MIT OR Apache-2.0
"""A function of C++, called from Python."""

import ctypes

import dijitso


def generate(power, name, signature, params):
    """Returns header, code and the signatures of libraries to link to."""
    product = " * ".join(["x"] * power)
    return "", 'extern "C" double %s(double x) { return %s; }' % (name, product), ()


module, signature = dijitso.jit(2, "square", dijitso.params.default_params(), generate)
square = module.square
square.argtypes, square.restype = [ctypes.c_double], ctypes.c_double
print(square(3.0))
