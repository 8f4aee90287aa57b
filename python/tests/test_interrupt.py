# SPDX-License-Identifier: MIT OR Apache-2.0
"""Ctrl-C while C builds: KeyboardInterrupt at once, and nothing is lost or left."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from conftest import PACKAGE

PROGRAM = """
import os, signal, sys, threading, time
import dijitso

# The compiler says that it runs, and then never ends.
compiler = {"build": {"cxx": os.environ["SLOW"]}}

def generate(jitable, name, signature, params):
    return "", 'extern "C" int %s() { return 42; }' % name, ()

def interrupt():
    while not os.path.exists(os.environ["STARTED"]):
        time.sleep(0.01)
    time.sleep(0.1)
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

def start():
    threading.Thread(target=interrupt, daemon=True).start()

"""

CALL = """
start()
try:
    dijitso.jit(None, "slow", compiler, generate)
except KeyboardInterrupt:
    print("interrupted after", time.monotonic() - sent)
# The program goes on.
print(dijitso.jit(None, "slow", {}, generate)[0].slow())
"""

LOG = """
import logging
class Handler(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
records = []
dijitso.set_log_level("DEBUG")
dijitso.log.set_log_handler(Handler())
"""

MANY = CALL.replace('dijitso.jit(None, "slow", compiler, generate)',
                    'dijitso.jit_many([1, 2], ["slow", "slower"], compiler, generate)')

NESTED = """
start()
def outer(*_):
    try:
        dijitso.jit(None, "inner", compiler, generate)
    except KeyboardInterrupt:
        print("inner")
        raise
try:
    dijitso.jit(None, "outer", {}, outer)
except KeyboardInterrupt:
    print("interrupted after", time.monotonic() - sent)
print(42)
"""

PLAN = """
start()
plan = dijitso.Plan("slow", compiler)
module = plan.add_module("slow", generate)
try:
    plan.make()
except KeyboardInterrupt:
    print("interrupted after", time.monotonic() - sent)
assert plan.state(module) == "todo"
plan = dijitso.Plan("slow")
module = plan.add_module("slow", generate)
plan.make()
print(plan.library(module)[0].slow())
"""


@pytest.fixture
def slow(place):
    """A compiler that does not end, and the file by which it says that it has started."""
    path = place / "slow"
    path.write_text("#!/bin/sh\ncase \"$*\" in *--version*|*-v*|*-dump*|*-print*|*-E*) exec c++ \"$@\";; esac\n"
                    "touch %s\nsleep 60 &\necho $! > %s\nwait\n" % (place / "started", place / "sleeper"))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"SLOW": str(path), "STARTED": str(place / "started")}


@pytest.mark.parametrize("program", [CALL, LOG + CALL, MANY, NESTED, PLAN], ids=["call", "log", "many", "nested", "plan"])
def test_ctrl_c_raises_keyboard_interrupt(program, slow, python, place):
    lines = [line for line in python(PROGRAM + program, env=slow).splitlines() if line.startswith(("interrupted", "42", "inner"))]
    expected = ["inner", "interrupted", "42"] if program is NESTED else ["interrupted", "42"]
    assert [line.split()[0] for line in lines] == expected
    # The library asks every 50 ms; the rest is for a machine with much to do.
    assert float(lines[-2].split()[-1]) < 1.0
    # The compiler and what it has started are ended.
    with open(place / "sleeper") as file:
        assert ends(file.read().strip())


def ends(process):
    """Tells whether a process ends within some seconds. A zombie has ended."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            with open("/proc/%s/stat" % process) as state:
                if state.read().rsplit(")")[-1].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_a_handler_that_does_not_raise_lets_the_call_go_on(place, python):
    path = place / "waits"
    # Ends by itself after the signal.
    path.write_text("#!/bin/sh\ncase \"$*\" in *--version*|*-v*|*-dump*|*-print*|*-E*) exec c++ \"$@\";; esac\n"
                    "touch %s\nsleep 0.5\nexec c++ \"$@\"\n" % (place / "started"))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    output = python(PROGRAM + """
seen = []
signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
start()
print(dijitso.jit(None, "goes_on", compiler, generate)[0].goes_on(), seen)
""", env={"SLOW": str(path), "STARTED": str(place / "started")})
    assert output.splitlines()[-1] == "42 [%d]" % signal.SIGINT


def test_another_exception_of_a_handler_comes_out(slow, python):
    output = python(PROGRAM + """
class Own(Exception):
    pass
def handler(number, frame):
    raise Own
signal.signal(signal.SIGINT, handler)
start()
try:
    dijitso.jit(None, "slow", compiler, generate)
except Own:
    print("own")
assert signal.getsignal(signal.SIGINT) is handler
""", env=slow)
    assert output.splitlines()[-1] == "own"


def test_ctrl_c_in_generate_comes_out_there(python):
    output = python(PROGRAM + """
def interrupted(*_):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except KeyboardInterrupt:
        print("in generate")
        raise
try:
    dijitso.jit(None, "interrupted", {}, interrupted)
except KeyboardInterrupt:
    print("outside")
""", env={"SLOW": "c++", "STARTED": "/"})
    assert output.splitlines() == ["in generate", "outside"]


def test_a_program_that_ends_by_ctrl_c_has_its_status(slow):
    environment = {**os.environ, **slow, "PYTHONPATH": PACKAGE}
    program = subprocess.Popen([sys.executable, "-c", PROGRAM + "dijitso.jit(None, 'slow', compiler, generate)"],
                               env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not os.path.exists(slow["STARTED"]) and time.monotonic() < until:
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    _, output = program.communicate(timeout=30)
    assert program.returncode == -signal.SIGINT
    assert output.rstrip().endswith("KeyboardInterrupt")
