# SPDX-License-Identifier: MIT OR Apache-2.0
"""Build plans: libraries and tasks that need each other, made at once on all cores and ranks, and only what is missing.

>>> from dijitso.plan import Plan
>>> plan = Plan("example")
>>> weights = plan.add_task("weights", lambda task: b"1.0, 2.0")
>>> square = plan.add_module("square", code='extern "C" double square(double x) { return x * x; }')
>>> plan.make()
>>> module, signature = plan.library(square)
"""

import ctypes
import json
import os
import threading
from collections import namedtuple
from ctypes import POINTER, byref, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p

from dijitso import _comm, _interrupt, _modules, _native
from dijitso.jit import _prepare, hand_over, refusing

__all__ = ["Event", "Node", "Plan", "Task"]

STATES = ("todo", "running", "done", "failed", "blocked")
EVENTS = ("progress", "started", "added", "parked", "retried", "done", "failed", "blocked")
_USE, _AFTER = 1, 2
_FAIL_FAST, _FORCE, _NO_LOAD = 1, 2, 4
_FINISH, _KILL = 1, 2

#: Something that happens in a make; fields that do not belong to its kind are 0, "" or None. See dijitso_event.
Event = namedtuple("Event", "kind node label message seconds seconds_left built done failed blocked running total")

#: The facts of a node, as the last make has left them. See dijitso_node_info.
Node = namedtuple("Node", "node kind state label name signature message built blocked_by needs after size seconds rank")


def _structure(name, fields):
    return type(name, (ctypes.Structure,), {"_fields_": [("struct_size", c_size_t)] + fields})


_TASK_FN = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p)
_Module = _structure("_Module", [
    ("label", c_char_p), ("name", c_char_p), ("params", c_void_p), ("user_data", c_void_p),
    ("generate", _native.GENERATE_FN), ("code", c_char_p), ("code_length", c_size_t), ("header", c_char_p),
    ("header_length", c_size_t), ("flags", c_uint64)])
_Task = _structure("_Task", [
    ("label", c_char_p), ("name", c_char_p), ("params_json", c_char_p), ("user_data", c_void_p), ("run", _TASK_FN),
    ("inputs", POINTER(c_char_p)), ("input_count", c_size_t), ("flags", c_uint64)])
_Event = _structure("_Event", [
    ("kind", c_int32), ("status", c_int32), ("node", c_int64), ("cause", c_int64), ("label", c_char_p),
    ("message", c_char_p), ("seconds", c_double), ("seconds_left", c_double), ("built", c_uint64), ("done", c_uint64),
    ("failed", c_uint64), ("blocked", c_uint64), ("running", c_uint64), ("total", c_uint64)])
_EVENT_FN = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Event))
_Options = _structure("_Options", [
    ("targets", POINTER(c_int64)), ("target_count", c_size_t), ("jobs", c_size_t), ("retries", c_size_t),
    ("flags", c_uint64), ("user_data", c_void_p), ("poll", _native.POLL_FN), ("event", _EVENT_FN)])
_Info = _structure("_Info", [
    ("node", c_int64), ("kind", c_int32), ("state", c_int32), ("label", c_char_p), ("name", c_char_p),
    ("signature", c_char_p), ("message", c_char_p), ("status", c_int32), ("built", c_int32), ("blocked_by", c_int64),
    ("added_by", c_int64), ("needs", POINTER(c_int64)), ("need_count", c_size_t), ("after", POINTER(c_int64)),
    ("after_count", c_size_t), ("size", c_uint64), ("seconds", c_double), ("rank", c_int32), ("any_thread", c_int32)])
_NODE_FN = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(_Info))

