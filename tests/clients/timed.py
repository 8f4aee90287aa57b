# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs a program unchanged, and appends the seconds that it spent in dijitso to a file.

usage: timed.py FILE plain | install PROGRAM [ARGUMENT...]
`install` calls dijitso.dolfin.install() first. The seconds of `jit` are those of outermost calls, without those of `generate`; calls within
`generate` count.
"""

import json
import runpy
import sys
import time

import numpy  # noqa: F401  (hosts and the original import it anyway, so it counts for neither)

clock = time.perf_counter
begin = clock()
import dijitso  # noqa: E402  (its import is measured)

times = {"import": clock() - begin, "jit": 0.0, "generate": 0.0, "calls": 0}
stack = []


def switch(to):
    """Ends the period of what ran until now, and begins one of `to`: "jit", "generate", or "" for neither."""
    now = clock()
    if stack and stack[-1][0]:
        times[stack[-1][0]] += now - stack[-1][1]
    if to is None:
        stack.pop()
        if stack:
            stack[-1] = (stack[-1][0], now)
    else:
        stack.append((to, now))


def measured(kind, function):
    def call(*args, **kwargs):
        switch(kind)
        try:
            return function(*args, **kwargs)
        finally:
            switch(None)

    return call


def timed_jit(jit):
    inner = measured("jit", jit)

    def call(*args, **kwargs):
        times["calls"] += 1
        if kwargs.get("generate"):
            kwargs["generate"] = measured("generate", kwargs["generate"])
        return inner(*args, **kwargs)

    return call


file, how, *sys.argv = sys.argv[1:]
dijitso.jit = timed_jit(dijitso.jit)
if how == "install":
    import dijitso.dolfin

    dijitso.dolfin.install()
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    with open(file, "a") as out:
        out.write(json.dumps(times) + "\n")
