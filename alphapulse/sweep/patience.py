"""When a search has waited long enough for something better: a function of the trials alone."""

from collections.abc import Callable, Iterator

import numpy as np

from alphapulse.search.choosing import Sampler, Schedule
from alphapulse.search.feasibility import penalised
from alphapulse.study.choice import Choice
from alphapulse.study.trials import Trials
from alphapulse.typing import Float64Array1D, Float64Array2D

HISTORY_CHUNK = 20_000


class Patience:
    """Counts the generations without a better value.

    A generation has one if a trial of it beats all before by the objective; with several objectives, if a trial joins
    their Pareto front. While no trial is feasible, one that breaks the conditions less is better.

    Parameters
    ----------
    directions : sequence of {"minimize", "maximize"}
        Each objective has one.
    n : int, optional
        Generations in a row without a better value that end a search; None is no number of them.
    n_waited : int
        Those that it has waited already.
    """

    def __init__(self, directions: tuple[str, ...], n: int | None, *, n_waited: int = 0) -> None:
        self.n = n
        self.n_waited = n_waited
        self._signs = signs_of(directions)
        self._choice = Choice(("minimize",) * len(directions))
        self._front = np.empty((0, len(directions)))

    @property
    def ended(self) -> bool:
        """Whether the search ends."""
        return self.n is not None and self.n_waited >= self.n

    def take(self, trials: Trials) -> None:
        """Take in a whole generation; generations come in order, and none after the end."""
        if self.n is None:
            return
        losses = losses_of(trials, self._signs)
        n_before = len(self._front)
        joined = np.concatenate([self._front, losses[np.isfinite(losses).all(axis=1)]])
        kept = self._choice.front(joined)
        self.n_waited = 0 if (kept >= n_before).any() else self.n_waited + 1
        self._front = joined[kept]


def signs_of(directions: tuple[str, ...]) -> Float64Array1D:
    """Return what turns each objective into a loss (n_objectives,): 1 or -1."""
    return np.array([-1.0 if d == "maximize" else 1.0 for d in directions])


def losses_of(trials: Trials, signs: Float64Array1D) -> Float64Array2D:
    """Return what is less the better a trial is (n_trials, n_objectives): inf where it failed.

    What breaks a condition comes behind all that does not, by how much it breaks.
    """
    losses = np.where(trials.is_failed[:, None], np.inf, trials.values * signs)
    return penalised(losses, trials.violations)


def whole_generations(
    schedule: Schedule, n_trials: int, history: Callable[[int, int], Trials]
) -> Iterator[tuple[int, Trials]]:
    """Yield number and trials of the generations that the first `n_trials` stored trials fill, read many at a time.

    Parameters
    ----------
    schedule : Schedule
    n_trials : int
    history : callable
        Returns the stored trials [start, stop).
    """
    first, n_generations = 0, schedule.n_whole(n_trials)
    while first < n_generations:
        start = schedule.first_trial(first)
        last = min(max(schedule.n_whole(start + HISTORY_CHUNK), first + 1), n_generations)
        past = history(start, schedule.first_trial(last))
        for number in range(first, last):
            yield number, past[schedule.first_trial(number) - start : schedule.first_trial(number + 1) - start]
        first = last


def stored_patience(
    directions: tuple[str, ...], n: int | None, sampler: Sampler, n_done: int, history: Callable[[int, int], Trials]
) -> Patience:
    """Return the patience of a search after its stored trials; see `whole_generations`."""
    patience = Patience(directions, n)
    if n is not None:
        for _, trials in whole_generations(sampler.schedule, n_done, history):
            patience.take(trials)
    return patience
