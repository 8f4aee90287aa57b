# SPDX-License-Identifier: MIT OR Apache-2.0
"""The programs of examples/python, which are those of the pages."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import PACKAGE

EXAMPLES = os.path.join(os.path.dirname(PACKAGE), "examples", "python")


def run(name, *launcher):
    done = subprocess.run([*launcher, sys.executable, os.path.join(EXAMPLES, name)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=90, check=False, env={**os.environ, "PYTHONPATH": PACKAGE})
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("state", ["cold and warm"])
@pytest.mark.parametrize("name, output", [("square.py", "9.0\n"), ("plan.py", "8.0 0,1,4,9,16\n")])
def test_programs_without_ranks(name, output, state):
    assert run(name) == output and run(name) == output


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_programs_with_ranks(ranks):
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec.openmpi") or shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("mpiexec is not installed")
    output = run("ranks.py", mpiexec, "-n", str(ranks))
    assert output.splitlines()[-1] == "%d ranks, 5 libraries" % ranks
