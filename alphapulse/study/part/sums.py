"""What is known of all trials of a study of which a part is stored."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from alphapulse.study.part.drawn import is_drawn

MOST_REASONS = 1_000
OTHER_REASONS = "another reason"
NUMBERS_AT_ONCE = 2**20


@dataclass
class Sums:
    """Counts over all trials of a study, committed with every piece of it.

    Attributes
    ----------
    n_planned : int
        Trials that the study was to have at most when it was decided which are drawn.
    n_trials : int
        Trials that are counted.
    failures : dict of str to int
        Failed trials by reason; beyond `MOST_REASONS` of them the others are one.
    n_infeasible : int
        Trials that have their objectives and break a condition on results.
    n_worse : int
        Trials that are worse than the first one by the first objective.
    sharpes : list of float
        Number, mean and sum of squared deviations of the Sharpe ratios per bar [1].
    n_waited : int
        Whole generations since the last better value.
    improves : bool
        Whether the generation that is not whole yet has one.
    n_best, n_drawn : int
        Trials that are stored for being among the best, and those for being drawn; some may be both.
    n_distinct : int, optional
        Different settings among the trials; None where they were not counted.
    """

    n_planned: int
    n_trials: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    n_infeasible: int = 0
    n_worse: int = 0
    sharpes: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    n_waited: int = 0
    improves: bool = False
    n_best: int = 0
    n_drawn: int = 0
    n_distinct: int | None = None

    @property
    def n_failed(self) -> int:
        """Trials that failed."""
        return sum(self.failures.values())

    @property
    def stored(self) -> str:
        """What of the study is stored, in a sentence."""
        if self.n_drawn == self.n_trials:
            return f"All {self.n_trials:,} trials are stored."
        return f"{self.n_best:,} best and {self.n_drawn:,} drawn of {self.n_trials:,} trials are stored."

    def plan(self, n_trials: int) -> None:
        """Let the study have more trials, of which as many are drawn in all: of those that are counted, fewer."""
        if n_trials <= self.n_planned:
            return
        self.n_planned, self.n_drawn = n_trials, 0
        for first in range(0, self.n_trials, NUMBERS_AT_ONCE):
            numbers = np.arange(first, min(first + NUMBERS_AT_ONCE, self.n_trials))
            self.n_drawn += int(np.count_nonzero(is_drawn(numbers, n_trials)))

    def fail(self, reasons: Mapping[str, int]) -> None:
        """Count failed trials by reason."""
        for reason, n in reasons.items():
            known = reason in self.failures or len(self.failures) < MOST_REASONS
            name = reason if known else OTHER_REASONS
            self.failures[name] = self.failures.get(name, 0) + n

    def to_json(self) -> str:
        """Return the sums as stored."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Sums":
        """Return the sums that were stored."""
        stored: dict[str, Any] = json.loads(text)
        return cls(**stored | {"sharpes": [float(value) for value in stored["sharpes"]]})
