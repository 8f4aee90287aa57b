# SPDX-License-Identifier: MIT OR Apache-2.0
"""dijitso: libraries from generated code, built, cached, distributed and loaded while a program runs.

A drop-in for the Python module dijitso 2019.2 of FEniCS, over the library of C.

>>> import dijitso
>>> def generate(x, name, signature, params):
...     return "", 'extern "C" double twice(double x) { return 2 * x; }', ()
>>> module, signature = dijitso.jit(None, "twice", {}, generate)
"""

# Here str becomes a module of this package, so types may not be looked at when functions are defined.
from __future__ import annotations

__version__ = "2019.2.0+0.1.0"

from typing import Any, List, Optional, Sequence

from dijitso import cache, params
from dijitso.jit import DijitsoError, extract_factory_function, jit, jit_many, jit_on, loader_handle
from dijitso.log import set_log_level
from dijitso.params import validate_params

__all__ = ["DijitsoError", "Plan", "extract_factory_function", "jit", "jit_many", "jit_on", "loader_handle", "set_log_level",
           "validate_params"]


#: Modules that are imported when they are used.
_MODULES = ("build", "cmdline", "dolfin", "jit", "log", "mpi", "params", "plan", "signatures", "str", "system")


def main(args: Optional[Sequence[str]] = None) -> int:
    """Runs the command ``dijitso`` with these words, or those of the process. Returns its exit status."""
    from dijitso.__main__ import main
    return main(args)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        import importlib
        return importlib.import_module("dijitso." + name)
    if name == "Plan":
        from dijitso.plan import Plan
        return Plan
    raise AttributeError("module 'dijitso' has no attribute %r" % name)


def __dir__() -> List[str]:
    return sorted({*globals(), *_MODULES, "Plan"})