_OUT = POINTER(c_void_p)
_PLACE = [POINTER(c_void_p), POINTER(c_size_t), _OUT]
_FUNCTIONS = {
    "dijitso_plan_new": (c_int32, [c_char_p, c_void_p, _OUT, _OUT]),
    "dijitso_plan_free": (None, [c_void_p]),
    "dijitso_plan_load": (c_int32, [c_char_p, c_void_p, _OUT, _OUT]),
    "dijitso_plan_save": (c_int32, [c_void_p, c_char_p, _OUT]),
    "dijitso_plan_need": (c_int32, [c_void_p, c_int64, c_int64, c_int32, _OUT]),
    "dijitso_plan_add_module": (c_int32, [c_void_p, POINTER(_Module), POINTER(c_int64), _OUT]),
    "dijitso_plan_add_task": (c_int32, [c_void_p, POINTER(_Task), POINTER(c_int64), _OUT]),
    "dijitso_plan_make_comm": (c_int32, [c_void_p, POINTER(_Options), c_void_p, c_size_t, _OUT]),
    "dijitso_plan_cancel": (c_int32, [c_void_p, c_int32]),
    "dijitso_plan_state": (c_int32, [c_void_p, c_int64]),
    "dijitso_plan_label": (c_char_p, [c_void_p, c_int64]),
    "dijitso_plan_signature": (c_char_p, [c_void_p, c_int64]),
    "dijitso_plan_find": (c_int64, [c_void_p, c_char_p]),
    "dijitso_plan_result": (c_int32, [c_void_p, c_int64, c_char_p] + _PLACE),
    "dijitso_plan_library": (c_int32, [c_void_p, c_int64, _OUT, _OUT]),
    "dijitso_plan_error": (c_int32, [c_void_p, c_int64, _OUT]),
    "dijitso_plan_visit": (c_int32, [c_void_p, _NODE_FN, c_void_p, _OUT]),
    "dijitso_plan_current": (c_int64, [c_void_p]),
    "dijitso_task_node": (c_int64, [c_void_p]),
    "dijitso_task_signature": (c_char_p, [c_void_p]),
    "dijitso_task_need_count": (c_size_t, [c_void_p]),
    "dijitso_task_need_node": (c_int64, [c_void_p, c_size_t]),
    "dijitso_task_need_result": (c_int32, [c_void_p, c_size_t, c_char_p] + _PLACE),
    "dijitso_task_need": (c_int32, [c_void_p, c_int64, _OUT]),
    "dijitso_task_set_result": (c_int32, [c_void_p, c_char_p, c_size_t]),
    "dijitso_task_add_file": (c_int32, [c_void_p, c_char_p, c_char_p, c_size_t, c_int32]),
    "dijitso_task_set_error": (c_int32, [c_void_p, c_char_p]),
}


_native.declare(_FUNCTIONS)
_lib = _native.library


def _optional(value):
    return None if value is None else _native.utf8(value)


def _bytes(name, *arguments):
    data, size = c_void_p(), c_size_t()
    _native.call(name, *arguments, byref(data), byref(size))
    return ctypes.string_at(data, size.value)


