"""How many trials a second a sampler proposes here, beside the one of ours that is like it."""

import time
from dataclasses import dataclass

from alphapulse.errors import ConfigError
from alphapulse.search.choosing import Sampler, make_sampler, rehearse

MOST_SECONDS = 0.5
ALIKE = {
    "TPESampler": "tpe",
    "CmaEsSampler": "cmaes",
    "NSGAIISampler": "nsga2",
    "NSGAIIISampler": "nsga3",
    "QMCSampler": "qmc",
    "RandomSampler": "random",
    "GPSampler": "gp",
    "BruteForceSampler": "grid",
    "GridSampler": "grid",
}
"""Samplers of Optuna's and the names of those of ours that run the same algorithm in generations."""


@dataclass(frozen=True)
class ProposalRate:
    """What a sampler proposes in a second [1/s], and what the sampler of ours that is like it does, if one is.

    Attributes
    ----------
    optuna : str
        Name of Optuna's sampler.
    rate : float
    own : str, optional
    own_rate : float, optional
    """

    optuna: str
    rate: float
    own: str | None = None
    own_rate: float | None = None

    def sentence(self) -> str:
        """Return "Optuna's TPESampler proposes 38 trials/s here; search=tpe 1,400"."""
        text = f"Optuna's {self.optuna} proposes {_round(self.rate)} trials/s here"
        return text if self.own_rate is None else f"{text}; search={self.own} {_round(self.own_rate)}"


def compare_rates(optuna: str, sampler: Sampler, n_trials: int) -> ProposalRate:
    """Return the rates at the beginning of a search, from a second at most.

    Parameters
    ----------
    optuna : str
        Name of Optuna's sampler.
    sampler : Sampler
        A spare one; it is of no use afterwards.
    n_trials : int
        Trials of the study.
    """
    rate = _measure(sampler, n_trials)
    own = ALIKE.get(optuna.rpartition(".")[2])
    if own is None:
        return ProposalRate(optuna, rate)
    try:
        alike = [
            make_sampler(
                own, sampler.space, seed=sampler.seed, n_objectives=sampler.n_objectives, directions=sampler.directions
            )
            for _ in range(2)
        ]
    except ConfigError:
        return ProposalRate(optuna, rate)
    # What it compiles is no part of its rate.
    rehearse(alike[0])
    return ProposalRate(optuna, rate, own, _measure(alike[1], n_trials))


def _measure(sampler: Sampler, n_trials: int) -> float:
    started = time.perf_counter()
    n_proposed = rehearse(sampler, n_trials=n_trials, seconds=MOST_SECONDS)
    return n_proposed / max(time.perf_counter() - started, 1e-9)


def _round(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
