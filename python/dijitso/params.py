# SPDX-License-Identifier: MIT OR Apache-2.0
"""Parameters: dictionaries of two levels, in sections "cache", "build" and "generator".

Values come from the defaults, the config file, the environment and the caller, each before the one after it. Beside
the keys of dijitso 2019.2 each parameter of the library may be given (``dijitso config`` lists them), for example
``params["cache"]["max_size"]`` or a section ``"parallel"``.
"""

import json
import os
import shlex
from ctypes import byref, c_void_p
from typing import Any, Dict, Mapping, Optional, Tuple

from dijitso import _native
from dijitso.log import error

__all__ = ["as_bool", "as_str_tuple", "check_params_keys", "copy_params", "default_build_params",
           "default_cache_params", "default_cxx_compiler", "default_cxx_debug_flags", "default_cxx_flags",
           "default_cxx_release_flags", "default_generator_params", "default_params", "discover_config_filename",
           "merge_params", "read_config_file", "session_default_params", "validate_params"]

#: Sections of parameters.
Params = Dict[str, Any]

#: Sections that only the library knows.
_OTHER_SECTIONS = ("parallel", "plan")


def default_cache_params() -> Dict[str, Any]:
    """Returns the defaults of section "cache". A ``cache_dir`` of None stands for the default directory."""
    return {
        "cache_dir": None,
        "inc_dir": "include",
        "src_dir": "src",
        "lib_dir": "lib",
        "fail_dir_root": None,
        "temp_dir_root": None,
        "comm_dir": "comm",
        "log_dir": "log",
        "enable_build_log": True,
        "src_storage": "compress",
        "src_postfix": ".cpp",
        "log_postfix": ".txt",
        "inc_postfix": ".h",
        "lib_postfix": ".so",
        "lib_prefix": "lib",
        "lib_basename": "dijitso-",
        "lib_loader": "ctypes",
    }


def default_cxx_compiler() -> str:
    """Returns the default C++ compiler: the variable ``CXX``, else ``c++``."""
    return os.environ.get("CXX") or "c++"


def default_cxx_flags() -> Tuple[str, ...]:
    """Returns the flags of every build."""
    return ("-Wall", "-shared", "-fPIC", "-std=c++11")


def default_cxx_debug_flags() -> Tuple[str, ...]:
    """Returns the further flags of a build with ``debug``."""
    return ("-g", "-O0")


def default_cxx_release_flags() -> Tuple[str, ...]:
    """Returns the further flags of a build without ``debug``. NaN and infinity keep their meaning."""
    return ("-O3", "-fno-math-errno", "-fno-trapping-math")


def default_build_params() -> Dict[str, Any]:
    """Returns the defaults of section "build"."""
    return {
        "cxx": default_cxx_compiler(),
        "cxxflags": default_cxx_flags(),
        "cxxflags_debug": default_cxx_debug_flags(),
        "cxxflags_opt": default_cxx_release_flags(),
        "include_dirs": (),
        "lib_dirs": (),
        "rpath_dirs": (),
        "libs": (),
        "debug": False,
    }


def default_generator_params() -> Dict[str, Any]:
    """Returns the defaults of section "generator": none."""
    return {}


def default_params() -> Params:
    """Returns the defaults of all sections, without config file and environment."""
    return {"cache": default_cache_params(), "build": default_build_params(),
            "generator": default_generator_params()}


class _Handle:
    """Parameters of C; use it in a ``with`` statement."""

    def __init__(self, params: Optional[Mapping[str, Any]] = None) -> None:
        lib, self.handle, failure = _native.library(), c_void_p(), c_void_p()
        _native.check(lib.dijitso_params_new(byref(self.handle), byref(failure)), failure)
        if params is not None:
            text = json.dumps(params).encode()
            status = lib.dijitso_params_merge_json(self.handle, text, byref(failure))
            if status != _native.OK:
                lib.dijitso_params_free(self.handle)
                _native.check(status, failure)

    def __enter__(self) -> c_void_p:
        return self.handle

    def __exit__(self, *_: Any) -> None:
        _native.library().dijitso_params_free(self.handle)

    def get(self, key: str) -> Optional[str]:
        value = _native.library().dijitso_params_get(self.handle, key.encode())
        return None if value is None else _native.text(value)

    def origin(self, key: str) -> str:
        return str(_native.text(_native.library().dijitso_params_origin(self.handle, key.encode()) or b""))

    def values(self) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(_native.library().dijitso_params_to_json(self.handle))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [item if isinstance(item, str) else os.fspath(item) for item in value]
    return value if isinstance(value, (str, bool, int, float)) else os.fspath(value)


def native(params: Mapping[str, Any], generator: Optional[Dict[str, Any]] = None) -> _Handle:
    """Returns the parameters of C for validated parameters, or for a dictionary with section "cache" alone.

    The signature is the name, as in dijitso 2019.2, unless ``params["cache"]["signature"]`` says otherwise. Section
    "generator" stays in Python: it may be any object. The library gets ``generator`` instead.
    """
    given: Params = {"cache": {"signature": "name"}}
    for section, values in params.items():
        if section != "generator" and values:
            chosen = {key: _plain(value) for key, value in values.items() if value is not None}
            given.setdefault(section, {}).update(chosen)
    if generator is not None:
        given["generator"] = generator
    return _Handle(given)


