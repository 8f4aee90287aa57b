# SPDX-License-Identifier: MIT OR Apache-2.0
"""Python objects of loaded libraries: one for each file, the same at each call. Not public."""

import ctypes
import importlib.util
import os
import re
import sys
from ctypes import byref, c_void_p
from typing import Any, Dict

from dijitso import _native
from dijitso.log import debug, warning

# Path, handle and loader of a library: its module. A library that was built again has another handle.
_modules: Dict[Any, Any] = {}


def from_library(library, loader, basename):
    """Returns the module of a library of C, and drops the library. The code stays loaded.

    ``loader`` is "ctypes" for a ctypes.CDLL, or "import" for an extension module of Python, whose name is ``basename``.
    """
    lib = _native.library()
    try:
        path = lib.dijitso_library_path(library)
        handle = lib.dijitso_library_handle(library)
        module = _modules.get((path, handle, loader))
        if module is None:
            name = os.fsdecode(path)
            if loader == "import":
                module = _import(name, basename)
            else:
                module = ctypes.CDLL(name, handle=handle)
            _modules[path, handle, loader] = module
        return module
    finally:
        lib.dijitso_library_free(library)


def _import(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError("%s is no extension module: its name has to end in .so" % path)
    module = importlib.util.module_from_spec(spec)
    # As for any module, the name is known while it is executed, and gone if that fails.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def open_library(signature, cache_params, params):
    """Returns the module of a library of the cache. None if there is none, or if it cannot be loaded, with a warning.

    ``params`` are the parameters of C.
    """
    lib, library, failure = _native.library(), c_void_p(), c_void_p()
    status = lib.dijitso_library_open(params, _native.utf8(signature), byref(library), byref(failure))
    if status == _native.CACHE:
        error = _native.take_error(failure)
        path = library_path(signature, cache_params)
        if os.path.exists(path):
            warning("%s", analyse_load_error(error, path, cache_params))
        else:
            debug("File %s does not exist", path)
        return None
    if status == _native.LOAD:
        error = _native.take_error(failure)
        warning("%s", analyse_load_error(error, library_path(signature, cache_params), cache_params))
        return None
    _native.check(status, failure)
    module = from_library(library, cache_params["lib_loader"], signature)
    debug("Loaded %s from %s", signature, library_path(signature, cache_params))
    return module


def library_path(signature, cache_params):
    """Returns the path of a library."""
    name = cache_params["lib_prefix"] + cache_params["lib_basename"] + signature + cache_params["lib_postfix"]
    return os.path.join(cache_params["cache_dir"], cache_params["lib_dir"], name)


def analyse_load_error(e, lib_filename, cache_params):
    """Returns a text that says which library could not be loaded, and whether a file or a dependency is missing."""
    reason = str(e)
    start = re.escape(cache_params["lib_prefix"] + cache_params["lib_basename"])
    end = re.escape(cache_params["lib_postfix"])
    directory = os.path.join(cache_params["cache_dir"], cache_params["lib_dir"])
    named = [os.path.join(directory, name) for name in re.findall("(?<![^\\s/'\"(])(%s[^/\\s:]*%s)" % (start, end), reason)]
    others = [name for name in named if os.path.basename(name) != os.path.basename(lib_filename)] if start else []
    if others:
        state = "exists" if os.path.exists(others[0]) else "is missing"
        return ("dijitso failed to load library:\n\t%s\nits dependency %s:\n\t%s\nerror is:\n\t%s"
                % (lib_filename, state, others[0], reason))
    state = "existing" if os.path.exists(lib_filename) else "missing"
    return "dijitso failed to load %s file:\n\t%s\nerror is:\n\t%s" % (state, lib_filename, reason)
