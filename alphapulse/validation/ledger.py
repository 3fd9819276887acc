"""What was tried before on the same bars, and what it costs a p-value: a Bonferroni weight by size.

A quick look of 50 trials costs little beside a search of 2,000; a search of 5 after 300 tries by hand pays 61-fold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A stretch of time, from the start of its first bar to the end of its last [s since the epoch].

    Attributes
    ----------
    start, end : float
        Infinite where a study of an older version has not kept them: such a study counts everywhere.
    """

    start: float
    end: float

    @property
    def length(self) -> float:
        """Length of the stretch [s]."""
        return self.end - self.start

    def shared(self, other: "Span") -> float:
        """Return the length that two stretches share, 0 if they do not touch [s]."""
        return max(min(self.end, other.end) - max(self.start, other.start), 0.0)


@dataclass(frozen=True)
class Tried:
    """A line of the ledger: trials of one study, or of one backtest, over a stretch of bars.

    Attributes
    ----------
    name : str
    span : Span
        The bars that its search saw.
    n_trials : int
    """

    name: str
    span: Span
    n_trials: int


@dataclass(frozen=True)
class Ledger:
    """What counts against a study beside its own trials.

    Attributes
    ----------
    n_own : int
        Trials of the study.
    tried : tuple of Tried
        Other studies on overlapping bars.
    n_openings : int
        How often any of the hold-out's bars were looked at, this time included; 0 without a hold-out.
    """

    n_own: int
    tried: tuple[Tried, ...] = ()
    n_openings: int = 0

    @property
    def n_trials(self) -> int:
        """Trials on these bars, the study's own included."""
        return self.n_own + sum(line.n_trials for line in self.tried)

    @property
    def factor(self) -> float:
        """What a p-value of the study is multiplied by, at least 1 [1]."""
        return self.n_trials / self.n_own if self.n_own else 1.0

    def adjust(self, p: float) -> float:
        """Return a p-value of the search after all that was tried, at most 1; NaN stays."""
        return min(p * self.factor, 1.0) if p == p else p

    def adjust_holdout(self, p: float) -> float:
        """Return a p-value of the hold-out after all its openings, at most 1; NaN stays."""
        return min(p * self.n_openings, 1.0) if p == p else p

    def adjust_probability(self, probability: float) -> float:
        """Return a probability of skill on the hold-out after all its openings, at least 0; NaN stays."""
        return max(1.0 - (1.0 - probability) * self.n_openings, 0.0) if probability == probability else probability


def same_bars(searched: Span, lines: Iterable[Tried]) -> tuple[Tried, ...]:
    """Return the lines that share more than half of the shorter stretch with `searched`."""
    return tuple(line for line in lines if line.span.shared(searched) > 0.5 * min(line.span.length, searched.length))


def count_openings(holdout: Span, openings: Sequence[Span], lines: Iterable[Tried]) -> int:
    """Return how often any bar of a hold-out was looked at.

    Parameters
    ----------
    holdout : Span
    openings : sequence of Span
        Hold-outs that were opened, this one included.
    lines : iterable of Tried
        Other studies and backtests; one that searched a bar of the hold-out in sample has seen it.
    """
    opened = sum(span.shared(holdout) > 0.0 for span in openings)
    return opened + sum(line.span.shared(holdout) > 0.0 for line in lines)