def discover_config_filename() -> Optional[str]:
    """Returns the path of the config file that is in use, or None.

    It is ``.dijitso.conf`` in the working directory, in the directory ``DIJITSO_CONF``, in the home directory, or in
    /etc/dijitso. A file that other users can write is not used.
    """
    with_config = _Handle()
    with with_config:
        for section, values in with_config.values().items():
            for key in values if isinstance(values, dict) else ():
                origin = with_config.origin("%s.%s" % (section, key))
                if origin.startswith("config file "):
                    return origin[len("config file "):]
    return None


def _config() -> Params:
    """Returns what the config file sets, with the types of the library."""
    found: Params = {}
    home = os.environ.get("HOME")
    if home and not os.environ.get("DIJITSO_CONF"):
        # Asking the library takes a millisecond, and few programs have a file.
        if not any(os.path.lexists(os.path.join(place, ".dijitso.conf")) for place in ("", home, "/etc/dijitso")):
            return found
    defaults = _Handle()
    with defaults:
        for section, values in defaults.values().items():
            for key, value in values.items() if section != "generator" else ():
                if defaults.origin("%s.%s" % (section, key)).startswith("config file "):
                    found.setdefault(section, {})[key] = tuple(value) if isinstance(value, list) else value
    return found


_config_contents: Optional[Params] = None


def read_config_file() -> Params:
    """Reads the config file once for the process. Returns a dictionary of its sections, empty without a file."""
    global _config_contents
    if _config_contents is None:
        _config_contents = _config()
    return _config_contents


def as_bool(value: Any) -> bool:
    """Returns the bool of a bool or of a text such as "true", "no" or "1"."""
    if isinstance(value, bool):
        return value
    known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    try:
        return known[str(value).lower()]
    except KeyError:
        error("Invalid boolean value %s", value)


def as_str_tuple(p: Any) -> Tuple[str, ...]:
    """Returns a tuple of texts for a text, or for a list or tuple of texts."""
    if isinstance(p, str):
        return (p,)
    if isinstance(p, (tuple, list)) and all(isinstance(item, str) for item in p):
        return tuple(p)
    raise RuntimeError("Expecting a string or list of strings, not %s." % (p,))


def copy_params(params: Params) -> Params:
    """Returns a copy of parameters with copies of their sections."""
    return {section: values.copy() for section, values in params.items()}


def check_params_keys(default: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Raises RuntimeError for a section or a key that neither ``default`` nor the library has."""
    for section, values in params.items():
        if section == "generator":
            continue
        if section not in default and section not in _OTHER_SECTIONS:
            error("Invalid parameter category '%s'.", section)
        invalid = sorted(set(values or ()) - set(default.get(section, ())))
        if invalid:
            handle = _Handle()
            with handle:
                invalid = [key for key in invalid if handle.get("%s.%s" % (section, key)) is None]
        if invalid:
            error("Invalid parameter names %s in category '%s'.", invalid, section)


def merge_params(default: Mapping[str, Any], params: Mapping[str, Any]) -> Params:
    """Returns ``default`` with what ``params`` has, section by section."""
    merged = {section: values.copy() for section, values in default.items()}
    for section, values in params.items():
        if values is not None and (section in default or section in _OTHER_SECTIONS):
            if section == "generator" and not isinstance(values, dict):
                merged[section] = values
            else:
                merged.setdefault(section, {}).update(values)
    return merged


def _typed(default: Any, name: str, value: Any) -> Any:
    if isinstance(default, bool):
        return as_bool(value)
    if isinstance(default, tuple):
        return as_str_tuple(value)
    if isinstance(default, str) and isinstance(value, (list, tuple)):
        # A compiler with words, as "ccache g++".
        return " ".join(map(shlex.quote, value))
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if isinstance(value, str) and value.startswith("~") and ("_dir" in name):
        return os.path.expanduser(value)
    return value


_ENVIRONMENT = ("DIJITSO_CACHE_DIR", "VIRTUAL_ENV", "CONDA_PREFIX", "HOME", "DIJITSO_CONF")
_default_dirs: Dict[Tuple[Optional[str], ...], str] = {}


def _default_cache_dir() -> str:
    """Returns the directory that the environment, the config file or the default gives. Asks once for each
    environment."""
    environment = tuple(map(os.environ.get, _ENVIRONMENT))
    found = _default_dirs.get(environment)
    if found is None:
        handle = _Handle()
        with handle:
            found = _default_dirs[environment] = handle.get("cache.cache_dir") or ""
    return found


def validate_params(params: Optional[Mapping[str, Any]] = None) -> Params:
    """Returns complete parameters: the defaults, the config file, the environment and ``params``.

    Raises RuntimeError for an unknown section or key, or a value of a wrong type. ``params`` is not changed. An object
    in section "generator" is kept as it is.
    """
    defaults = default_params()
    merged = merge_params(defaults, read_config_file())
    if params:
        check_params_keys(defaults, params)
        merged = merge_params(merged, params)
    for section, values in merged.items():
        known = defaults.get(section)
        if section == "generator" or known is None:
            continue
        for name, value in values.items():
            if value is not None and name in known:
                values[name] = _typed(known[name], name, value)
    if not merged["cache"]["cache_dir"] or not (params and (params.get("cache") or {}).get("cache_dir")):
        merged["cache"]["cache_dir"] = _default_cache_dir()
    return merged


def session_default_params() -> Params:
    """Returns the complete parameters of a call that gives none."""
    return validate_params()