class Plan:
    """A plan. Nodes are numbers, or their labels.

    ``name`` names its journal in the cache. ``params`` are the parameters of all modules without their own; they also
    choose the cache.
    """

    def __init__(self, name="plan", params=None):
        prepared, _ = _prepare(params)
        self._begin(params)
        _native.call("dijitso_plan_new", _native.utf8(name), prepared.handle, byref(self._handle))

    def _begin(self, params):
        self._params = params
        self._handle = c_void_p()
        # By number of the node's callbacks. C keeps the number, and this object the callbacks.
        self._work = {}
        self._exceptions = {}
        self._watch = None
        self._thread = None
        self._stop = None
        self._generate = _native.GENERATE_FN(self._guarded(self._run_generate, "dijitso_source_set_error"))
        self._run = _TASK_FN(self._guarded(self._run_task, "dijitso_task_set_error"))

    @classmethod
    def load(cls, path, params=None):
        """Returns the plan of a plan file, the same that ``dijitso make`` makes."""
        plan = cls.__new__(cls)
        plan._begin(params)
        prepared, _ = _prepare(params)
        _native.call("dijitso_plan_load", os.fsencode(path), prepared.handle, byref(plan._handle))
        return plan

    def __del__(self):
        if self.__dict__.get("_handle"):
            _native.library().dijitso_plan_free(self._handle)

    def save(self, path):
        """Writes a plan file. Raises DijitsoError for a node with a function, which a file cannot have."""
        _native.call("dijitso_plan_save", self._handle, os.fsencode(path))

    def add_module(self, name, generate=None, jitable=None, params=None, code=None, header=None, label=None, needs=(),
                   after=(), any_thread=False):
        """Adds a library, and returns its node.

        Its source comes from ``generate``, as for :func:`dijitso.jit`, or is ``code``, a text or bytes, with ``header``;
        a source that is given is a part of the key. Modules of ``needs`` are linked to it; nodes of ``after`` are only
        made before it. With ``any_thread`` generate may run on any thread.
        """
        params = self._params if params is None else params
        prepared, generator = _prepare(params)
        node = c_int64()
        code, header = _optional(code), _optional(header)
        function = self._generate if generate is not None else _native.GENERATE_FN()
        module = _Module(ctypes.sizeof(_Module), _optional(label), _native.utf8(name), prepared.handle,
                         self._keep((generate, jitable, generator)), function, code, len(code or b""), header,
                         len(header or b""), int(bool(any_thread)))
        _native.call("dijitso_plan_add_module", self._handle, byref(module), byref(node))
        self._add_needs(node.value, needs, after)
        return node.value

    def add_task(self, name, run, params=None, inputs=(), label=None, needs=(), after=(), any_thread=False):
        """Adds a task, whose result is kept in the cache, and returns its node.

        ``run`` gets a :class:`Task` and returns bytes, a text or None. The key of the result are ``name``, ``params`` (any
        JSON), the contents of the files ``inputs``, and the results of ``needs``.
        """
        node = c_int64()
        paths = [os.fsencode(path) for path in inputs]
        task = _Task(ctypes.sizeof(_Task), _optional(label), _native.utf8(name), json.dumps(params, sort_keys=True).encode()
                     if params is not None else None, self._keep((run, params)), self._run,
                     (c_char_p * len(paths))(*paths), len(paths), int(bool(any_thread)))
        _native.call("dijitso_plan_add_task", self._handle, byref(task), byref(node))
        self._add_needs(node.value, needs, after)
        return node.value

    def need(self, node, needed, use=True):
        """Adds a need: ``needed`` is made before ``node``, and with ``use`` its result is used."""
        _native.call("dijitso_plan_need", self._handle, self.node(node), self.node(needed), _USE if use else _AFTER)

    def _add_needs(self, node, needs, after):
        for needed in needs:
            self.need(node, needed)
        for needed in after:
            self.need(node, needed, use=False)

    def _keep(self, work):
        number = len(self._work) + 1
        self._work[number] = work
        return number

    def make(self, comm=None, targets=None, jobs=0, retries=0, fail_fast=False, force=False, load=True, event=None):
        """Makes the nodes ``targets`` with all that they need, or all nodes. What is in the cache is not made again.

        With ``comm`` the call is collective, and the ranks share the work. ``jobs`` is the most nodes that run at once in
        this process (0: one for each core), ``retries`` the number of further attempts after a passing failure. With
        ``force`` tasks are run again; without ``load`` libraries are not loaded. ``event`` gets each :class:`Event`.

        Raises DijitsoError if a node fails; the others are made first unless ``fail_fast`` is set. If a function has
        raised on this rank, its exception is the cause, and that of :meth:`error`. Ctrl-C raises KeyboardInterrupt, and
        so does an exception that is no ``Exception`` in a function; the next make goes on.
        """
        lib = _lib()
        with refusing(comm, "dijitso_plan_make_comm", None, None):
            nodes = None if targets is None else [self.node(node) for node in targets]
        flags = _FAIL_FAST * bool(fail_fast) + _FORCE * bool(force) + _NO_LOAD * (not load)
        watch = _interrupt.Watch()
        poll = _native.POLL_FN(lambda _user_data: int(watch.asks_to_stop() or self._stop is not None))
        options = _Options(ctypes.sizeof(_Options), None if nodes is None else (c_int64 * len(nodes))(*nodes),
                           len(nodes or ()), jobs, retries, flags, None, poll,
                           _EVENT_FN() if event is None else _EVENT_FN(self._guarded_event(event)))
        self._exceptions.clear()
        failure, outer = c_void_p(), (self._watch, self._thread, self._stop)
        self._watch, self._thread, self._stop = watch, threading.get_ident(), None
        try:
            with watch:
                status = lib.dijitso_plan_make_comm(self._handle, byref(options), *_comm.address(comm), byref(failure))
            stop = self._stop
            if stop is not None:
                raise stop
            if status != _native.OK:
                failure, problem = None, _native.take_error(failure)
                raise problem from next(iter(self._exceptions.values()), None)
        finally:
            self._watch, self._thread, self._stop = outer
            if failure:
                lib.dijitso_error_free(failure)

    def cancel(self, kill=True):
        """Asks the make in progress to stop: at once, or when what runs is finished. Any thread may call it."""
        _lib().dijitso_plan_cancel(self._handle, _KILL if kill else _FINISH)

    def node(self, node):
        """Returns the number of a node for its number or label. Raises KeyError if there is none."""
        if isinstance(node, str):
            number = _lib().dijitso_plan_find(self._handle, _native.utf8(node))
            if number < 0:
                raise KeyError(node)
            return number
        return node

    def state(self, node):
        """Returns the state of a node: "todo", "running", "done", "failed" or "blocked"."""
        state = _lib().dijitso_plan_state(self._handle, self.node(node))
        if state < 0:
            raise KeyError(node)
        return STATES[state]

    def signature(self, node):
        """Returns the signature of a node; None if it is not known yet."""
        signature = _lib().dijitso_plan_signature(self._handle, self.node(node))
        return None if signature is None else _native.text(signature)

    def library(self, node):
        """Returns ``(module, signature)`` of a module that is done, as :func:`dijitso.jit` does."""
        library, lib = c_void_p(), _lib()
        _native.call("dijitso_plan_library", self._handle, self.node(node), byref(library))
        signature = _native.text(lib.dijitso_library_signature(library))
        loader = "ctypes" if lib.dijitso_library_handle(library) else "import"
        return _modules.from_library(library, loader, signature), signature

    def result(self, node, file=None):
        """Returns the bytes of a task that is done, or those of one of its files."""
        return _bytes("dijitso_plan_result", self._handle, self.node(node), _optional(file))

    def error(self, node):
        """Returns the exception of a node that has failed or is blocked: that of its function, if it ran on this rank, or
        a DijitsoError. None if it has none."""
        node, failure = self.node(node), c_void_p()
        status = _lib().dijitso_plan_error(self._handle, node, byref(failure))
        problem = None if status == _native.OK else _native.take_error(failure)
        return self._exceptions.get(node, problem) if problem is not None else None

    def nodes(self):
        """Returns a list of :class:`Node`, in the order in which they were added."""
        found = []

        def visit(_user_data, info):
            i = info.contents
            found.append(Node(i.node, ("module", "task")[i.kind], STATES[i.state], _native.text(i.label),
                              _native.text(i.name), _native.text(i.signature), _native.text(i.message), bool(i.built),
                              None if i.blocked_by < 0 else i.blocked_by, tuple(i.needs[:i.need_count]),
                              tuple(i.after[:i.after_count]), i.size, i.seconds, i.rank))
            return 0

        _native.call("dijitso_plan_visit", self._handle, _NODE_FN(visit), None)
        return found

    def _guarded(self, function, set_error):
        """Makes a callback of a node for C: an exception is kept, and the node fails."""

        def guarded(number, *arguments):
            try:
                if self._watch is not None and threading.get_ident() == self._thread:
                    with self._watch.in_callback():
                        function(number, *arguments)
                else:
                    function(number, *arguments)
                return 0
            except BaseException as exception:
                self._note(exception)
                getattr(_lib(), set_error)(arguments[-1], _native.reason(exception))
                return 1

        return guarded

    def _note(self, exception):
        node = _lib().dijitso_plan_current(self._handle)
        self._exceptions[node] = exception
        if not isinstance(exception, Exception):
            # Ctrl-C, or the end of the program.
            self._stop = exception

    def _guarded_event(self, event):
        def guarded(_user_data, record):
            try:
                r = record.contents
                with self._watch.in_callback():
                    event(Event(EVENTS[r.kind], None if r.node < 0 else r.node, _native.text(r.label or b""),
                                _native.text(r.message or b""), r.seconds, r.seconds_left, bool(r.built), r.done, r.failed,
                                r.blocked, r.running, r.total))
            except BaseException as exception:
                self._stop = self._stop or exception

        return guarded

    def _run_generate(self, number, name, signature, _json, source):
        generate, jitable, generator = self._work[number]
        hand_over(generate(jitable, name.decode(), signature.decode(), generator), source)

    def _run_task(self, number, handle):
        run, params = self._work[number]
        task = Task(self, handle, params)
        try:
            result = run(task)
            if result is not None:
                data = _native.utf8(result)
                if _lib().dijitso_task_set_result(handle, data, len(data)) != _native.OK:
                    raise MemoryError
        finally:
            task._handle = None


