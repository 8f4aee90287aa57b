# SPDX-License-Identifier: MIT OR Apache-2.0
"""DOLFIN 2019.2 with collective calls.

DOLFIN lets rank 0 compile while all others wait in a reduction, which costs each of them a core. After :func:`install`
all ranks make the same call on the communicator instead: they sleep while one of them compiles, a hit costs no message,
and a failure has the same text on every rank.
"""

import functools
from types import ModuleType
from typing import Any, Callable, List

import dijitso

__all__ = ["install"]


def collective(local_jit: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the collective form of a function that calls ``dijitso.jit`` on its rank. It takes ``mpi_comm`` as DOLFIN's
    does, the communicator of all ranks by default."""
    from dolfin.cpp import MPI

    @functools.wraps(local_jit)
    def call(*args: Any, **kwargs: Any) -> Any:
        comm = kwargs.pop("mpi_comm", MPI.comm_world)
        if MPI.size(comm) == 1:
            return local_jit(*args, **kwargs)
        try:
            with dijitso.jit_on(comm, all_or_none=True):
                return local_jit(*args, **kwargs)
        except RuntimeError:
            raise
        except Exception as problem:
            # As DOLFIN does on several ranks.
            raise RuntimeError(str(problem)) from problem

    return call


def install() -> None:
    """Replaces the functions by which DOLFIN compiles, ``ffc_jit`` and ``dijitso_jit``. Call it after ``import dolfin``.
    A second call changes nothing."""
    import importlib

    jit: Any = importlib.import_module("dolfin.jit.jit")
    if getattr(jit, "_dijitso_installed", False):
        return
    jit._dijitso_installed = True
    for name in "ffc_jit", "dijitso_jit":
        old = getattr(jit, name)
        new = collective(old.__wrapped__)
        for module in _modules_of_dolfin():
            if getattr(module, name, None) is old:
                setattr(module, name, new)


def _modules_of_dolfin() -> List[ModuleType]:
    import sys

    return [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "dolfin" and module is not None]
