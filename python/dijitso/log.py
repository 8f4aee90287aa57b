# SPDX-License-Identifier: MIT OR Apache-2.0
"""The log.

Messages of this package go to the logger "dijitso". Those of the library go to standard error, those of rank 0 alone
unless they are errors, until a program asks for the logger or sets a handler: from then on they go to the logger too,
on every rank. The level is WARNING, or the one that the variable ``DIJITSO_LOG`` names.
"""

import logging
import os
from typing import Any, NoReturn, Optional, Union

__all__ = ["set_log_level", "get_logger", "get_log_handler", "set_log_handler"]

_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "WARN": logging.WARNING,
           "ERROR": logging.ERROR, "CRITICAL": logging.CRITICAL, "OFF": logging.CRITICAL}


def _first_level() -> int:
    for word in os.environ.get("DIJITSO_LOG", "").split(","):
        word = word.strip().upper()
        if word in _LEVELS or word.isdigit():
            return _LEVELS.get(word) or int(word)
    return logging.WARNING


_log = logging.getLogger("dijitso")
_first_handler = logging.StreamHandler()
_handler: Optional[logging.Handler] = _first_handler
_log.addHandler(_first_handler)
_log.setLevel(_first_level())

# The function that the library calls; it must live as long as it is set.
_forward: Any = None


def set_log_level(level: Union[int, str]) -> None:
    """Sets the level: a number, or "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL" in any case.

    Raises ValueError for another name and TypeError for another type.
    """
    if isinstance(level, str):
        if level.upper() not in _LEVELS:
            raise ValueError("unknown log level %r: it is DEBUG, INFO, WARNING, ERROR, CRITICAL or a number" % (level,))
        level = _LEVELS[level.upper()]
    elif not isinstance(level, int) or isinstance(level, bool):
        raise TypeError("a log level is a name or a number, not %r" % (level,))
    from dijitso import _native
    _native.call("dijitso_log_set_level", level)
    _log.setLevel(level)


def get_logger() -> logging.Logger:
    """Returns the logger "dijitso", which from now on gets the records of the library too."""
    _take_records()
    return _log


def get_log_handler() -> Optional[logging.Handler]:
    """Returns the handler that was set last; at first one that writes to standard error."""
    return _handler


def set_log_handler(handler: Optional[logging.Handler]) -> None:
    """Puts a handler in the place of the one that was set last. It gets the records of the library too. None sets no
    handler: records go to those of the program alone."""
    global _handler
    if _handler is not None:
        _log.removeHandler(_handler)
    _handler = handler
    if handler is not None:
        _log.addHandler(handler)
    _take_records()


def _take_records() -> None:
    """Lets the library give its records to the logger."""
    global _forward
    if _forward is not None:
        return
    import atexit

    from dijitso import _native

    def forward(_user_data: Any, record: Any) -> None:
        record = record.contents
        try:
            _log.log(record.level, "%s", _native.text(record.message))
        except Exception as problem:  # C cannot take it
            os.write(2, ("dijitso: a handler of the log fails: %r\n" % (problem,)).encode("utf-8", "replace"))

    _forward = _native.LOG_FN(forward)
    _native.call("dijitso_log_set_handler", _forward, None)
    # Threads of the library may not call Python when it ends.
    atexit.register(lambda: _native.call("dijitso_log_set_handler", _native.LOG_FN(), None))


def debug(message: str, *arguments: Any) -> None:
    """Logs a message for developers."""
    _log.debug(message, *arguments)


def info(message: str, *arguments: Any) -> None:
    """Logs a message."""
    _log.info(message, *arguments)


def warning(message: str, *arguments: Any) -> None:
    """Logs a warning."""
    _log.warning(message, *arguments)


def error(message: str, *arguments: Any) -> NoReturn:
    """Logs an error, and raises RuntimeError with its text."""
    _log.error(message, *arguments)
    raise RuntimeError(message % arguments if arguments else message)
