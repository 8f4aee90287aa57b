# SPDX-License-Identifier: MIT OR Apache-2.0
"""The log.

Messages of this package go to the logger "dijitso". Those of the library go to standard error, those of rank 0 alone
unless they are errors, until a program asks for the logger or sets a handler: from then on they go to the logger too,
on every rank.
"""

import logging

__all__ = ["set_log_level", "get_logger", "get_log_handler", "set_log_handler"]

_log = logging.getLogger("dijitso")
_handler = logging.StreamHandler()
_log.addHandler(_handler)
_log.setLevel(logging.WARNING)

# The function that the library calls; it must live as long as it is set.
_forward = None


def set_log_level(level):
    """Sets the level: a number, or "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL" in any case.

    Raises ValueError for another name and TypeError for another type.
    """
    if isinstance(level, str):
        number = getattr(logging, level.upper(), None)
        if not isinstance(number, int):
            raise ValueError("unknown log level %r: it is DEBUG, INFO, WARNING, ERROR, CRITICAL or a number" % (level,))
        level = number
    elif not isinstance(level, int) or isinstance(level, bool):
        raise TypeError("a log level is a name or a number, not %r" % (level,))
    _log.setLevel(level)
    from dijitso import _native
    _native.call("dijitso_log_set_level", level)


def get_logger():
    """Returns the logger "dijitso", which from now on gets the records of the library too."""
    _take_records()
    return _log


def get_log_handler():
    """Returns the handler that was set last; at first one that writes to standard error."""
    return _handler


def set_log_handler(handler):
    """Puts a handler in the place of the one that was set last. It gets the records of the library too."""
    global _handler
    _log.removeHandler(_handler)
    _handler = handler
    _log.addHandler(handler)
    _take_records()


def _take_records():
    """Lets the library give its records to the logger."""
    global _forward
    if _forward is not None:
        return
    import atexit

    from dijitso import _native

    def forward(_user_data, record):
        record = record.contents
        try:
            _log.log(record.level, "%s", _native.text(record.message))
        except Exception:  # C cannot take it
            logging.lastResort.handleError(logging.makeLogRecord({"msg": record.message}))

    _forward = _native.LOG_FN(forward)
    _native.call("dijitso_log_set_handler", _forward, None)
    # Threads of the library may not call Python when it ends.
    atexit.register(lambda: _native.call("dijitso_log_set_handler", _native.LOG_FN(), None))


def debug(*message):
    """Logs a message for developers."""
    _log.debug(*message)


def info(*message):
    """Logs a message."""
    _log.info(*message)


def warning(*message):
    """Logs a warning."""
    _log.warning(*message)


def error(message, *arguments):
    """Logs an error, and raises RuntimeError with its text."""
    _log.error(message, *arguments)
    raise RuntimeError(message % arguments if arguments else message)
