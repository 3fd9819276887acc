"""Progress of a download on stderr."""

import time
from threading import Lock

from rich.console import Console

from alphapulse.progress import Line


class DownloadProgress(Line):
    """Series done of all, the last of them, and the time left.

    Parameters
    ----------
    n_series : int
        All that are wanted; a download of one shows nothing.
    quiet : bool
    """

    def __init__(self, n_series: int, *, quiet: bool) -> None:
        super().__init__(Console(stderr=True), quiet=quiet or n_series < 2, n_total=n_series, unit="series")
        self._n_series = n_series
        self._n_done = 0
        self._started = time.monotonic()
        self._counting = Lock()

    def count(self, name: str) -> None:
        """Say that a series is done; from any thread."""
        with self._counting:
            self._n_done += 1
            left = (time.monotonic() - self._started) / self._n_done * max(self._n_series - self._n_done, 0)
            self.say(f"the last {name}, about {left:.0f} s left", self._n_done)
