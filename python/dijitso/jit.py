# SPDX-License-Identifier: MIT OR Apache-2.0
"""The call: a name, parameters and a function that generates code become a loaded library."""

import contextlib
import ctypes
import json
import marshal
import os
import threading
from ctypes import byref, c_char_p, c_void_p
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from dijitso import _comm, _interrupt, _modules, _native
from dijitso._errors import DijitsoError
from dijitso.log import debug, error, warning
from dijitso.params import native, validate_params
from dijitso.str import as_unicode

__all__ = ["DijitsoError", "extract_factory_function", "jit", "jit_many", "jit_on", "jit_signature", "loader_handle"]


class _Calls(threading.local):
    """The calls of a thread that are being made: each callback belongs to the last one. The communicator of calls that
    give none, and how many calls were made."""

    def __init__(self):
        self.stack = []
        self.comm = None
        self.made = 0


_calls = _Calls()


class _Call:
    """What the callbacks of one call need, and the exception that one of them has raised."""

    __slots__ = ("jitables", "generator", "generate", "send", "receive", "wait", "exception", "interrupt")

    def __init__(self, jitables, generator, generate, send, receive, wait):
        self.jitables = jitables
        self.generator = generator
        self.generate = generate
        self.send = send
        self.receive = receive
        self.wait = wait
        self.exception = None
        self.interrupt = None


def _guarded(callback):
    """Makes a callback for C: an exception is kept for the end of the call, and the callback fails."""

    def guarded(_user_data, *arguments):
        call = _calls.stack[-1]
        try:
            with call.interrupt.in_callback():
                callback(call, *arguments)
            return 0
        except BaseException as exception:
            call.exception = exception
            return 1

    return guarded


def _bytes(value):
    if value is None:
        return b""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def hand_over(made, source):
    """Gives what a generate function has returned to a source of C."""
    lib = _native.library()
    header, code, dependencies = made
    for dependency in dependencies or ():
        if lib.dijitso_source_add_dependency(source, _bytes(dependency)) != _native.OK:
            raise ValueError("generate: %r is no signature of a library" % (dependency,))
    header, code = _bytes(header), _bytes(code)
    if header:
        lib.dijitso_source_set_header(source, header, len(header))
    lib.dijitso_source_set_code(source, code, len(code))


def _generate(call, name, signature, _json, source):
    try:
        name = name.decode()
        jitable = call.jitables[name] if isinstance(call.jitables, _ByName) else call.jitables
        hand_over(call.generate(jitable, name, signature.decode(), call.generator), source)
    except BaseException as exception:
        _native.library().dijitso_source_set_error(source, _native.reason(exception))
        raise


def _send(call, data, size):
    import numpy
    # A copy, because the callback may keep it.
    call.send(numpy.frombuffer(ctypes.string_at(data, size), dtype=numpy.uint8).copy())


def _receive(call, blob):
    data = call.receive()
    data = data.tobytes() if hasattr(data, "tobytes") else bytes(data)
    buffer = _native.library().dijitso_blob_resize(blob, len(data))
    if not buffer:
        raise MemoryError
    ctypes.memmove(buffer, data, len(data))


def _wait(call):
    call.wait()


def _poll(_user_data):
    # Python notes the signal before or within this function.
    return int(any(call.interrupt.asks_to_stop() for call in _calls.stack))


_GENERATE = _native.GENERATE_FN(_guarded(_generate))
_SEND = _native.SEND_FN(_guarded(_send))
_RECEIVE = _native.RECEIVE_FN(_guarded(_receive))
_WAIT = _native.WAIT_FN(_guarded(_wait))
_POLL = _native.POLL_FN(_poll)

# One structure for each set of callbacks that is used.
_structures: Dict[Any, Any] = {}


def _callbacks(call):
    chosen = (call.generate is not None, call.send is not None, call.receive is not None, call.wait is not None)
    structure = _structures.get(chosen)
    if structure is None:
        functions = (_GENERATE, _SEND, _RECEIVE, _WAIT)
        kinds = (_native.GENERATE_FN, _native.SEND_FN, _native.RECEIVE_FN, _native.WAIT_FN)
        functions = [function if wanted else kind() for function, kind, wanted in zip(functions, kinds, chosen)]
        structure = _native.Callbacks(ctypes.sizeof(_native.Callbacks), None, *functions, _POLL)
        _structures[chosen] = structure
    return structure


