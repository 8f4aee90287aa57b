"""A Python program that gets SIGINT while dijitso compiles, alone or on one rank of a job: it has its KeyboardInterrupt
within a second, and its next call succeeds.

usage: interrupt.py LIBRARY WORK alone|LIBRARY_OF_MPI
"""
import ctypes
import os
import signal
import sys
import threading
import time

GENERATE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p,
                            ctypes.c_void_p)
POLL = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
CANCELLED = 53


class Callbacks(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("user_data", ctypes.c_void_p), ("generate", GENERATE),
                ("send", ctypes.c_void_p), ("receive", ctypes.c_void_p), ("wait", ctypes.c_void_p), ("poll", POLL)]


class Interruptible:
    """Notes SIGINT while a call runs, and raises KeyboardInterrupt after it."""

    def __enter__(self):
        self.noted = False
        self.before = signal.signal(signal.SIGINT, self.note)
        return self

    def note(self, *_):
        self.noted = True

    def poll(self, _):
        # Python runs the handler before or within this function, on the main thread.
        return int(self.noted)

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self.before)
        if self.noted:
            raise KeyboardInterrupt


def communicator(mpi):
    """Starts MPI and returns MPI_COMM_WORLD, its rank and size. `mpi` is its library of C."""
    assert mpi.MPI_Init(None, None) == 0
    try:
        comm = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, "ompi_mpi_comm_world")))
    except ValueError:
        comm = ctypes.c_int(0x44000000)
    rank, size = ctypes.c_int(), ctypes.c_int()
    assert mpi.MPI_Comm_rank(comm, ctypes.byref(rank)) == 0 and mpi.MPI_Comm_size(comm, ctypes.byref(size)) == 0
    return comm, rank.value, size.value


def write_compiler(work):
    path = os.path.join(work, "endless-c++")
    new = f"{path}.{os.getpid()}"  # each rank writes one
    with open(new, "w") as file:
        file.write('#!/bin/sh\ncase " $* " in *" -o "*) ;; *) exec c++ "$@" ;; esac\n'
                   f"[ -e '{work}/endless' ] || exec c++ \"$@\"\n: > '{work}/compiling'\nsleep 1000\n")
    os.chmod(new, 0o755)
    os.rename(new, path)
    return path


def main():
    library, work, mode = sys.argv[1:]
    dijitso = ctypes.CDLL(library)
    comm, rank, size = ctypes.c_void_p(None), 0, 1
    if mode != "alone":
        # Open MPI loads plugins that need its symbols.
        mpi = ctypes.CDLL(mode, mode=ctypes.RTLD_GLOBAL)
        comm, rank, size = communicator(mpi)
    dijitso.dijitso_error_message.restype = ctypes.c_char_p
    text = b'extern "C" int value() { return 7; }'

    @GENERATE
    def generate(_user_data, _name, _signature, _json, source):
        return dijitso.dijitso_source_set_code(ctypes.c_void_p(source), text, ctypes.c_size_t(len(text)))

    def jit(poll, comm, params):
        callbacks = Callbacks(ctypes.sizeof(Callbacks), None, generate, None, None, None, POLL(poll))
        handle, error = ctypes.c_void_p(), ctypes.c_void_p()
        status = dijitso.dijitso_jit(b"form", params, ctypes.byref(callbacks), comm,
                                     ctypes.byref(handle), ctypes.byref(error))
        message = dijitso.dijitso_error_message(error).decode() if error else ""
        dijitso.dijitso_error_free(error)
        dijitso.dijitso_library_free(handle)
        return status, message

    params = ctypes.c_void_p()
    assert dijitso.dijitso_params_new(ctypes.byref(params), None) == 0
    for key, value in [("cache.cache_dir", f"{work}/cache"), ("build.cxx", write_compiler(work)),
                       ("cache.signature", "name"), ("build.slots_dir", "")]:
        assert dijitso.dijitso_params_set(params, key.encode(), value.encode(), None) == 0

    # The last rank, which waits for the builder, gets the signal; without other ranks the builder.
    if rank == 0:
        with open(f"{work}/endless", "w"):
            pass
    sent = []

    def send():
        while not os.path.exists(f"{work}/compiling"):
            time.sleep(0.01)
        time.sleep(0.3)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    interrupted = rank == size - 1
    if interrupted:
        threading.Thread(target=send).start()
    status, message, raised = 0, "", False
    begin = time.monotonic()
    try:
        with Interruptible() as host:
            status, message = jit(host.poll, comm, params)
    except KeyboardInterrupt:
        raised = True
    end = time.monotonic()
    assert status == CANCELLED, (rank, status, message)
    assert "the call was cancelled by its poll callback" in message, message
    assert raised == interrupted, (rank, raised)
    if interrupted:
        assert end - sent[0] < 1.0, end - sent[0]
        print(f"rank {rank} of {size}: KeyboardInterrupt after {(end - sent[0]) * 1000:.0f} ms, {message}")
        os.unlink(f"{work}/endless")
    # Rank 0 must not build before that.
    while os.path.exists(f"{work}/endless"):
        time.sleep(0.01)
    status, message = jit(lambda _: 0, comm, params)
    assert status == 0, (rank, status, message)
    dijitso.dijitso_params_free(params)
    if mode != "alone":
        mpi.MPI_Finalize()
    assert end - begin < 60


main()
