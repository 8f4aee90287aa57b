# SPDX-License-Identifier: MIT OR Apache-2.0
"""Building of shared libraries."""

import os
import tempfile
from ctypes import c_char_p

from dijitso import _native
from dijitso._errors import DijitsoError
from dijitso.cache import create_lib_filename, read_log
from dijitso.jit import build
from dijitso.params import native
from dijitso.str import as_unicode

__all__ = ["build_shared_library", "make_compile_command", "make_unique", "temp_dir"]


def make_unique(dirs):
    """Returns a tuple of the items of a sequence, each once, in their order."""
    return tuple(dict.fromkeys(dirs))


def make_compile_command(src_filename, lib_filename, dependencies, build_params, cache_params):
    """Returns the command that compiles a source to a library, as a list of words. Makes no directory."""
    signature = "signature"
    dependencies = [_native.utf8(dependency) for dependency in dependencies]
    words = []

    def visit(_user_data, word):
        words.append(os.fsdecode(word))
        return 0

    with native({"cache": cache_params, "build": build_params}) as handle:
        _native.call("dijitso_build_command", handle, signature.encode(), (c_char_p * len(dependencies))(*dependencies),
                     len(dependencies), _native.TEXT_FN(visit), None)
    source = signature + cache_params["src_postfix"]
    library = os.path.basename(create_lib_filename(signature, cache_params))
    return [src_filename if word == source else lib_filename if word == library else word for word in words]


def temp_dir(cache_params):
    """Makes a directory with a unique name, in ``temp_dir_root`` if that is given, and returns its path. The caller
    removes it."""
    return tempfile.mkdtemp(prefix="dijitso-", dir=cache_params.get("temp_dir_root"))


def build_shared_library(signature, header, source, dependencies, params):
    """Builds a library of the cache, without loading it.

    Returns ``(status, output, lib_filename, err_info)``: 0, the output, the path and None; or another status, the
    compiler's output, None and the paths of what reproduces the failure.
    """
    # A library of this name that was built from another source is built again.
    only_build = {**params, "cache": {**params["cache"], "lib_loader": "import", "check_source": "rebuild"}}
    path = create_lib_filename(signature, params["cache"])
    try:
        build(signature, (header, source, dependencies), only_build)
    except DijitsoError as problem:
        return problem.status, problem.log or as_unicode(str(problem)), None, problem.err_info
    return 0, read_log(signature, params["cache"]) or "", path, None
