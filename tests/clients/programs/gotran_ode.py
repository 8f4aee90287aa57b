# SPDX-License-Identifier: MIT OR Apache-2.0
"""gotran: the right-hand side of a model of a nerve cell, compiled from its equations."""

import os
import sys
import tempfile

import gotran
import numpy
from gotran.codegeneration.compilemodule import compile_module

with tempfile.TemporaryDirectory() as folder:
    # gotran writes its own form of the equations into the working directory, under one name for all ranks.
    os.chdir(folder)
    with open("nerve.ode", "w") as file:
        file.write("parameters(a=0.7, b=0.8, tau=12.5)\nstates(v=-0.2, w=0.1)\n"
                   "dv_dt = v - v**3/3 - w + 0.5\ndw_dt = (v + a - b*w)/tau\n")
    ode = gotran.load_ode("nerve.ode")
    os.chdir("/")
module = compile_module(ode, "C", [], {})
states, parameters = module.init_state_values(), module.init_parameter_values()
for step in range(100):
    states = states + 0.05 * numpy.array(module.rhs(states, 0.05 * step, parameters))
# One text, which no other rank's output splits.
sys.stdout.write(" ".join(["gotran", *(f"{value:.12g}" for value in states)]) + "\n")
