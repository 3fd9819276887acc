"""How far the look-ahead gate has come: the other futures that a strategy was asked about, of all that it will be."""

import time
from collections.abc import Callable

SECONDS_BETWEEN = 0.25

Watch = Callable[[int, int], None]
"""Told how many looks of how many were taken."""


class Looks:
    """Looks taken and to be taken.

    Parameters
    ----------
    watch : callable, optional
        Told of them now and then.
    """

    def __init__(self, watch: Watch | None = None) -> None:
        self._watch = watch
        self._n_done = self._n_expected = 0
        self._told_at = time.monotonic()

    def expect(self, n: int) -> None:
        """Count `n` looks more, or less where it is negative, as to be taken."""
        self._n_expected += n

    def take(self) -> None:
        """Count a look as taken."""
        self._n_done += 1
        now = time.monotonic()
        if self._watch is not None and now - self._told_at >= SECONDS_BETWEEN:
            self._told_at = now
            self._watch(self._n_done, max(self._n_expected, self._n_done))
