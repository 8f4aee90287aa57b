# SPDX-License-Identifier: MIT OR Apache-2.0
"""The declarations of C functions are those of the header."""

import ctypes
import os
import re

import pytest
from conftest import PACKAGE

from dijitso import _native, plan

HEADER = os.path.join(os.path.dirname(PACKAGE), "include", "dijitso.h")
NUMBERS = {"int32_t": ctypes.c_int32, "dijitso_status": ctypes.c_int32, "size_t": ctypes.c_size_t, "uint64_t": ctypes.c_uint64,
           "int64_t": ctypes.c_int64, "dijitso_node": ctypes.c_int64, "double": ctypes.c_double, "void": None}
STRUCTURES = {"dijitso_callbacks": _native.Callbacks, "dijitso_plan_module": plan._Module, "dijitso_plan_task": plan._Task,
              "dijitso_event": plan._Event, "dijitso_make_options": plan._Options, "dijitso_node_info": plan._Info}


def header():
    with open(HEADER) as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)


def kind(text):
    """Returns the type of a number for the declaration of a parameter or field, or "address"."""
    text = text.strip().replace("const ", "")
    word = text.split()[0]
    return "address" if "*" in text or word.endswith("_fn") else NUMBERS[word]


def declared(type_):
    if type_ is None or type_ in NUMBERS.values():
        return type_
    assert ctypes.sizeof(type_) == ctypes.sizeof(ctypes.c_void_p)
    return "address"


@pytest.mark.parametrize("name", sorted(_native._FUNCTIONS))
def test_a_declaration_is_that_of_the_header(name):
    found = re.search(r"^([a-z_0-9 ]+?[ *]+)%s\(([^;]*)\);" % name, header(), flags=re.M)
    assert found, "the header has no such function"
    parameters = [kind(text) for text in found[2].split(",") if text.strip() != "void"]
    result, arguments = _native._FUNCTIONS[name]
    assert [declared(type_) for type_ in arguments] == parameters
    assert declared(result) == kind(found[1])


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_a_structure_is_that_of_the_header(name):
    body = re.search(r"typedef struct %s \{(.*?)\} %s;" % (name, name), header(), flags=re.S)[1]
    fields = [re.fullmatch(r"(.*?)(\w+)", text.strip(), flags=re.S).groups() for text in body.split(";") if text.strip()]
    assert [field for field, _ in STRUCTURES[name]._fields_] == [field for _, field in fields]
    assert [declared(type_) for _, type_ in STRUCTURES[name]._fields_] == [kind(text) for text, _ in fields]


def test_the_functions_of_this_package_are_in_the_library():
    for name in _native._FUNCTIONS:
        getattr(_native.library(), name)
    with pytest.raises(AttributeError):
        _native.library().dijitso_no_such_function


def test_a_library_that_is_not_there_is_an_import_error(python):
    output = python("import dijitso; dijitso.validate_params({})", env={"DIJITSO_LIBRARY": "/no/such/libdijitso.so"}, status=1)
    assert "ImportError" in output and "/no/such/libdijitso.so" in output and "DIJITSO_LIBRARY" in output


def test_another_library_is_an_import_error(python):
    output = python("import dijitso; dijitso.validate_params({})", env={"DIJITSO_LIBRARY": "libm.so.6"}, status=1)
    assert "ImportError" in output and "older" in output