def _run(call, function, *arguments):
    """Makes a call of C. Returns the status, and the exception of a failure."""
    failure = c_void_p()
    _calls.made += 1
    try:
        with _interrupt.Watch() as call.interrupt:
            _calls.stack.append(call)
            try:
                status = function(*arguments, byref(failure))
            finally:
                _calls.stack.pop()
        if status == _native.OK:
            return status, None
        failure, problem = None, _native.take_error(failure)
    except BaseException:
        # Ctrl-C.
        if failure:
            _native.library().dijitso_error_free(failure)
        raise
    if call.exception is not None:
        # It comes out as itself, with the traceback of the callback.
        return status, call.exception
    return status, problem


class _Prepared:
    """Validated parameters, and those of C, which live as long."""

    __slots__ = ("cache", "generator", "handle", "hashed", "by_generator")

    def __init__(self, params, generator=None):
        self.handle = None
        params = validate_params(params)
        self.cache = params["cache"]
        self.generator = params["generator"]
        self.hashed = self.cache.get("signature", "name") != "name"
        self.by_generator = {}
        self.handle = native(params, generator).handle

    def __del__(self):
        if self.handle is not None:
            _native.library().dijitso_params_free(self.handle)


# What parameters depend on besides themselves: the environment variables of docs/parameters.md.
_VARIABLES = ("DIJITSO_CACHE_DIR", "DIJITSO_CHECK_SOURCE", "DIJITSO_CONF", "DIJITSO_CPU", "DIJITSO_SYSTEM_CALL_METHOD",
              "CXX", "CC", "FC", "VIRTUAL_ENV", "CONDA_PREFIX", "HOME", "TMPDIR")
# os.environ converts each value; what it keeps them in is a plain dictionary.
_environment = getattr(os.environ, "_data", os.environ)
_KEYS = tuple(map(os.fsencode, _VARIABLES)) if _environment is not os.environ else _VARIABLES
_prepared: Dict[Any, Any] = {}
_MOST_PREPARED = 64


def _prepare(params):
    """Returns the prepared parameters, and the parameters of the generator, for parameters of a call. Remembers them by
    value, so that a program may change what it has given."""
    params = params or {}
    generator = params.get("generator")
    others = {section: values for section, values in params.items() if section != "generator"}
    try:
        key = marshal.dumps(others, 2), os.getcwd(), *map(_environment.get, _KEYS)
        prepared = _prepared.get(key)
    except (OSError, ValueError):
        # A working directory that is gone; values that are not plain, such as paths.
        key = prepared = None
    if prepared is None:
        prepared = _Prepared(others)
        if key is not None:
            _remember(_prepared, key, prepared)
    if generator is None:
        generator = prepared.generator
    elif prepared.generator and isinstance(generator, dict):
        generator = {**prepared.generator, **generator}
    if not prepared.hashed:
        return prepared, generator
    text = json.dumps(generator, sort_keys=True)
    hashed = prepared.by_generator.get(text)
    if hashed is None:
        hashed = _Prepared(others, generator)
        _remember(prepared.by_generator, text, hashed)
    return hashed, generator


def _remember(table, key, value):
    if len(table) >= _MOST_PREPARED:
        table.clear()
    table[key] = value


# Name and place of a library: what jit() returns for it.
_hits: Dict[Any, Tuple[Any, str]] = {}


def _place(name, params):
    """Returns the key of a library whose signature is its name; None if parameters count as well."""
    cache = params.get("cache") if params else None
    if not cache:
        return name, _environment.get(_KEYS[0])
    get = cache.get
    if get("signature", "name") != "name":
        return None
    return (name, get("cache_dir") or _environment.get(_KEYS[0]), get("lib_loader"), get("lib_prefix"),
            get("lib_basename"), get("lib_dir"), get("lib_postfix"))


