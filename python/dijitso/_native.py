# SPDX-License-Identifier: MIT OR Apache-2.0
"""The library of C: finds it, loads it at the first use, and declares its functions.

Not public. The library is looked for in this order: the file that the variable ``DIJITSO_LIBRARY`` names, the
package itself (wheels), the prefix in which the package is installed, and where the dynamic loader looks.
"""

import ctypes
import os
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint64, c_void_p
from typing import Any

from dijitso._errors import DijitsoError

#: The number in the name of the library: the binary interface that this package is written for.
ABI = 1
NAME = "libdijitso.so.%d" % ABI

OK = 0
INVALID_ARGUMENT, UNSUPPORTED, STATE, PARAMS = 1, 2, 3, 4
CACHE, GENERATE, CALLBACK, COMPILE, LOAD, SYMBOL = 10, 20, 21, 30, 40, 41
RANKS_DISAGREE, MPI, TIMEOUT, CANCELLED, INTERNAL = 50, 51, 52, 53, 90

GENERATE_FN: Any = ctypes.CFUNCTYPE(c_int32, c_void_p, c_char_p, c_char_p, c_char_p, c_void_p)
SEND_FN: Any = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t)
RECEIVE_FN: Any = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p)
WAIT_FN: Any = ctypes.CFUNCTYPE(c_int32, c_void_p)
POLL_FN: Any = WAIT_FN
TEXT_FN: Any = ctypes.CFUNCTYPE(c_int32, c_void_p, c_char_p)


class Callbacks(ctypes.Structure):
    """The structure dijitso_callbacks."""

    _fields_ = [("struct_size", c_size_t), ("user_data", c_void_p), ("generate", GENERATE_FN), ("send", SEND_FN),
                ("receive", RECEIVE_FN), ("wait", WAIT_FN), ("poll", POLL_FN)]


class LogRecord(ctypes.Structure):
    """The structure dijitso_log_record, as far as it is used here."""

    _fields_ = [("struct_size", c_size_t), ("level", c_int32), ("rank", c_int32), ("ranks", c_int32),
                ("message", c_char_p)]


LOG_FN: Any = ctypes.CFUNCTYPE(None, c_void_p, POINTER(LogRecord))

_OUT = POINTER(c_void_p)
_CALL = [c_char_p, c_void_p, c_void_p]
_JIT = [_OUT, _OUT]
_COMM = [c_void_p, c_size_t]

