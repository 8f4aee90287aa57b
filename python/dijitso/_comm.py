# SPDX-License-Identifier: MIT OR Apache-2.0
"""Communicators of mpi4py, for C. Not public."""

import ctypes


def address(comm):
    """Returns the address and the size of a communicator; of None those of no communicator."""
    if comm is None:
        return None, 0
    from mpi4py import MPI
    if not isinstance(comm, MPI.Comm):
        # DOLFIN wraps communicators in a type of its own.
        convert = getattr(comm, "tompi4py", None)
        if convert is None:
            raise TypeError("a communicator of mpi4py is needed, not %r" % (comm,))
        comm = convert()
    return MPI._addressof(comm), MPI._sizeof(MPI.Comm)


class New:
    """Room for a communicator that C makes."""

    def __init__(self):
        from mpi4py import MPI
        self.buffer = ctypes.create_string_buffer(MPI._sizeof(MPI.Comm))

    def take(self):
        """Returns it as a communicator of mpi4py; None for MPI_COMM_NULL."""
        from mpi4py import MPI
        comm = MPI.Intracomm()
        ctypes.memmove(MPI._addressof(comm), self.buffer, len(self.buffer))
        return None if comm == MPI.COMM_NULL else comm
