"""Progress of a download on stderr: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

import sys
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 5.0


class DownloadProgress:
    """Series done of all, the last of them, and the time left.

    Parameters
    ----------
    n_series : int
        All that are wanted; a download of one shows nothing.
    quiet : bool
    """

    def __init__(self, n_series: int, *, quiet: bool) -> None:
        self._n_series = n_series
        self._n_done = 0
        self._started = self._line_at = time.monotonic()
        self._lock = threading.Lock()
        console = Console(stderr=True)
        self._silent = quiet or n_series < 2
        self._bar: Progress | None = None
        if not self._silent and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} series"),
                BarColumn(),
                TextColumn("{task.fields[name]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("download", total=n_series, name="")

    def __enter__(self) -> "DownloadProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def count(self, name: str) -> None:
        """Say that a series is done; from any thread."""
        with self._lock:
            self._n_done += 1
            if self._bar is not None:
                self._bar.update(self._task, advance=1, name=name)
                return
            now = time.monotonic()
            if self._silent or now - self._line_at < LINE_SECONDS:
                return
            self._line_at = now
            left = (now - self._started) / self._n_done * max(self._n_series - self._n_done, 0)
            line = f"{self._n_done:,}/{self._n_series:,} series, the last {name}, about {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)
