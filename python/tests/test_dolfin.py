# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN's functions on ranks, with a stand-in for its modules; the table of clients runs DOLFIN itself."""

BEGIN = """
import functools, sys, types
import dijitso

# What DOLFIN 2019.2 has of these names.
dolfin, cpp, jit_package, jit = [types.ModuleType(name) for name in ("dolfin", "dolfin.cpp", "dolfin.jit", "dolfin.jit.jit")]
for package in dolfin, cpp, jit_package:
    package.__path__ = []
for module in dolfin, cpp, jit_package, jit:
    sys.modules[module.__name__] = module
class OfMPI:
    comm_world = comm
    @staticmethod
    def size(comm):
        return comm.size
cpp.MPI = OfMPI
def decorator(local):
    @functools.wraps(local)
    def original(*args, **kwargs):
        raise SystemError("the original was called")
    return original
calls = []
def generate(jitable, name, signature, params):
    calls.append(name)
    return "", 'extern "C" int %s() { return 42; }' % name, ()
@decorator
def ffc_jit(name, fails=False):
    if fails:
        raise KeyError("before the call")
    return dijitso.jit(None, name, {}, generate)[0]
@decorator
def dijitso_jit(name, params, generate):
    return dijitso.jit(None, name, params, generate)
jit.ffc_jit, jit.dijitso_jit, dolfin.ffc_jit = ffc_jit, dijitso_jit, ffc_jit
dijitso.dolfin.install()
dijitso.dolfin.install()
"""


def test_install_makes_the_calls_collective(ranks):
    said = ranks(4, BEGIN + """
assert dolfin.ffc_jit is jit.ffc_jit and jit.ffc_jit is not ffc_jit and jit.ffc_jit.__name__ == "ffc_jit"
say(dolfin.ffc_jit("form").form())
say(jit.dijitso_jit("expression", {}, generate=generate)[0].expression())
say(sorted(sum(comm.allgather(calls), [])))
# Only ranks 0 and 1.
half = comm.Split(comm.rank // 2)
if comm.rank < 2:
    say(dolfin.ffc_jit("half", mpi_comm=half).half())
dolfin.ffc_jit("alone_%d" % comm.rank, mpi_comm=MPI.COMM_SELF)
say(calls.count("alone_%d" % comm.rank))
""")
    both = ["42", "42", "['expression', 'form']"]
    assert said == [both + ["42", "1"]] * 2 + [both + ["1"]] * 2


def test_a_failure_is_a_runtime_error_with_one_text(ranks):
    said = ranks(2, BEGIN + """
def fails(*_):
    raise ValueError("of the generator")
try:
    jit.dijitso_jit("fails", {}, fails)
except RuntimeError as problem:
    say(str(problem))
# One rank fails before the call.
try:
    dolfin.ffc_jit("form", fails=comm.rank == 0)
except RuntimeError as problem:
    say(type(problem).__name__)
say(dolfin.ffc_jit("form").form())
""")
    assert all("of the generator" in lines[0] for lines in said)
    assert [lines[1:] for lines in said] == [["RuntimeError", "42"], ["DijitsoError", "42"]]
