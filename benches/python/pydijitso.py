# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes the same measurements with the Python package dijitso.

    pydijitso.py [--comm] memory CACHE SOURCES CALLS CHUNKS   seconds of a call, and of a lookup in a dict
    pydijitso.py [--comm] disk CACHE SOURCES                  the first jit call of this process, and ctypes' dlopen
    pydijitso.py [--comm] fill CACHE SOURCES
    pydijitso.py [--comm] cold CACHE SOURCES MODULE...        seconds of each, the entry removed before
    pydijitso.py [--comm] hits CACHE SOURCES MODULE...        the first call, and each of the others; `built` says how many were built
    pydijitso.py dolfin CACHE SOURCES MODULE...               the same after `import dolfin`, as in a program of DOLFIN

With --comm, rank 0 builds and the others wait in MPI_Barrier, as DOLFIN does. Prints JSON; times are those of the slowest rank.
"""
import ctypes
import json
import os
import pathlib
import resource
import shlex
import sys
import time

# Some parts of the package read only the variable, and not the parameter.
os.environ["DIJITSO_CACHE_DIR"] = sys.argv[3 if sys.argv[1] == "--comm" else 2]

import dijitso
from dijitso.params import default_params

comm = None
if sys.argv[1] == "--comm":
    del sys.argv[1]
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
rank, size = (comm.rank, comm.size) if comm else (0, 1)


def common_start():
    start = time.monotonic() + (0.2 + 0.03 * size if size > 1 else 0.0)
    if comm:
        start = comm.allreduce(start, MPI.MAX)
    time.sleep(max(0.0, start - time.monotonic()))
    return time.monotonic() if size == 1 else start


def slowest(seconds):
    return comm.allreduce(seconds, MPI.MAX) if comm else seconds


def text_of(file):
    return file.read_text() if file.exists() else None


def params_of(sources, kind):
    """The parameters of KIND.params under their names in the Python package."""
    params = default_params()
    build = params["build"]
    file = pathlib.Path(sources) / f"{kind}.params"
    for line in file.read_text().splitlines() if file.exists() else ():
        section, key = line.split("=", 1)[0].split(".")
        value = line.split("=", 1)[1]
        if section == "build" and key in ("cxxflags", "cxxflags_opt", "include_dirs", "libs", "cflags", "cflags_opt"):
            build[key.replace("cflags", "cxxflags")] = tuple(shlex.split(value))
        elif (key, value) == ("language", "c"):
            build["cxx"] = "cc"
            params["cache"]["src_postfix"] = ".c"
    return params


def jit(name, params, code=None, header=None, dependencies=()):
    generate = (lambda *_: (header, code, dependencies)) if rank == 0 else None
    return dijitso.jit(name, name, params, generate=generate, wait=comm.barrier if comm else None)


def one_params(cache):
    (pathlib.Path(cache).parent / "c.params").write_text("build.language=c\nbuild.cflags=-Wall -shared -fPIC\n")
    return params_of(pathlib.Path(cache).parent, "c")


CODE = "double evaluate(double x) { return 3.0 * x + 1.0; }\n"


def memory(cache, sources, calls, chunks):
    calls = int(calls)
    params = one_params(cache)
    jit("bench_memory_hit", params, CODE)
    table = {f"bench_module_{i}": i for i in range(100)}
    out = {"jit_wall": [], "jit_cpu": [], "map_wall": []}
    for _ in range(int(chunks)):
        start, cpu = common_start(), time.thread_time()
        for _ in range(calls):
            dijitso.jit("bench_memory_hit", "bench_memory_hit", params)
        out["jit_cpu"].append(1e9 * (time.thread_time() - cpu) / calls)
        out["jit_wall"].append(1e9 * slowest(time.monotonic() - start) / calls)
        start = time.monotonic()
        for _ in range(calls):
            table["bench_module_50"]
        out["map_wall"].append(1e9 * slowest(time.monotonic() - start) / calls)
    return out


def fill(cache, sources):
    params = one_params(cache)
    jit("bench_disk_hit", params, CODE)
    return {}


def disk(cache, sources):
    params = one_params(cache)
    start = common_start()
    jit("bench_disk_hit", params)
    first = slowest(time.monotonic() - start)
    copy = pathlib.Path(cache).parent / "dlopen-copy.so"
    start = common_start()
    ctypes.CDLL(str(copy))
    return {"first": first, "dlopen": slowest(time.monotonic() - start)}


def cold(cache, sources, *names):
    lines = dict((line.split()[0], line.split()[1:]) for line in (pathlib.Path(sources) / "modules").read_text().splitlines())
    out = {}
    for name in names:
        kind, extension, *dependencies = lines[name]
        params = params_of(sources, kind)
        if kind == "dolfin":
            # Built but not loaded, as in the other programs: the library of DOLFIN would load its own MPI.
            sys.modules["dijitso.jit"].load_library = lambda *_: True
        code, header = (text_of(pathlib.Path(sources) / (name + ending)) for ending in (extension, ".h"))
        if rank == 0:
            for file in pathlib.Path(cache).rglob(f"*{name}.*"):
                file.unlink()
        start, cpu = common_start(), resource.getrusage(resource.RUSAGE_SELF)
        jit(name, params, code, header, dependencies)
        seconds = slowest(time.monotonic() - start)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        waited = 0.0 if rank == 0 else usage.ru_utime + usage.ru_stime - cpu.ru_utime - cpu.ru_stime
        out[name] = {"jit": seconds, "waiters": comm.allreduce(waited) if comm else 0.0}
    return out


def hits(cache, sources, *names):
    """As a program would: all ranks call at the same time, and each reads the cache for itself. They do not agree."""
    lines = dict((line.split()[0], line.split()[1:]) for line in (pathlib.Path(sources) / "modules").read_text().splitlines())
    calls, built = [], []

    def call(name, params, text, header, dependencies):
        start = time.perf_counter()
        dijitso.jit(name, name, params, generate=lambda *_: built.append(name) or (header, text, dependencies))
        return time.perf_counter() - start

    for name in names:
        kind, extension, *dependencies = lines[name]
        code, header = (text_of(pathlib.Path(sources) / (name + ending)) for ending in (extension, ".h"))
        calls.append((name, params_of(sources, kind), code, header, dependencies))
    start = common_start()
    call(*calls[0])
    out = {"first": slowest(time.monotonic() - start)}
    start = common_start()
    out["each"] = [call(*one) for one in calls[1:]]
    out["others"] = slowest(time.monotonic() - start)
    return {**out, "built": len(built)}


def dolfin(cache, sources, *names):
    import dolfin  # noqa: F401  (the libraries of Expressions need its library)

    return hits(cache, sources, *names)


dijitso.set_log_level("ERROR")
result = {"memory": memory, "disk": disk, "fill": fill, "cold": cold, "hits": hits, "dolfin": dolfin}[sys.argv[1]](*sys.argv[2:])
if rank == 0:
    print(json.dumps(result))
