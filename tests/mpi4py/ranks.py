"""A Python program passes communicators of mpi4py through ctypes, on all ranks. usage: ranks.py LIBRARY WORK"""

import ctypes
import os
import sys

from mpi4py import MPI

library = ctypes.CDLL(sys.argv[1])
os.environ["DIJITSO_CACHE_DIR"] = sys.argv[2]
comm = MPI.COMM_WORLD
text = b'extern "C" int rank_free() { return 17; }\n'


def jit(name, code, comm):
    """Returns the status, the handle and the message of one call."""
    handle, error = ctypes.c_void_p(), ctypes.c_void_p()
    status = library.dijitso_jit_source_comm(
        name, None, code, ctypes.c_size_t(len(code)), None, ctypes.c_size_t(0), ctypes.c_void_p(MPI._addressof(comm)),
        ctypes.c_size_t(MPI._sizeof(MPI.Comm)), ctypes.byref(handle), ctypes.byref(error))
    library.dijitso_error_message.restype = ctypes.c_char_p
    message = library.dijitso_error_message(error)
    library.dijitso_error_free(error)
    return status, handle, message


def same(value):
    """Checks that all ranks have the same value."""
    assert comm.allgather(value) == [value] * comm.size, value


# A text that does not compile fails with one message on all ranks.
status, handle, message = jit(b"bad", b"not C\n", comm)
assert status == 30 and not handle, (status, message)
same(message)

for world in comm, comm.Split(comm.rank % 2, comm.rank), MPI.COMM_SELF:
    status, handle, message = jit(b"good", text, world)
    assert status == 0, message
    function = ctypes.c_void_p()
    assert library.dijitso_library_symbol(handle, b"rank_free", ctypes.byref(function), None) == 0
    assert ctypes.CFUNCTYPE(ctypes.c_int)(function.value)() == 17
    library.dijitso_library_free(handle)
library.dijitso_mpi_comm_size.restype = ctypes.c_size_t
same(library.dijitso_mpi_family())
assert library.dijitso_mpi_comm_size() == MPI._sizeof(MPI.Comm)
if comm.rank == 0:
    print(f"{comm.size} ranks, family {library.dijitso_mpi_family()}: {MPI.Get_library_version().splitlines()[0]}")
