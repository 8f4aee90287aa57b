# SPDX-License-Identifier: MIT OR Apache-2.0
"""Building of shared libraries."""

import os
import tempfile
from ctypes import c_char_p
from typing import Any, Dict, Hashable, Iterable, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from dijitso import _native
from dijitso._errors import DijitsoError
from dijitso.cache import create_lib_basename, create_lib_filename, create_src_basename, read_log
from dijitso.jit import build
from dijitso.params import native
from dijitso.str import as_unicode

__all__ = ["build_shared_library", "make_compile_command", "make_unique", "temp_dir"]


# The sum of all categories of files.
_ALL = 1 + 2 + 4 + 8

_Item = TypeVar("_Item", bound=Hashable)


def make_unique(dirs: Iterable[_Item]) -> Tuple[_Item, ...]:
    """Returns a tuple of the items of a sequence, each once, in their order."""
    return tuple(dict.fromkeys(dirs))


def make_compile_command(src_filename: str, lib_filename: str, dependencies: Iterable[str],
                         build_params: Mapping[str, Any], cache_params: Mapping[str, Any]) -> List[str]:
    """Returns the command that compiles a source to a library, as a list of words. Makes no directory."""
    signature = "signature"
    needed = [_native.utf8(dependency) for dependency in dependencies]
    words: List[str] = []

    def visit(_user_data: Any, word: bytes) -> int:
        words.append(os.fsdecode(word))
        return 0

    with native({"cache": cache_params, "build": build_params}) as handle:
        _native.call("dijitso_build_command", handle, signature.encode(), (c_char_p * len(needed))(*needed),
                     len(needed), _native.TEXT_FN(visit), None)
    source = create_src_basename(signature, cache_params)
    library = create_lib_basename(signature, cache_params)
    # The name by which other libraries need it.
    name = "$ORIGIN/" + os.path.basename(lib_filename)
    return [src_filename if word == source else lib_filename if word == library
            else word.replace("$ORIGIN/" + library, name) for word in words]


def temp_dir(cache_params: Mapping[str, Any]) -> str:
    """Makes a directory with a unique name, in ``temp_dir_root`` if that is given, and returns its path. The caller
    removes it."""
    return tempfile.mkdtemp(prefix="dijitso-", dir=cache_params.get("temp_dir_root"))


def build_shared_library(signature: str, header: Union[str, bytes, None], source: Union[str, bytes],
                         dependencies: Sequence[str], params: Mapping[str, Any]
                         ) -> Tuple[int, str, Optional[str], Optional[Dict[str, str]]]:
    """Builds a library of the cache, without loading it. One of this signature that is there is replaced.

    Returns ``(status, output, lib_filename, err_info)``: 0, the output, the path and None; or another status, the
    compiler's output, None and the paths of what reproduces the failure.
    """
    only_build = {**params, "cache": {**params["cache"], "lib_loader": "import"}}
    path = create_lib_filename(signature, params["cache"])
    try:
        if os.path.exists(path):
            with native(only_build) as handle:
                _native.call("dijitso_cache_remove", handle, signature.encode(), _ALL, _native.TEXT_FN(lambda *_: 0), None)
        build(signature, (header, source, dependencies), only_build)
    except DijitsoError as problem:
        return problem.status, problem.log or as_unicode(str(problem)), None, problem.err_info
    return 0, read_log(signature, params["cache"]) or "", path, None
