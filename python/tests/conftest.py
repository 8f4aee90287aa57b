# SPDX-License-Identifier: MIT OR Apache-2.0
"""Gives each test a home, a cache and a time limit of its own."""

import faulthandler
import os
import shutil
import subprocess
import sys

import pytest

# Seconds for one test. Then the process ends with the stacks of all threads, also if C does not return.
LIMIT = 100
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The package of this tree, also if another one is installed.
sys.path.insert(0, PACKAGE)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that does not find what it needs fails where everything is installed, unless it is about the machine."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("DIJITSO_TEST_MUST") and not hasattr(report, "wasxfail"):
        reason = str(call.excinfo.value) if call.excinfo else ""
        if not reason.startswith("this machine"):
            report.outcome, report.longrepr = "failed", "skipped: " + reason


@pytest.fixture(autouse=True)
def limit():
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A directory, in which the test runs, with ``home`` and ``cache``."""
    for variable in "DIJITSO_CONF", "VIRTUAL_ENV", "CONDA_PREFIX", "CXX", "CC", "DIJITSO_LOG", "DIJITSO_SYSTEM_CALL_METHOD":
        monkeypatch.delenv(variable, raising=False)
    work = tmp_path / "work"
    for folder in work, tmp_path / "home":
        folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIJITSO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(work)
    forget_config(monkeypatch)
    return tmp_path


def forget_config(monkeypatch):
    """Lets the process read the config file again."""
    from dijitso import params
    monkeypatch.setattr(params, "_config_contents", None)
    monkeypatch.setattr(params, "_default_dirs", {})


@pytest.fixture
def python():
    """Runs a program in a new process with the package. Returns what it wrote; stderr after stdout."""

    def run(program, *words, env=None, status=0):
        environment = {**os.environ, **(env or {}), "PYTHONPATH": PACKAGE}
        done = subprocess.run([sys.executable, "-c", program, *words], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT / 2, check=False)
        output = done.stdout.decode("utf-8", "replace")
        assert done.returncode == status, output
        return output

    return run


@pytest.fixture
def command():
    """Runs the command without a terminal. Returns status, stdout and stderr."""

    def run(*words, env=None):
        environment = {**os.environ, **(env or {}), "PYTHONPATH": PACKAGE}
        done = subprocess.run([sys.executable, "-m", "dijitso", *words], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT / 2, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode("utf-8", "replace")

    return run


def square(_jitable, name, _signature, _params):
    """A generator: header, code and dependencies of a function that squares."""
    return "#pragma once\n", 'extern "C" double %s(double x)\n{\n  return x * x;\n}\n' % name, ()


@pytest.fixture
def build():
    """Builds libraries by their names, into the cache of the test."""
    import dijitso
    return lambda *names: [dijitso.jit(None, name, {}, square) for name in names]


@pytest.fixture
def ranks(place):
    """Runs a program on ranks. Returns the lines that each rank has printed by ``say``, in a list of ranks."""
    pytest.importorskip("mpi4py")
    launcher = shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("there is no mpiexec")
    start = ("import faulthandler, sys\nfaulthandler.dump_traceback_later(%d, exit=True)\nfrom mpi4py import MPI\n"
             "comm = MPI.COMM_WORLD\nsaid = open(sys.argv[1] + str(comm.rank), 'w', buffering=1)\n"
             "def say(*words):\n    print(*words, file=said)\n" % (LIMIT // 2))

    def run(count, program, env=None, status=0):
        environment = {**os.environ, "PYTHONPATH": PACKAGE, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                       "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
                       "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", **(env or {})}
        done = subprocess.run([launcher, "-n", str(count), sys.executable, "-c", start + program, str(place / "said.")],
                              env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=LIMIT, check=False)
        output = done.stdout.decode("utf-8", "replace")
        assert status is None or done.returncode == status, output
        return [(place / ("said.%d" % rank)).read_text().splitlines() for rank in range(count)]

    return run
