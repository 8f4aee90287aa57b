# SPDX-License-Identifier: MIT OR Apache-2.0
"""All ranks want the same library: one of them builds it, and a failure is an exception on each."""

import ctypes

from mpi4py import MPI

import dijitso


def generate(jitable, name, signature, params):
    return "", 'extern "C" double %s(double x) { return %s; }' % (name, jitable), ()


def broken(jitable, name, signature, params):
    raise ValueError("no code for %s" % jitable)


comm = MPI.COMM_WORLD
params = {"build": {"cxxflags_opt": ["-O2"]}}

module, signature = dijitso.jit("x * x", "square", params, generate, comm=comm)
module.square.argtypes, module.square.restype = [ctypes.c_double], ctypes.c_double
assert comm.allreduce(module.square(2.0)) == 4.0 * comm.size

# Many at once: they are dealt out among the ranks, and built at the same time.
names = ["power_%d" % power for power in range(1, 5)]
terms = [" * ".join(["x"] * power) for power in range(1, 5)]
libraries = dijitso.jit_many(terms, names, params, generate, comm=comm)
assert [signature for module, signature in libraries] == names

try:
    dijitso.jit("cube", "cube", params, broken, comm=comm)
    failed = "no"
except ValueError as problem:
    # On the rank that called the generator, its own exception comes out.
    failed = str(problem)
except dijitso.DijitsoError as problem:
    # On the others it is this one, with the same text.
    failed = str(problem)
assert "no code for cube" in failed

if comm.rank == 0:
    print("%d ranks, %d libraries" % (comm.size, 1 + len(libraries)))
