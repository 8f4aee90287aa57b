# SPDX-License-Identifier: MIT OR Apache-2.0
"""The cache on disk: names of files, reading, writing, searching, cleaning.

``cache_params`` is section "cache" of validated parameters. Categories are "inc", "src", "lib" and "log".
"""

import glob
import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Pattern, Sequence, Union

from dijitso import _modules, _native
from dijitso._errors import DijitsoError
from dijitso.log import error, warning
from dijitso.params import native

__all__ = ["analyse_load_error", "check_cache_integrity", "clean_cache", "compress_source_code", "create_fail_dir_path",
           "create_inc_basename", "create_inc_filename", "create_lib_basename", "create_lib_filename", "create_libname",
           "create_log_filename", "create_src_basename", "create_src_filename", "ensure_dirs", "extract_files",
           "extract_function", "extract_lib_signatures", "get_dijitso_dependencies", "glob_cache", "grep_cache",
           "load_library", "lookup_lib", "make_inc_dir", "make_lib_dir", "make_log_dir", "make_src_dir", "read_inc",
           "read_library_binary", "read_log", "read_src", "report_cache_integrity", "store_inc", "store_log", "store_src",
           "write_library_binary"]

#: Section "cache" of parameters.
Params = Mapping[str, Any]

_CATEGORIES = {"inc": 1, "src": 2, "lib": 4, "log": 8}

analyse_load_error = _modules.analyse_load_error


def _system() -> Any:
    # It imports much, and a program that only makes calls needs none of it.
    from dijitso import system
    return system


def _sum(categories: Iterable[str]) -> int:
    try:
        return sum(_CATEGORIES[category] for category in set(categories))
    except KeyError as problem:
        error("unknown category %s: categories are inc, src, lib and log", problem)


def _check_signature(signature: str) -> str:
    """Refuses a signature that leads out of the cache."""
    if not signature or "/" in signature or signature in (".", ".."):
        raise ValueError("%r is no signature" % (signature,))
    return signature


def _basename(kind: str, signature: str, cache_params: Params) -> str:
    get = cache_params.get
    return "".join((get(kind + "_prefix") or "", get(kind + "_basename") or "", _check_signature(signature),
                    get(kind + "_postfix") or ""))


def _filename(kind: str, signature: str, cache_params: Params) -> str:
    return os.path.join(_dir(kind, cache_params), _basename(kind, signature, cache_params))


def _dir(kind: str, cache_params: Params) -> str:
    return os.path.join(cache_params["cache_dir"], cache_params[kind + "_dir"])


def create_inc_basename(signature: str, cache_params: Params) -> str:
    """Returns the name of a header."""
    return _basename("inc", signature, cache_params)


def create_inc_filename(signature: str, cache_params: Params) -> str:
    """Returns the path of a header."""
    return _filename("inc", signature, cache_params)


def create_src_basename(signature: str, cache_params: Params) -> str:
    """Returns the name of a source; that of a compressed one ends in ``.gz`` besides."""
    return _basename("src", signature, cache_params)


def create_src_filename(signature: str, cache_params: Params) -> str:
    """Returns the path of a source; that of a compressed one ends in ``.gz`` besides."""
    return _filename("src", signature, cache_params)


def create_lib_basename(signature: str, cache_params: Params) -> str:
    """Returns the name of a library."""
    return _basename("lib", signature, cache_params)


def create_lib_filename(signature: str, cache_params: Params) -> str:
    """Returns the path of a library."""
    return _filename("lib", signature, cache_params)


def create_libname(signature: str, cache_params: Params) -> str:
    """Returns the name of a library as a linker takes it, without "lib" before it and ".so" after it."""
    return cache_params["lib_basename"] + _check_signature(signature)


def create_log_filename(signature: str, cache_params: Params) -> str:
    """Returns the path of the log of a build."""
    return _filename("log", signature, cache_params)


def create_fail_dir_path(signature: str, cache_params: Params) -> str:
    """Returns the path of the folder that reproduces a failed build."""
    root = cache_params.get("fail_dir_root") or cache_params["cache_dir"]
    return os.path.abspath(os.path.join(root, "jitfailure-" + _check_signature(signature)))


def ensure_dirs(cache_params: Params) -> None:
    """Makes the directories of the cache, where they are missing. They are those of this user alone."""
    with native({"cache": cache_params}) as handle:
        _native.call("dijitso_cache_make_dirs", handle)


def _make_dir(kind: str, cache_params: Params) -> str:
    ensure_dirs(cache_params)
    return _dir(kind, cache_params)


def make_inc_dir(cache_params: Params) -> str:
    """Makes the directories of the cache. Returns that of headers."""
    return _make_dir("inc", cache_params)


def make_src_dir(cache_params: Params) -> str:
    """Makes the directories of the cache. Returns that of sources."""
    return _make_dir("src", cache_params)