class Task:
    """What a task's function needs. It is used while that function runs, on its thread.

    ``plan`` is the plan, ``params`` are the parameters of the task.
    """

    def __init__(self, plan, handle, params):
        self.plan = plan
        self.params = params
        self._handle = handle

    @property
    def node(self):
        """The node of this task."""
        return _lib().dijitso_task_node(self._handle)

    @property
    def signature(self):
        """The signature under which the result is kept."""
        return _native.text(_lib().dijitso_task_signature(self._handle))

    @property
    def needs(self):
        """The nodes whose results this task uses, all of them done."""
        lib = _lib()
        return [lib.dijitso_task_need_node(self._handle, index)
                for index in range(lib.dijitso_task_need_count(self._handle))]

    def result(self, node, file=None):
        """Returns the bytes of a task that this one needs, or those of one of its files."""
        index = self.needs.index(self.plan.node(node))
        return _bytes("dijitso_task_need_result", self._handle, index, _optional(file))

    def library(self, node):
        """Returns ``(module, signature)`` of a module that this task needs."""
        return self.plan.library(node)

    def need(self, node):
        """Adds a need. If it is not done yet, the function runs again when it is; what it returns now is dropped."""
        _native.call("dijitso_task_need", self._handle, self.plan.node(node))

    def add_file(self, name, data, executable=False):
        """Adds a file to the result: a relative path, and a text or bytes."""
        data = _native.utf8(data)
        if _lib().dijitso_task_add_file(self._handle, _native.utf8(name), data, len(data), int(executable)) != _native.OK:
            raise ValueError("%r is no name of a file" % (name,))