# Name: result, arguments. Functions whose result is c_int32 and whose last argument is _OUT return a status.
_FUNCTIONS = {
    "dijitso_version": (c_char_p, []),
    "dijitso_error_status": (c_int32, [c_void_p]),
    "dijitso_error_message": (c_char_p, [c_void_p]),
    "dijitso_error_log": (c_char_p, [c_void_p]),
    "dijitso_error_path": (c_char_p, [c_void_p]),
    "dijitso_error_file": (c_char_p, [c_void_p, c_size_t]),
    "dijitso_error_rank": (c_int32, [c_void_p]),
    "dijitso_error_free": (None, [c_void_p]),
    "dijitso_params_new": (c_int32, [_OUT, _OUT]),
    "dijitso_params_set": (c_int32, [c_void_p, c_char_p, c_char_p, _OUT]),
    "dijitso_params_merge_json": (c_int32, [c_void_p, c_char_p, _OUT]),
    "dijitso_params_get": (c_char_p, [c_void_p, c_char_p]),
    "dijitso_params_origin": (c_char_p, [c_void_p, c_char_p]),
    "dijitso_params_to_json": (c_char_p, [c_void_p]),
    "dijitso_params_free": (None, [c_void_p]),
    "dijitso_source_set_code": (c_int32, [c_void_p, c_char_p, c_size_t]),
    "dijitso_source_set_header": (c_int32, [c_void_p, c_char_p, c_size_t]),
    "dijitso_source_add_dependency": (c_int32, [c_void_p, c_char_p]),
    "dijitso_source_set_error": (c_int32, [c_void_p, c_char_p]),
    "dijitso_blob_new": (c_int32, [_OUT, _OUT]),
    "dijitso_blob_free": (None, [c_void_p]),
    "dijitso_blob_data": (c_void_p, [c_void_p]),
    "dijitso_blob_size": (c_size_t, [c_void_p]),
    "dijitso_blob_resize": (c_void_p, [c_void_p, c_size_t]),
    "dijitso_jit_comm": (c_int32, _CALL + _COMM + _JIT),
    "dijitso_jit_many_comm": (c_int32, [c_size_t, POINTER(c_char_p), c_void_p, c_void_p] + _COMM + _JIT),
    "dijitso_library_symbol": (c_int32, [c_void_p, c_char_p, _OUT, _OUT]),
    "dijitso_library_signature": (c_char_p, [c_void_p]),
    "dijitso_library_path": (c_char_p, [c_void_p]),
    "dijitso_library_handle": (c_void_p, [c_void_p]),
    "dijitso_library_origin": (c_int32, [c_void_p]),
    "dijitso_library_free": (None, [c_void_p]),
    "dijitso_library_open": (c_int32, [c_void_p, c_char_p, _OUT, _OUT]),
    "dijitso_signature": (c_int32, [c_void_p, c_char_p, c_void_p, _OUT]),
    "dijitso_build_command": (c_int32, [c_void_p, c_char_p, POINTER(c_char_p), c_size_t, TEXT_FN, c_void_p, _OUT]),
    "dijitso_cache_make_dirs": (c_int32, [c_void_p, _OUT]),
    "dijitso_cache_store": (c_int32, [c_void_p, c_char_p, c_int32, c_char_p, c_size_t, _OUT]),
    "dijitso_cache_extract": (c_int32, [c_void_p, c_char_p, c_int32, c_char_p, c_int32, TEXT_FN, c_void_p, _OUT]),
    "dijitso_cache_clean": (c_int32, [c_void_p, c_int32, c_int32, TEXT_FN, c_void_p, _OUT]),
    "dijitso_cache_remove": (c_int32, [c_void_p, c_char_p, c_int32, TEXT_FN, c_void_p, _OUT]),
    "dijitso_cache_read_binary": (c_int32, [c_void_p, c_char_p, c_void_p, _OUT]),
    "dijitso_cache_write_binary": (c_int32, [c_void_p, c_char_p, c_char_p, c_size_t, _OUT]),
    "dijitso_log_set_level": (c_int32, [c_int32, _OUT]),
    "dijitso_log_level": (c_int32, []),
    "dijitso_log_set_handler": (c_int32, [LOG_FN, c_void_p, _OUT]),
    "dijitso_mpi_comm_size": (c_size_t, []),
    "dijitso_mpi_bcast_uuid_comm": (c_int32, _COMM + [POINTER(c_uint64), _OUT]),
    "dijitso_mpi_discover_path_access_ranks_comm":
        (c_int32, _COMM + [c_char_p, POINTER(c_int32), c_int32, POINTER(c_int32), _OUT]),
    "dijitso_mpi_create_node_comm_comm": (c_int32, _COMM + [c_char_p, c_void_p, POINTER(c_int32), _OUT]),
    "dijitso_mpi_create_node_roots_comm_comm": (c_int32, _COMM + [c_int32, c_void_p, _OUT]),
    "dijitso_mpi_create_subcomm_comm": (c_int32, _COMM + [POINTER(c_int32), c_int32, c_void_p, _OUT]),
    "dijitso_mpi_create_comms_and_role_comm":
        (c_int32, _COMM + [c_char_p, c_char_p, c_void_p, c_void_p, POINTER(c_int32), _OUT]),
    "dijitso_mpi_send_binary_comm": (c_int32, _COMM + [c_char_p, c_size_t, _OUT]),
    "dijitso_mpi_receive_binary_comm": (c_int32, _COMM + [c_void_p, _OUT]),
    "dijitso_mpi_gather_global_partitions_comm":
        (c_int32, _COMM + [c_uint64, POINTER(c_uint64), c_int32, POINTER(c_int32), _OUT]),
}
for _strategy in "node", "root", "process":
    _FUNCTIONS["dijitso_mpi_create_comms_and_role_%s_comm" % _strategy] = (
        c_int32, [c_void_p, c_void_p, c_size_t, c_int32, c_void_p, c_void_p, POINTER(c_int32), _OUT])


# A library that has it has all of them.
_NEWEST = "dijitso_library_handle"


class Library:
    """The functions of the loaded library. Each is declared when it is first used."""

    def __init__(self, loaded, path):
        self._loaded = loaded
        self._name = path

    def __getattr__(self, name):
        if name not in _FUNCTIONS:
            raise AttributeError(name)
        function = getattr(self._loaded, name)
        function.restype, function.argtypes = _FUNCTIONS[name]
        setattr(self, name, function)
        return function