def make_lib_dir(cache_params: Params) -> str:
    """Makes the directories of the cache. Returns that of libraries."""
    return _make_dir("lib", cache_params)


def make_log_dir(cache_params: Params) -> str:
    """Makes the directories of the cache. Returns that of logs."""
    return _make_dir("log", cache_params)


def read_inc(signature: str, cache_params: Params) -> Optional[str]:
    """Returns the text of a header; None if there is none."""
    return _system().read_textfile(create_inc_filename(signature, cache_params))


def read_src(signature: str, cache_params: Params) -> Optional[str]:
    """Returns the text of a source; None if there is none."""
    return _system().read_textfile(create_src_filename(signature, cache_params))


def read_log(signature: str, cache_params: Params) -> Optional[str]:
    """Returns the log of a build; None if there is none."""
    return _system().read_textfile(create_log_filename(signature, cache_params))


def _store(kind: str, signature: str, content: Union[str, bytes], cache_params: Params) -> str:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    # As it is: only a build compresses sources.
    with native({"cache": {**cache_params, "src_storage": "keep"}}) as handle:
        _native.call("dijitso_cache_store", handle, signature.encode(), _CATEGORIES[kind], data, len(data))
    return _filename(kind, signature, cache_params)


def store_inc(signature: str, content: Union[str, bytes], cache_params: Params) -> str:
    """Stores a header, and returns its path. That of a library that is built cannot be replaced."""
    return _store("inc", signature, content, cache_params)


def store_src(signature: str, content: Union[str, bytes], cache_params: Params) -> str:
    """Stores a source, and returns its path. That of a library that is built cannot be replaced."""
    return _store("src", signature, content, cache_params)


def store_log(signature: str, content: Union[str, bytes], cache_params: Params) -> str:
    """Stores a log, and returns its path."""
    return _store("log", signature, content, cache_params)


def compress_source_code(src_filename: str, cache_params: Params) -> Optional[str]:
    """Keeps, deletes or compresses a source, as ``src_storage`` says. Returns the path that is left, or None."""
    storage = cache_params["src_storage"]
    if storage == "keep":
        return src_filename
    if storage == "delete":
        _system().try_delete_file(src_filename)
        return None
    if storage == "compress":
        # One that is left from before may be that of another source.
        _system().try_delete_file(src_filename + ".gz")
        compressed = _system().gzip_file(src_filename)
        _system().try_delete_file(src_filename)
        return compressed
    error("Invalid src_storage parameter %r: it is 'keep', 'delete' or 'compress'.", storage)


def read_library_binary(lib_filename: str) -> Any:
    """Returns the bytes of a library as a numpy array: for one of a cache with all that it needs, as
    :func:`write_library_binary` takes it, else those of the file."""
    import numpy
    directory, name = os.path.split(os.path.abspath(lib_filename))
    root, lib_dir = os.path.split(directory)
    for prefix, basename in ("lib", "dijitso-"), ("", ""):
        begin = prefix + basename
        if name.startswith(begin) and name.endswith(".so"):
            place = {"cache_dir": root, "lib_dir": lib_dir, "lib_prefix": prefix, "lib_basename": basename}
            with _native.Blob() as blob, native({"cache": place}) as handle:
                try:
                    _native.call("dijitso_cache_read_binary", handle, name[len(begin):-len(".so")].encode(), blob.handle)
                except DijitsoError:
                    continue
                return numpy.frombuffer(blob.bytes(), dtype=numpy.uint8).copy()
    return numpy.fromfile(lib_filename, dtype=numpy.uint8)


def write_library_binary(lib_data: Any, signature: str, cache_params: Params) -> None:
    """Stores a library from its bytes: those of :func:`read_library_binary`, or those that ``send`` gets in a call.

    The file appears in one step. Raises DijitsoError for bytes that are no library with this signature.
    """
    data = lib_data.tobytes() if hasattr(lib_data, "tobytes") else bytes(lib_data)
    with native({"cache": cache_params}) as handle:
        _native.call("dijitso_cache_write_binary", handle, signature.encode(), data, len(data))


def load_library(signature: str, cache_params: Params) -> Any:
    """Returns the module of a library on disk. None if there is none, or, with a warning, if it cannot be loaded."""
    with native({"cache": cache_params}) as handle:
        return _modules.open_library(signature, cache_params, handle)


def lookup_lib(lib_signature: str, cache_params: Params) -> Any:
    """Returns the module of a library in memory or on disk, as :func:`load_library` does."""
    return load_library(lib_signature, cache_params)


def glob_cache(cache_params: Params, categories: Iterable[str] = ("inc", "src", "lib", "log")) -> Dict[str, List[str]]:
    """Returns a dictionary of the sorted paths of all files, by category."""
    _sum(categories)
    return {kind: sorted(glob.glob(os.path.join(glob.escape(_dir(kind, cache_params)), "*"))) for kind in categories}


