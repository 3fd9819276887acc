"""Where the time of a command goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil


@dataclass
class Clock:
    """Seconds by phase, in the order in which the phases were left for the first time."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block to the phase `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def seconds_since_start() -> float:
    """Return the age of this process [s]."""
    return time.time() - float(psutil.Process().create_time())
