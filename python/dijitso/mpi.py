# SPDX-License-Identifier: MIT OR Apache-2.0
"""Communicators, roles and transport, for programs that share the work among ranks by themselves.

A call of :func:`dijitso.jit` with ``comm`` needs none of this. All functions are collective over their communicator, which
is one of mpi4py. A failure on one rank raises DijitsoError on all. Communicators that are returned belong to the caller.
"""

from ctypes import byref, c_int32, c_uint64
from typing import Any, Iterable, List, Tuple

from dijitso import _comm, _native
from dijitso.log import error

__all__ = ["bcast_uuid", "create_comms_and_role", "create_comms_and_role_node", "create_comms_and_role_process",
           "create_comms_and_role_root", "create_node_comm", "create_node_roots_comm", "create_subcomm",
           "discover_path_access_ranks", "gather_global_partitions", "receive_binary", "send_binary"]

_ROLES = ("builder", "receiver", "waiter")
_STRATEGIES = ("root", "node", "process")


def bcast_uuid(comm: Any) -> int:
    """Returns a random number of 64 bits, the same on all ranks."""
    uuid = c_uint64()
    _native.call("dijitso_mpi_bcast_uuid_comm", *_comm.address(comm), byref(uuid))
    return uuid.value


def discover_path_access_ranks(comm: Any, path: str) -> List[int]:
    """Returns the sorted ranks that see the same directory ``path`` as this one. The directory is made if needed."""
    ranks, count = (c_int32 * comm.size)(), c_int32()
    _native.call("dijitso_mpi_discover_path_access_ranks_comm", *_comm.address(comm), _native.utf8(path), ranks, comm.size,
                 byref(count))
    return list(ranks[:count.value])


def gather_global_partitions(comm: Any, partition: int) -> List[int]:
    """Returns the sorted values of ``partition`` on all ranks, each once. They are not negative."""
    values, count = (c_uint64 * comm.size)(), c_int32()
    _native.call("dijitso_mpi_gather_global_partitions_comm", *_comm.address(comm), partition, values, comm.size,
                 byref(count))
    return list(values[:count.value])


def create_subcomm(comm: Any, ranks: Iterable[int]) -> Any:
    """Returns a communicator of some ranks. None on other ranks."""
    new = _comm.New()
    chosen = [int(rank) for rank in ranks]
    _native.call("dijitso_mpi_create_subcomm_comm", *_comm.address(comm), (c_int32 * len(chosen))(*chosen), len(chosen),
                 new.buffer)
    return new.take()


def create_node_comm(comm: Any, comm_dir: str) -> Tuple[Any, int]:
    """Returns a communicator of the ranks that share the directory ``comm_dir``, and the first of these ranks in
    ``comm``."""
    new, root = _comm.New(), c_int32()
    _native.call("dijitso_mpi_create_node_comm_comm", *_comm.address(comm), _native.utf8(comm_dir), new.buffer, byref(root))
    return new.take(), root.value


def create_node_roots_comm(comm: Any, node_root: int) -> Any:
    """Returns a communicator of the ranks that are ``node_root`` of their node. None on other ranks."""
    new = _comm.New()
    _native.call("dijitso_mpi_create_node_roots_comm_comm", *_comm.address(comm), int(node_root), new.buffer)
    return new.take()


def _roles(strategy: str, comm: Any, node_comm: Any, node_root: int) -> Tuple[Any, Any, str]:
    copy, wait, role = _comm.New(), _comm.New(), c_int32()
    own, size = _comm.address(comm)
    _native.call("dijitso_mpi_create_comms_and_role_%s_comm" % strategy, own, _comm.address(node_comm)[0], size,
                 int(node_root), copy.buffer, wait.buffer, byref(role))
    return _copy_comm(copy, strategy), wait.take(), _ROLES[role.value]


def _copy_comm(new: Any, strategy: str) -> Any:
    """With strategy "root", ranks that neither send nor receive have MPI.COMM_NULL, as in dijitso 2019.2. With others all have
    None."""
    comm = new.take()
    if comm is None and strategy == "root":
        from mpi4py import MPI
        return MPI.COMM_NULL
    return comm


def create_comms_and_role_root(comm: Any, node_comm: Any, node_root: int) -> Tuple[Any, Any, str]:
    """Returns copy communicator, wait communicator and role if rank 0 builds and sends to one rank of each node."""
    return _roles("root", comm, node_comm, node_root)


def create_comms_and_role_node(comm: Any, node_comm: Any, node_root: int) -> Tuple[Any, Any, str]:
    """Returns copy communicator (None), wait communicator and role if one rank of each node builds."""
    return _roles("node", comm, node_comm, node_root)


def create_comms_and_role_process(comm: Any, node_comm: Any, node_root: int) -> Tuple[Any, Any, str]:
    """Returns None, None and "builder": each rank builds. Ranks may share a directory."""
    return _roles("process", comm, node_comm, node_root)


def create_comms_and_role(comm: Any, comm_dir: str, buildon: str) -> Tuple[Any, Any, str]:
    """Returns copy communicator, wait communicator and role of this process.

    ``buildon`` is "root", "node" or "process". The role is "builder", "receiver" or "waiter". Without a communicator it is
    "builder".
    """
    if buildon not in _STRATEGIES:
        error("Invalid parameter buildon=%s: it is one of %s.", buildon, ", ".join(_STRATEGIES))
    if comm is None:
        return None, None, "builder"
    copy, wait, role = _comm.New(), _comm.New(), c_int32()
    _native.call("dijitso_mpi_create_comms_and_role_comm", *_comm.address(comm), _native.utf8(comm_dir), buildon.encode(),
                 copy.buffer, wait.buffer, byref(role))
    return _copy_comm(copy, buildon), wait.take(), _ROLES[role.value]


def send_binary(comm: Any, lib_data: Any) -> None:
    """Sends an array of bytes from rank 0 to all other ranks. Any length."""
    data = lib_data.tobytes() if hasattr(lib_data, "tobytes") else bytes(lib_data)
    _native.call("dijitso_mpi_send_binary_comm", *_comm.address(comm), data, len(data))


def receive_binary(comm: Any) -> Any:
    """Returns the array of bytes that rank 0 sends."""
    import numpy
    with _native.Blob() as blob:
        _native.call("dijitso_mpi_receive_binary_comm", *_comm.address(comm), blob.handle)
        return numpy.frombuffer(blob.bytes(), dtype=numpy.uint8).copy()