def extract_lib_signatures(cache_params: Params) -> List[str]:
    """Returns the sorted signatures of all libraries."""
    begin, end = _basename("lib", "\n", cache_params).split("\n")
    names = [os.path.basename(path) for path in glob_cache(cache_params, ["lib"])["lib"]]
    return [name[len(begin):len(name) - len(end)] for name in names
            if name.startswith(begin) and name.endswith(end) and len(name) > len(begin) + len(end)]


def grep_cache(regex: Pattern[str], cache_params: Params, linenumbers: bool = False, countonly: bool = False,
               signature: Optional[str] = None, categories: Iterable[str] = ("inc", "src", "log")) -> Dict[str, Any]:
    """Searches the files of the cache for lines that begin with a match of ``regex``, a compiled expression.

    Returns a dictionary: for each file with matches its lines; with ``linenumbers`` pairs of a number, from 1 on, and a
    line; with ``countonly`` their number. Of a library the lines are those of ``ldd``, and the paths are matched. With
    ``signature`` only the files of that library are searched.
    """
    found: Dict[str, Any] = {}
    lines: List[Any]
    for kind, files in glob_cache(cache_params, categories).items():
        for file in files:
            if signature is not None and not os.path.basename(file).startswith(_basename(kind, signature, cache_params)):
                continue
            if kind == "lib":
                needed = sorted((name, path) for name, path in _system().ldd(file).items() if path)
                lines = [(number, "%s => %s" % pair) for number, pair in enumerate(needed, 1) if regex.match(str(pair[1]))]
            else:
                text = enumerate((_system().read_textfile(file) or "").splitlines(), 1)
                lines = [(number, line) for number, line in text if regex.match(line)]
            if lines and not countonly:
                found[file] = lines if linenumbers else [line for _, line in lines]
            elif lines:
                found[file] = len(lines)
    return found


def extract_function(lines: Iterable[str]) -> str:
    """Returns the text of the function that begins in the first of ``lines``, to the brace that ends it."""
    depth, begun, taken = 0, False, []
    for line in lines:
        taken.append(line)
        depth += line.count("{") - line.count("}")
        begun = begun or "{" in line
        if begun and depth <= 0:
            break
        if not begun and ";" in line:
            break
    return "\n".join(line.rstrip("\r\n") for line in taken)


def extract_files(signature: str, cache_params: Params, prefix: str = "", path: str = os.curdir,
                  categories: Iterable[str] = ("inc", "src", "lib", "log")) -> str:
    """Copies the files of a library to the directory ``path/prefix+signature``, uncompressed. Returns that directory.

    Raises DijitsoError if the cache has none of them.
    """
    directory = os.path.join(path, prefix + _check_signature(signature))
    with native({"cache": cache_params}) as handle:
        _native.call("dijitso_cache_extract", handle, signature.encode(), _sum(categories),
                     os.fsencode(os.path.abspath(directory)), 1, _native.TEXT_FN(), None)
    return directory


def clean_cache(cache_params: Params, dryrun: bool = True, categories: Iterable[str] = ("inc", "src", "lib", "log")) -> None:
    """Removes the files of all libraries, in these categories. With ``dryrun`` only prints what would be removed."""

    def show(_user_data: Any, path: bytes) -> int:
        if dryrun:
            print("rm %s" % os.fsdecode(path))
        return 0

    with native({"cache": cache_params}) as handle:
        _native.call("dijitso_cache_clean", handle, _sum(categories), int(bool(dryrun)), _native.TEXT_FN(show), None)


def get_dijitso_dependencies(libname: str, cache_params: Params) -> Dict[str, Optional[str]]:
    """Returns a dictionary of the libraries of the cache that a library needs: names, and paths or None."""
    begin, end = _basename("lib", "\n", cache_params).split("\n")
    return {name: path for name, path in _system().ldd(libname).items() if name.startswith(begin) and name.endswith(end)
            and (begin or path is None or os.path.dirname(path) == os.path.dirname(os.path.abspath(libname)))}


def check_cache_integrity(cache_params: Params) -> Dict[str, List[str]]:
    """Returns a dictionary: for each library that needs others that are missing, their names."""
    missing = {}
    for library in glob_cache(cache_params, ["lib"])["lib"]:
        if not library.endswith(cache_params["lib_postfix"]):
            continue
        lost = [name for name, path in get_dijitso_dependencies(library, cache_params).items()
                if path is None and not os.path.exists(os.path.join(_dir("lib", cache_params), name))]
        if lost:
            missing[library] = sorted(lost)
    return missing


def report_cache_integrity(dmissing: Mapping[str, Sequence[str]], out: Callable[[str], Any] = warning) -> None:
    """Reports the result of :func:`check_cache_integrity`: calls ``out`` with a text."""
    if dmissing:
        lines = ["%d libraries of the cache need others that are missing:" % len(dmissing)]
        lines += ["    %s needs %s" % (library, ", ".join(lost)) for library, lost in sorted(dmissing.items())]
        out("\n".join(lines))