def declare(functions):
    """Adds declarations of functions: results and arguments by their names."""
    _FUNCTIONS.update(functions)


def _candidates():
    named = os.environ.get("DIJITSO_LIBRARY")
    if named:
        return [named]
    here = os.path.dirname(os.path.abspath(__file__))
    found = [os.path.join(here, "lib", NAME), os.path.join(here, "lib", "libdijitso.so")]
    # PREFIX/lib/python3.X/site-packages/dijitso
    found += [os.path.join(here, *[os.pardir] * up, NAME) for up in (3, 4)]
    return [path for path in found if os.path.exists(path)] + [NAME]


def _load():
    candidates = _candidates()
    for path in candidates:
        try:
            loaded = ctypes.CDLL(path)
        except OSError as error:
            reason = error
            continue
        library = Library(loaded, path)
        try:
            getattr(library, _NEWEST)
        except AttributeError as problem:
            raise ImportError("%s is older than this package: %s" % (path, problem)) from None
        return library
    raise ImportError("cannot load libdijitso (%s): %s. Install it, or set DIJITSO_LIBRARY to the path of "
                      "libdijitso.so" % (", ".join(candidates), reason))


_loaded = None


def library():
    """Returns the loaded library."""
    global _loaded
    if _loaded is None:
        _loaded = _load()
    return _loaded


def command():
    """Returns the path of the command of the library: in the package (wheels), or beside the library that is named or
    installed. None if it is not there."""
    here = os.path.dirname(os.path.abspath(__file__))
    found = [os.path.join(here, "bin", "dijitso")]
    for path in _candidates():
        if os.path.dirname(path):
            # PREFIX/lib, or PREFIX/lib/x86_64-linux-gnu
            folder = os.path.dirname(os.path.realpath(path))
            found += [os.path.normpath(os.path.join(folder, *[os.pardir] * up, "bin", "dijitso")) for up in (1, 2)]
    for path in found:
        # In a prefix it may be the script of this package.
        if os.access(path, os.X_OK) and _is_program(path):
            return path
    return None


def _is_program(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def text(value):
    """Returns the str of a text from C."""
    return value.decode("utf-8", "surrogateescape")


def utf8(value):
    """Returns a text for C."""
    return value if isinstance(value, bytes) else os.fspath(value).encode("utf-8", "surrogateescape")


def reason(exception):
    """Returns the text of an exception for C."""
    return ("%s: %s" % (type(exception).__name__, exception)).encode("utf-8", "replace").replace(b"\0", b"")


def take_error(error, signature=None):
    """Makes the exception of an error of C, and frees the error."""
    lib = library()
    try:
        files = []
        while True:
            file = lib.dijitso_error_file(error, len(files))
            if file is None:
                break
            files.append(os.fsdecode(file))
        return DijitsoError(text(lib.dijitso_error_message(error)), _err_info(lib, error, files),
                            status=lib.dijitso_error_status(error), rank=lib.dijitso_error_rank(error),
                            log=text(lib.dijitso_error_log(error)), files=tuple(files))
    finally:
        lib.dijitso_error_free(error)


def _err_info(lib, error, files):
    fail_dir = lib.dijitso_error_path(error)
    if not fail_dir:
        return {}
    info = {"fail_dir": os.fsdecode(fail_dir)}
    names = {"recompile.sh": "cmd_filename", "README": "readme_filename", "error.log": "log_filename"}
    for file in files:
        base = os.path.basename(file)
        if base in names:
            info[names[base]] = file
        elif base.endswith((".h", ".hpp", ".mod")):
            info["inc_filename"] = file
        else:
            info.setdefault("src_filename", file)
    return info


def check(status, error):
    """Raises DijitsoError if a call of C has failed. ``error`` is the c_void_p that it was given."""
    if status != OK:
        raise take_error(error)


def call(name, *arguments):
    """Calls a function that returns a status, and raises DijitsoError if it fails."""
    error = c_void_p()
    status = getattr(library(), name)(*arguments, byref(error))
    if status != OK:
        raise take_error(error)


class Blob:
    """Bytes that C fills; use it in a ``with`` statement."""

    def __enter__(self):
        self.handle = c_void_p()
        call("dijitso_blob_new", byref(self.handle))
        return self

    def __exit__(self, *_):
        library().dijitso_blob_free(self.handle)

    def bytes(self):
        """Returns a copy of the bytes."""
        lib = library()
        return ctypes.string_at(lib.dijitso_blob_data(self.handle), lib.dijitso_blob_size(self.handle))
