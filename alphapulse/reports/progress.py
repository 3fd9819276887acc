"""What a sweep is at: its phases, its look-ahead gate, its trials, its null sweeps."""

import math
import time
from collections.abc import Callable

from rich.console import Console

from alphapulse.progress import Line
from alphapulse.validation.null_sweeps import NullSweeps

RATE_SECONDS = 10.0
LEAST_SECONDS = 2.0
LEAST_STEPS = 3
MOST_STEPS = 8
TOGETHER = 0.1
"""Steps that come so close together are one [s]."""

LOOKING = "looking for decisions that see the future"


class Phases:
    """The lines of a command, one for each thing that it is at.

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

    def __call__(self, text: str) -> Line:
        """Return a line that says `text` while it is entered."""
        return Line(self._console, text, quiet=self._quiet)


def look_ahead(line: Line) -> Callable[[int, int], None]:
    """Return what shows on `line` how many looks of how many the look-ahead gate has taken."""
    return lambda n_done, n_total: line.say(f"look-ahead {n_done:,} of {n_total:,}")


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


class SweepProgress(Line):
    """Trials evaluated, trials a second, the best value so far and the time left.

    Parameters
    ----------
    console : Console
        Console of stderr.
    n_trials : int
        Trials of the study in total.
    n_done : int
        Trials that were stored before.
    objective : str
        Name of what the best is best by.
    quiet : bool
    """

    def __init__(self, console: Console, *, n_trials: int, n_done: int, objective: str, quiet: bool) -> None:
        super().__init__(console, quiet=quiet, n_total=n_trials, n_done=n_done, unit="trials")
        self._n_trials = n_trials
        self._objective = objective.replace("_", " ")
        self._rate = Rate(n_done)

    def update(self, n_done: int, best: float) -> None:
        """Show `n_done` evaluated trials and the best value so far."""
        rate = self._rate.update(n_done)
        if not n_done:
            return
        left = (self._n_trials - n_done) / rate if rate > 0 else math.nan
        said = f"best {self._objective} {_number(best)}"
        if rate > 0:
            pace = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
            said = f"{pace}, {said}, {duration(left)} left"
        fields = {"n_done": n_done, "n_trials": self._n_trials, "per_second": rate, "best": best, "seconds_left": left}
        self.say(said, n_done, event="progress", fields=fields)


class NullProgress(Line):
    """Null sweeps done, and how many of them were as good; then the surrogates of the hold-out.

    Parameters
    ----------
    console : Console
        Console of stderr.
    quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        super().__init__(console, "null sweeps", quiet=quiet)

    def update(self, outcome: NullSweeps) -> None:
        """Show how far the null sweeps have come."""
        if not outcome.n_wanted:
            return
        text = f"null sweep {outcome.n_done} of at most {outcome.n_wanted}: {outcome.n_as_good} as good"
        fields = {"n_done": outcome.n_done, "n_wanted": outcome.n_wanted, "n_as_good": outcome.n_as_good}
        self.say(text, event="null_sweeps", fields=fields)

    def update_holdout(self, n_done: int, n_wanted: int) -> None:
        """Show how many surrogates of the hold-out are done."""
        fields = {"n_done": n_done, "n_wanted": n_wanted}
        self.say(f"hold-out surrogates {n_done:,} of {n_wanted:,}", event="holdout_surrogates", fields=fields)


def search_line(n_new: int, seconds: float, objective: str, best: float) -> str:
    """Return what a search has come to, before anybody has asked whether it is luck."""
    rate = n_new / seconds if seconds > 0 else 0.0
    return (
        f"{n_new:,} trials in {seconds:,.1f} s ({rate:,.0f}/s), best {objective.replace('_', ' ')} {_number(best)}; "
        "now: is it luck?"
    )


def duration(seconds: float) -> str:
    """Return a time as text: 40 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
