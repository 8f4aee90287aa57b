# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes the C++ code of a form, and of the element and coordinate mapping modules it depends on.

    generate.py UFL_FILE NAME DIRECTORY

The form is the first one in UFL_FILE; its module is called NAME. Each module becomes NAME.h and NAME.cpp in DIRECTORY. The file
"modules" has a line for each: its name, then the names of the modules it depends on.
"""
import pathlib
import sys

import ufl
from ffc.compiler import compile_coordinate_mapping, compile_element, compile_form
from ffc.jitcompiler import compute_jit_prefix
from ffc.log import set_level
from ffc.parameters import validate_jit_parameters


def compiler_of(ufl_object):
    if isinstance(ufl_object, ufl.Form):
        return compile_form
    if isinstance(ufl_object, ufl.Mesh):
        return compile_coordinate_mapping
    return compile_element


def write_module(ufl_object, name, directory, parameters, modules):
    """Write a module and its dependencies; `modules` maps the names of modules already written to their dependencies."""
    header, code, dependencies = compiler_of(ufl_object)(ufl_object, prefix=name, parameters=parameters, jit=True)
    (directory / f"{name}.h").write_text(header)
    (directory / f"{name}.cpp").write_text(code)
    # FFC has already written these names into the code above.
    named = [
        (compute_jit_prefix(dependency, parameters)[1], dependency)
        for kind in ("element", "coordinate_mapping")
        for dependency in dependencies[kind]
    ]
    modules[name] = [dependency_name for dependency_name, _ in named]
    for dependency_name, dependency in named:
        if dependency_name not in modules:
            write_module(dependency, dependency_name, directory, parameters, modules)


def main(ufl_file, name, directory):
    parameters = validate_jit_parameters(None)
    set_level(parameters["log_level"])
    form = ufl.algorithms.load_ufl_file(ufl_file).forms[0]
    modules = {}
    directory = pathlib.Path(directory)
    write_module(form, name, directory, parameters, modules)
    lines = [" ".join([module, *dependencies]) for module, dependencies in modules.items()]
    (directory / "modules").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