def jit(jitable: Any, name: str, params: Optional[Mapping[str, Any]], generate: Optional[Callable[..., Any]] = None,
        send: Optional[Callable[..., Any]] = None, receive: Optional[Callable[..., Any]] = None,
        wait: Optional[Callable[..., Any]] = None, comm: Any = None) -> Tuple[Any, str]:
    """Returns ``(module, signature)``: a loaded library and its signature.

    The library comes from memory, from the cache on disk, or is built from the code that ``generate`` returns::

        header, code, dependencies = generate(jitable, name, signature, params["generator"])

    ``header`` and ``code`` are str or bytes; a header of None or "" is none. ``dependencies`` are the signatures of
    libraries that other calls have returned, to link to. ``generate`` may call ``jit`` for them. ``jitable`` and
    ``params["generator"]`` may be any objects; they are handed through.

    The module is a ``ctypes.CDLL``, or with ``params["cache"]["lib_loader"] = "import"`` the imported extension module. It
    is the same object at each call. The signature is the name, so the name has to cover all that determines the code,
    unless ``params["cache"]["signature"]`` is "hash".

    With ``comm``, a communicator of mpi4py, the call is collective: all ranks of ``comm`` make it, one of them for each
    kind of machine generates and compiles, and all return the same or raise for the same reason. Without ``comm`` nothing
    is agreed on, and the role of a process follows from its functions as in dijitso 2019.2: ``generate`` makes a builder,
    which gives the library to ``send`` as an array of bytes; ``receive`` makes a receiver, whose function returns that
    array; with ``wait`` alone a process waits. All of them call ``wait`` before the library is loaded.

    Raises DijitsoError if the library cannot be built or distributed. An exception of a function comes out as itself; on
    other ranks of ``comm`` it is a DijitsoError with its text. If the dynamic loader refuses a library, the module is None
    and a warning says why. Ctrl-C raises KeyboardInterrupt; compilers are ended, and nothing is left.
    """
    if comm is None:
        comm = _calls.comm
    if comm is None:
        name = as_unicode(name)
        hit = _hits.get(_place(name, params))
        if hit is not None:
            return hit
        if receive and generate:
            error("Please provide only one of generate or receive.")
    with refusing(comm, "dijitso_jit_comm", None, None, None):
        name = as_unicode(name)
        text = name.encode()
        place = _place(name, params)
        prepared, generator = _prepare(params)
    cache = prepared.cache
    call = _Call(jitable, generator, generate, send, receive, wait)
    lib, library = _native.library(), c_void_p()
    status, problem = _jit(call, text, prepared, comm, library)
    if problem is not None:
        if status == _native.LOAD and problem is not call.exception:
            warning("%s", _modules.analyse_load_error(problem, _modules.library_path(name, cache), cache))
            return None, name
        if comm is None and not (generate or receive or wait):
            error("Please provide wait if not providing one of generate or receive. %s", problem)
        raise problem
    signature = _native.text(lib.dijitso_library_signature(library))
    result = _modules.from_library(library, cache["lib_loader"], signature), signature
    debug("Loaded %s", signature)
    if place is not None and not prepared.hashed:
        _hits[place] = result
    return result


@contextlib.contextmanager
def refusing(comm, function, *arguments):
    """Makes the collective call with arguments that C refuses, if this rank fails before it can make it: so no other rank
    waits for it, and all fail. Nothing happens without a communicator."""
    try:
        yield
    except BaseException:
        if comm is not None:
            _refuse(comm, function, *arguments)
        raise


def _refuse(comm, function, *arguments):
    call = _Call(None, None, None, None, None, None)
    out = () if function.startswith("dijitso_plan") else (byref(c_void_p()),)
    _run(call, getattr(_native.library(), function), *arguments, *_comm.address(comm), *out)


def _jit(call, name, prepared, comm, library):
    """Makes one call. Returns the status, and the exception of a failure."""
    lib = _native.library()
    try:
        return _run(call, lib.dijitso_jit_comm, name, prepared.handle, byref(_callbacks(call)),
                    *_comm.address(comm), byref(library))
    except BaseException:
        lib.dijitso_library_free(library)
        raise


