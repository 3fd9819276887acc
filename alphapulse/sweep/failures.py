"""When so many trials fail that a sweep is not worth its time."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.errors import StudyError
from alphapulse.study.trials import Trials

N_FIRST = 100
"""Trials before which nothing is said."""


@dataclass
class Failures:
    """Counts trials that raised or ended their worker; undefined objectives are no such failures.

    Attributes
    ----------
    most : float
        Share of the trials that may fail [1].
    """

    most: float
    n_trials: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def n_failed(self) -> int:
        """Trials that raised or ended their worker."""
        return self.reasons.total()

    def count(self, trials: Trials) -> None:
        """Take in trials that are stored.

        Raises
        ------
        StudyError
            If more than `most` of at least `N_FIRST` trials have failed.
        """
        self.take(len(trials), raised(trials))

    def take(self, n_trials: int, reasons: Counter[str]) -> None:
        """Take in the number of trials that are stored or counted, and of those that failed by reason; see `count`."""
        self.n_trials += n_trials
        self.reasons.update(reasons)
        n_failed = self.n_failed
        if self.n_trials >= N_FIRST and n_failed > self.most * self.n_trials:
            reason, n = self.reasons.most_common(1)[0]
            raise StudyError(
                f"{n_failed:,} of {self.n_trials:,} trials failed, more than `max_failure_rate={self.most:g}` allows; "
                f"most often ({n:,} times): {reason.rstrip('.')}."
            )


def raised(trials: Trials) -> Counter[str]:
    """Return how many trials raised or ended their worker, by reason."""
    return Counter(trials.errors.get(row, "") for row in np.flatnonzero(trials.status == FAILED).tolist())
