# SPDX-License-Identifier: MIT OR Apache-2.0
"""Ctrl-C during a call of C. Not public.

An exception that a signal handler raises in a callback of ctypes is lost. So the signal is noted, the library polls at
least every 50 ms, and the handler of the program runs then. If it raises, the library ends the call, and the exception
comes out. If it does not, the call goes on.
"""

import contextlib
import signal
import threading


class Watch:
    """Notes SIGINT while a call runs; use it in a ``with`` statement. Does nothing outside of the main thread."""

    __slots__ = ("before", "depth", "frame", "noted", "raised")

    def __init__(self):
        self.before = None
        self.depth = 0
        self.frame = None
        self.noted = False
        self.raised = None

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
            self.noted, self.frame = True, frame

    def asks_to_stop(self):
        """Runs the handler of the program if a signal was noted. Returns True if it has raised."""
        if self.noted:
            self.noted = False
            try:
                self.before(int(signal.SIGINT), self.frame)
            except BaseException as exception:
                self.raised = exception
        return self.raised is not None

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
            if self.asks_to_stop():
                try:
                    raise self.raised
                finally:
                    self.raised = self.frame = None
