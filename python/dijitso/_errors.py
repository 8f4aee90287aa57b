# SPDX-License-Identifier: MIT OR Apache-2.0
"""The exception of this package. Public as dijitso.DijitsoError and dijitso.jit.DijitsoError."""

from typing import Dict, Optional, Sequence


class DijitsoError(RuntimeError):
    """A library could not be built, distributed or loaded.

    ``err_info`` has the paths of what reproduces a failed build: ``fail_dir``, ``src_filename``, ``cmd_filename``,
    ``readme_filename``, ``log_filename``, and ``inc_filename`` if there is a header. It is empty if there is no such
    folder on this host.

    ``status`` is the code of ``dijitso.h``, ``rank`` the rank on which it happened (-1: none), ``log`` the whole
    output of the compiler, ``files`` the paths of all files of the folder. After a call with a communicator, message
    and status are the same on every rank.
    """

    def __init__(self, message: str, err_info: Optional[Dict[str, str]] = None, status: int = 0, rank: int = -1, log: str = "",
                 files: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.err_info = {} if err_info is None else err_info
        self.status = status
        self.rank = rank
        self.log = log
        self.files = files


DijitsoError.__module__ = "dijitso.jit"
