"""What is seen on stderr while a command works: a bar or a line that goes away on a terminal, plain lines elsewhere."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from alphapulse.reports.json_console import JsonConsole
from alphapulse.validation.null_sweeps import NullSweeps

LINE_SECONDS = 5.0
PHASE_SECONDS = 1.0
RATE_SECONDS = 10.0
LEAST_SECONDS = 2.0
LEAST_STEPS = 3
MOST_STEPS = 8
TOGETHER = 0.1
"""Steps that come so close together are one [s]."""


class Phases:
    """What a command is at, said of everything that takes more than a second.

    Parameters
    ----------
    console : Console
        Console of stderr.
    quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet

    @contextlib.contextmanager
    def __call__(self, text: str) -> Iterator[None]:
        """Say `text` while the block runs: on a terminal a line that goes away, elsewhere one that stays."""
        if self._quiet:
            yield
        elif self._console.is_terminal:
            with self._console.status(text):
                yield
        else:
            timer = threading.Timer(PHASE_SECONDS, lambda: self._console.print(f"{text} ..."))
            timer.daemon = True
            timer.start()
            try:
                yield
            finally:
                timer.cancel()


class Rate:
    """How fast something goes by now, from the moment that the first of it was done.

    What comes before that, and the slow start after it, say nothing of what is left: known is the later half of the
    time since then, at most `RATE_SECONDS` of it, or as long as `MOST_STEPS` steps took.

    Parameters
    ----------
    n_done : int
        How much was done at the start.
    """

    def __init__(self, n_done: int) -> None:
        self._n_done = n_done
        self._first: float | None = None
        self._seen: list[tuple[float, int]] = []

    def update(self, n_done: int) -> float:
        """Return what is done a second [1/s]; 0 until `LEAST_STEPS` steps and `LEAST_SECONDS` tell."""
        now = time.monotonic()
        if n_done > self._n_done:
            self._n_done = n_done
            self._first = now if self._first is None else self._first
            if len(self._seen) > 1 and now - self._seen[-2][0] < TOGETHER:
                self._seen.pop()
            self._seen.append((now, n_done))
        if self._first is None or now - self._first < LEAST_SECONDS or len(self._seen) <= LEAST_STEPS:
            return 0.0
        last, n_last = self._seen[-1]
        half = self._place(last - (last - self._first) / 2)
        recent = min(self._place(last - RATE_SECONDS), len(self._seen) - 1 - MOST_STEPS)
        begin = min(max(half, recent), len(self._seen) - 2)
        before, n_before = self._seen[begin]
        gap = (last - before) / (len(self._seen) - 1 - begin)
        # Half of a longer time begins later.
        del self._seen[:begin]
        return (n_last - n_before) / (max(last, now - gap) - before)

    def _place(self, at: float) -> int:
        """Return the last step that was seen by a moment, or the first of all."""
        return max((place for place, (seen, _) in enumerate(self._seen) if seen <= at), default=0)


class SweepProgress:
    """Trials evaluated, trials a second, the best value so far and the time left.

    Parameters
    ----------
    console : Console
        It writes to stderr, since stdout belongs to results.
    n_trials : int
        Trials of the study in total.
    n_done : int
        Trials that were stored before.
    objective : str
        Name of what `best` is.
    quiet : bool
    """

    def __init__(self, console: Console, *, n_trials: int, n_done: int, objective: str, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._n_trials = n_trials
        self._objective = objective.replace("_", " ")
        self._rate = Rate(n_done)
        self._line_at = time.monotonic()
        self._bar: Progress | None = None
        if not quiet and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} trials"),
                BarColumn(bar_width=None if console.width > 100 else 10),
                TextColumn("{task.fields[said]}"),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("sweep", total=n_trials, completed=n_done, said="")

    def __enter__(self) -> "SweepProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, n_done: int, best: float) -> None:
        """Show `n_done` evaluated trials and the best value so far."""
        if self._quiet:
            return
        rate = self._rate.update(n_done)
        left = (self._n_trials - n_done) / rate if rate > 0 else math.nan
        if isinstance(self._console, JsonConsole):
            self._log(n_done, rate, best, left)
            return
        said = f"best {self._objective} {_number(best)}"
        if rate > 0:
            pace = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
            said = f"{pace}, {said}, {duration(left)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=n_done, said=said)
        elif time.monotonic() - self._line_at >= LINE_SECONDS and n_done:
            self._line_at = time.monotonic()
            self._console.print(f"{n_done:,}/{self._n_trials:,} trials, {said}", soft_wrap=True, highlight=False)

    def _log(self, n_done: int, rate: float, best: float, left: float) -> None:
        if isinstance(self._console, JsonConsole) and time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            fields = {"n_done": n_done, "n_trials": self._n_trials, "per_second": rate, "best": best}
            self._console.event("progress", **fields, seconds_left=left)


def duration(seconds: float) -> str:
    """Return a time as text: 40 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


class NullProgress:
    """Null sweeps done and how many of them were as good: one line that changes on a terminal, plain lines elsewhere.

    Parameters
    ----------
    console : Console
        Console of stderr.
    quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._line_at = time.monotonic()
        self._status = console.status("null sweeps") if not quiet and console.is_terminal else None

    def __enter__(self) -> "NullProgress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def update(self, outcome: NullSweeps) -> None:
        """Show how far the null sweeps have come."""
        text = f"null sweep {outcome.n_done} of at most {outcome.n_wanted}: {outcome.n_as_good} as good"
        if isinstance(self._console, JsonConsole) and not self._quiet:
            fields = {"n_done": outcome.n_done, "n_wanted": outcome.n_wanted, "n_as_good": outcome.n_as_good}
            self._console.event("null_sweeps", **fields)
        elif self._status is not None:
            self._status.update(text)
        elif not self._quiet and time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            self._console.print(text)
