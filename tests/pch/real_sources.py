# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes sources as FFC and FFCx write them, of the forms of the benchmarks. What is not installed is left out.

    real_sources.py DIRECTORY

DIRECTORY/modules has a line for each: PART DIRECTORY_OF_HEADERS NAME EXTENSION DEPENDENCIES..., each module after those
it depends on; or "left-out PART: WHY".
"""
import logging
import pathlib
import subprocess
import sys

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "benches" / "sources"


def write_ffc(directory, lines):
    import ffc
    import ufl
    from ffc.compiler import compile_coordinate_mapping, compile_element, compile_form
    from ffc.jitcompiler import compute_jit_prefix
    from ffc.log import set_level
    from ffc.parameters import validate_jit_parameters

    set_level(logging.ERROR)
    parameters = validate_jit_parameters(None)
    compilers = {ufl.Form: compile_form, ufl.Mesh: compile_coordinate_mapping}
    names = set()

    def write(ufl_object, name):
        compiler = compilers.get(type(ufl_object), compile_element)
        header, code, dependencies = compiler(ufl_object, prefix=name, parameters=parameters, jit=True)
        (directory / f"{name}.h").write_text(header)
        (directory / f"{name}.cpp").write_text(code)
        needed = []
        for dependency in dependencies["element"] + dependencies["coordinate_mapping"]:
            # FFC has already written these names into the code above.
            needed.append(compute_jit_prefix(dependency, parameters)[1])
            if needed[-1] not in names:
                names.add(needed[-1])
                write(dependency, needed[-1])
        lines.append(" ".join(["ffc", ffc.get_include_path(), name, ".cpp", *dict.fromkeys(needed)]))

    # Its stiffness matrix, with the elements and the mapping that this needs.
    write(ufl.algorithms.load_ufl_file(str(SOURCES / "Poisson.py")).forms[0], "ffc_form_a")


def write_ffcx(directory, lines):
    import ffcx.codegeneration

    for name, form in (("ffcx_stiffness", "inner(grad(u), grad(v)) * dx"), ("ffcx_mass", "u * v * dx")):
        source = directory / f"{name}.py"
        source.write_text((SOURCES / "Forms.py").read_text().replace("FORM", form))
        subprocess.run([sys.executable, "-m", "ffcx", "-o", directory, source], check=True, capture_output=True)
        lines.append(f"ffcx {ffcx.codegeneration.get_include_path()} {name} .c")


def main(directory):
    directory = pathlib.Path(directory)
    lines = []
    for name, write in (("ffc", write_ffc), ("ffcx", write_ffcx)):
        try:
            write(directory, lines)
        except ImportError as error:
            lines.append(f"left-out {name}: {error}")
    (directory / "modules").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
