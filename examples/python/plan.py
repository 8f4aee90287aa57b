# SPDX-License-Identifier: MIT OR Apache-2.0
"""A plan: a table is computed, and two libraries are built, one of which needs the other."""

import ctypes

from dijitso.plan import Plan

SQUARE = 'extern "C" double square(double x) { return x * x; }'
CUBE = 'extern "C" double square(double); extern "C" double cube(double x) { return x * square(x); }'

plan = Plan("example")
table = plan.add_task("table", lambda task: ",".join(str(n * n) for n in range(5)))
square = plan.add_module("square", code=SQUARE)
cube = plan.add_module("cube", code=CUBE, needs=[square])
plan.make()

module, signature = plan.library(cube)
module.cube.argtypes, module.cube.restype = [ctypes.c_double], ctypes.c_double
print(module.cube(2.0), plan.result(table).decode())
