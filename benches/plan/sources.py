# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes sources that FFC and FFCx generate, and a plan file of them.

    sources.py DIRECTORY COUNT

Half of the modules are in C, a form each, by FFCx; the others in C++, by FFC: forms, and the elements and dofmaps that they are linked
to. DIRECTORY/plan.toml builds all of them.
"""
import importlib.util
import itertools
import json
import logging
import pathlib
import sys

import ffc
import ffcx.codegeneration
import ufl
from ffc.log import set_level
from ffc.parameters import validate_jit_parameters
from ffcx.compiler import compile_ufl_objects
from ffcx.parameters import get_parameters

HERE = pathlib.Path(__file__).resolve().parent


def generator():
    """The script of the other workloads."""
    spec = importlib.util.spec_from_file_location("generate", HERE.parent / "sources/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forms():
    """Forms on all cells, with elements of two families and some degrees."""
    cells = (ufl.triangle, ufl.tetrahedron, ufl.quadrilateral, ufl.interval)
    for degree, cell, family in itertools.product((1, 2, 3), cells, ("Lagrange", "Discontinuous Lagrange")):
        if cell == ufl.quadrilateral and family != "Lagrange":
            continue
        element = ufl.FiniteElement(family, cell, degree)
        for space in [element] + [ufl.VectorElement(family, cell, degree)] * (cell != ufl.interval):
            # FFCx makes names of these numbers, which would otherwise count all functions.
            u, v, f = ufl.TrialFunction(space), ufl.TestFunction(space), ufl.Coefficient(space, count=0)
            c = ufl.Constant(cell, count=0)
            yield ufl.inner(u, v) * ufl.dx
            yield c * ufl.inner(f, v) * ufl.ds
            yield ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
            yield c * ufl.inner(ufl.grad(f), ufl.grad(v)) * ufl.dx
            yield ufl.inner(ufl.grad(f), ufl.grad(f)) * ufl.dx


def by_ffcx(count, directory):
    """Write a module for each form; return their names."""
    names, parameters = [], get_parameters()
    for number, form in zip(range(count), forms()):
        names.append(f"ffcx_many_{number}")
        header, code = compile_ufl_objects([form], object_names={}, prefix=names[-1], parameters=parameters)
        (directory / f"{names[-1]}.h").write_text(header)
        (directory / f"{names[-1]}.c").write_text(code)
    return names


def by_ffc(generate, count, directory):
    """Write `count` modules. Return their names, each after those that it needs, with the names of those."""
    modules, parameters = {}, validate_jit_parameters(None)
    for number, form in enumerate(generate.forms()):
        if len(modules) >= count:
            break
        generate.write_ffc(form, f"ffc_many_{number}", directory, parameters, modules)
    return {name: words[2:] for name, words in list(modules.items())[:count]}


def quoted(text):
    return json.dumps(str(text))


def main(directory, count):
    directory, count = pathlib.Path(directory), int(count)
    directory.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)
    set_level(logging.WARNING)
    generate = generator()
    lines = ["[plan]", 'name = "modules"', ""]
    for name in by_ffcx(count // 2, directory):
        include, flags = quoted(ffcx.codegeneration.get_include_path()), quoted("-Wall -shared -fPIC -std=c17")
        lines += ["[[module]]", f'source = "{name}.c"',
                  f'params = {{ "build.include_dirs" = {include}, "build.cflags" = {flags}, "build.cflags_opt" = "-O2" }}', ""]
    for name, needs in by_ffc(generate, count - count // 2, directory).items():
        # The names of the files are in their text.
        lines += ["[[module]]", f'source = "{name}.cpp"', f'header = "{name}.h"', 'key = "name"', f"needs = {json.dumps(needs)}",
                  f'params = {{ "cache.signature" = "name", "build.include_dirs" = {quoted(ffc.get_include_path())}, '
                  '"build.cxxflags_opt" = "-O2" }', ""]
    (directory / "plan.toml").write_text("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