@contextlib.contextmanager
def jit_on(comm: Any, all_or_none: bool = False) -> Iterator[None]:
    """Makes the calls of :func:`jit` in a ``with`` statement that give no communicator collective over ``comm``. For
    programs that call through others, as DOLFIN calls through FFC. Holds for this thread.

    With ``all_or_none`` a rank that raises before it has made such a call lets the call of the others fail.
    """
    before, made = _calls.comm, _calls.made
    _calls.comm, _calls.made = comm, 0
    try:
        yield
    except BaseException:
        if all_or_none and comm is not None and _calls.made == 0:
            _refuse(comm, "dijitso_jit_comm", None, None, None)
        raise
    finally:
        _calls.comm, _calls.made = before, made + _calls.made


def build(name, source, params):
    """Builds a library from ``(header, code, dependencies)`` without loading it. Raises DijitsoError if that fails. The
    caller has removed one that was in the cache."""
    call = _Call(None, None, lambda *_: source, None, None, None)
    library = c_void_p()
    # Another request each time: one that was built before is not taken from memory.
    prepared = _Prepared(params, {"request": os.urandom(16).hex()})
    _, problem = _jit(call, as_unicode(name).encode(), prepared, None, library)
    if problem is not None:
        raise problem
    _native.library().dijitso_library_free(library)


class _ByName(dict):
    """The jitables of several calls, by their names."""


def jit_many(jitables: Iterable[Any], names: Iterable[str], params: Optional[Mapping[str, Any]],
             generate: Optional[Callable[..., Any]] = None, comm: Any = None) -> List[Tuple[Any, str]]:
    """Returns a list of ``(module, signature)`` for many names at once.

    They are built at the same time, on all cores, and with ``comm`` dealt out among the ranks. ``jitables`` and ``names``
    are lists of the same length; everything else is as for :func:`jit`. Raises DijitsoError if one fails, with every
    one that failed in its message; the others are built, and in the cache.
    """
    if comm is None:
        comm = _calls.comm
    with refusing(comm, "dijitso_jit_many_comm", 1, None, None, None):
        jitables, names = list(jitables), [as_unicode(name) for name in names]
        if len(jitables) != len(names):
            raise ValueError("%d jitables for %d names" % (len(jitables), len(names)))
        texts = (c_char_p * len(names))(*[name.encode() for name in names])
        prepared, generator = _prepare(params)
    call = _Call(_ByName(zip(names, jitables)), generator, generate, None, None, None)
    lib = _native.library()
    libraries = (c_void_p * len(names))()
    try:
        _, problem = _run(call, lib.dijitso_jit_many_comm, len(names), texts, prepared.handle, byref(_callbacks(call)),
                          *_comm.address(comm), libraries)
    except BaseException:
        for library in libraries:
            lib.dijitso_library_free(library)
        raise
    results = []
    for library in libraries:
        if library:
            signature = _native.text(lib.dijitso_library_signature(library))
            results.append((_modules.from_library(library, prepared.cache["lib_loader"], signature), signature))
    if problem is not None:
        raise problem
    return results


def extract_factory_function(lib: Any, name: str) -> Any:
    """Returns the function ``name`` of a library, which takes nothing and returns an address as an int.

    For other types use the attributes of the ``ctypes.CDLL``. Other functions that Python has for the same symbol keep
    their types. Raises DijitsoError if the library has no such symbol.
    """
    try:
        function = lib[name]
    except (AttributeError, TypeError) as problem:
        raise DijitsoError("cannot find the function %s of %r: %s" % (name, lib, problem), status=_native.SYMBOL) from None
    function.restype = c_void_p
    return function


def loader_handle(module: Any) -> int:
    """Returns the handle of the dynamic loader for a module that :func:`jit` has returned, as an int."""
    return module._handle


def jit_signature(name: str, params: Optional[Mapping[str, Any]]) -> str:
    """Returns the signature that :func:`jit` uses for a name and parameters."""
    prepared, _ = _prepare(params)
    with _native.Blob() as blob:
        _native.call("dijitso_signature", prepared.handle, _native.utf8(name), blob.handle)
        return _native.text(blob.bytes())
