# SPDX-License-Identifier: MIT OR Apache-2.0
"""Measures FFCx's own just-in-time compiler, which uses cffi, on the form that the suite gives to dijitso.

    ffcx_cffi.py CACHE FORM_FILE [OPTIMISATION...]

Prints JSON: seconds of code generation, of compiling and loading (with an empty cache if CACHE is empty), and of a second call for
the same form in the same process. FFCx has only a cache on disk.
"""
import json
import sys
import time

import ffcx.codegeneration.jit
import ffcx.compiler
import ufl

cache, form_file, *flags = sys.argv[1:]
form = ufl.algorithms.load_ufl_file(form_file).forms[0]
generation = []
plain = ffcx.compiler.compile_ufl_objects


def timed(*arguments, **named):
    start = time.perf_counter()
    made = plain(*arguments, **named)
    generation.append(time.perf_counter() - start)
    return made


ffcx.compiler.compile_ufl_objects = timed
seconds = []
for _ in range(2):
    start = time.perf_counter()
    ffcx.codegeneration.jit.compile_forms([form], cache_dir=cache, cffi_extra_compile_args=flags)
    seconds.append(time.perf_counter() - start)
print(json.dumps({"generation": sum(generation), "first": seconds[0] - sum(generation), "again": seconds[1],
                  "cold": bool(generation)}))
