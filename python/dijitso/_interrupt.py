# SPDX-License-Identifier: MIT OR Apache-2.0
"""Ctrl-C during a call of C. Not public.

An exception that a signal handler raises in a callback of ctypes is lost. So the signal is noted, the library asks for
it at least every 50 ms and ends the call, and the handler of the program runs after that.
"""

import contextlib
import signal
import threading


class Watch:
    """Notes SIGINT while a call runs; use it in a ``with`` statement. Does nothing outside of the main thread."""

    __slots__ = ("noted", "before", "depth")

    def __init__(self):
        self.noted = False
        self.before = None
        self.depth = 0

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self.before = before
                signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number, frame):
        if self.depth:
            # In a function of the program: it may raise, as everywhere else.
            self.before(number, frame)
        else:
            self.noted = True

    @contextlib.contextmanager
    def in_callback(self):
        """Lets the handler of the program run at once, while a function of the program runs."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def __exit__(self, *_):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            if self.noted:
                self.before(signal.SIGINT, None)
