# SPDX-License-Identifier: MIT OR Apache-2.0
"""Asks this library for modules, from Python through ctypes.

    ctypes_host.py LIBRARY CACHE SOURCES MODULE...   the first call, and each of the others; `built` says how many were built
    ctypes_host.py dolfin LIBRARY CACHE SOURCES MODULE...   the same after `import dolfin`, as in a program of DOLFIN

Prints JSON like `pydijitso.py hits`. Parameters are made once for each kind of module, before the calls.
"""
import ctypes
import json
import pathlib
import sys
import time

if sys.argv[1] == "dolfin":
    del sys.argv[1]
    import dolfin  # noqa: F401  (the libraries of Expressions need its library)

library, cache, sources, *names = sys.argv[1:]
sources = pathlib.Path(sources)
here = ctypes.CDLL(library)
Handle = ctypes.c_void_p
Generate = ctypes.CFUNCTYPE(ctypes.c_int32, Handle, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, Handle)


class Callbacks(ctypes.Structure):
    """The first fields of dijitso_callbacks; `struct_size` says how many."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("user_data", Handle), ("generate", Generate)]


out = ctypes.POINTER(Handle)
here.dijitso_error_message.restype = ctypes.c_char_p
for name, *arguments in (
        ("params_new", out, out), ("params_set", Handle, ctypes.c_char_p, ctypes.c_char_p, out), ("error_message", Handle),
        ("jit", ctypes.c_char_p, Handle, ctypes.POINTER(Callbacks), Handle, out, out), ("library_origin", Handle),
        ("library_free", Handle), ("source_set_code", Handle, ctypes.c_char_p, ctypes.c_size_t),
        ("source_set_header", Handle, ctypes.c_char_p, ctypes.c_size_t), ("source_add_dependency", Handle, ctypes.c_char_p)):
    getattr(here, f"dijitso_{name}").argtypes = arguments


def check(status, error):
    if status:
        sys.exit(here.dijitso_error_message(error).decode())


def params_of(kind):
    params, error = Handle(), Handle()
    check(here.dijitso_params_new(ctypes.byref(params), ctypes.byref(error)), error)
    lines = [f"cache.cache_dir={cache}", *(sources / f"{kind}.params").read_text().splitlines()]
    for key, value in (line.split("=", 1) for line in lines):
        # Other workloads only build the modules of DOLFIN.
        if key != "cache.lib_loader":
            check(here.dijitso_params_set(params, key.encode(), value.encode(), ctypes.byref(error)), error)
    return params


def generator_of(name, extension, dependencies):
    code = (sources / f"{name}{extension}").read_bytes()
    header = sources / f"{name}.h"
    header = header.read_bytes() if header.exists() else None

    def generate(_data, _name, _signature, _generator, source):
        here.dijitso_source_set_code(source, code, len(code))
        if header is not None:
            here.dijitso_source_set_header(source, header, len(header))
        for dependency in dependencies:
            here.dijitso_source_add_dependency(source, dependency.encode())
        return 0

    return Callbacks(Callbacks.generate.offset + Callbacks.generate.size, None, Generate(generate))


def call(name, params, callbacks):
    loaded, error = Handle(), Handle()
    start = time.perf_counter()
    check(here.dijitso_jit(name, params, callbacks, None, ctypes.byref(loaded), ctypes.byref(error)), error)
    seconds = time.perf_counter() - start
    built = here.dijitso_library_origin(loaded) == 2
    here.dijitso_library_free(loaded)
    return seconds, built


kinds, calls = {}, []
lines = dict((line.split()[0], line.split()[1:]) for line in (sources / "modules").read_text().splitlines())
for name in names:
    kind, extension, *dependencies = lines[name]
    if kind not in kinds:
        kinds[kind] = params_of(kind)
    calls.append((name.encode(), kinds[kind], generator_of(name, extension, dependencies)))
found = [call(*one) for one in calls]
print(json.dumps({"first": found[0][0], "each": [seconds for seconds, _ in found[1:]],
                  "built": sum(built for _, built in found)}))
