"""Live progress of a sweep on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from alphapulse.validation.null_sweeps import NullSweeps

LINE_SECONDS = 5.0


class SweepProgress:
    """Trials done, trials a second, the best value so far and the time left.

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
        self._first = n_done
        self._objective = objective
        self._started = self._line_at = time.monotonic()
        self._bar: Progress | None = None
        if not quiet and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} trials"),
                BarColumn(),
                TextColumn("{task.fields[rate]}  best {task.fields[objective]} {task.fields[best]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(
                "sweep", total=n_trials, completed=n_done, rate="", objective=objective, best="-"
            )

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
        """Show `n_done` committed trials and the best value so far."""
        if self._quiet:
            return
        now = time.monotonic()
        rate = (n_done - self._first) / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=n_done, rate=f"{rate:,.0f}/s", best=_number(best))
        elif now - self._line_at >= LINE_SECONDS and n_done > self._first:
            self._line_at = now
            left = (self._n_trials - n_done) / rate
            self._console.print(
                f"{n_done:,}/{self._n_trials:,} trials, {rate:,.0f}/s, "
                f"best {self._objective} {_number(best)}, {left:,.0f} s left",
                soft_wrap=True,
                highlight=False,
            )


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
        if self._status is not None:
            self._status.update(text)
        elif not self._quiet and time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            self._console.print(text)
