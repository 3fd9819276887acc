"""Ctrl-C and SIGTERM as a request: the first one ends a sweep cleanly, the second one at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received = signal.SIGINT


class Interruption:
    """While entered, notes SIGINT and SIGTERM instead of raising; outside the main thread it notes nothing."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        global _received
        _received = signal.Signals(number)
        if self.requested:
            raise interrupted()
        self.requested = True


def interrupted() -> KeyboardInterrupt:
    """Return the error with which a command ends that was asked to: it holds the signal, which the exit code tells."""
    return KeyboardInterrupt(_received)
