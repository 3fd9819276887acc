"""A null sweep of a search that needs no results, cut into pieces that several workers run at a time."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.search.choosing import Sampler
from alphapulse.study.choice import Choice
from alphapulse.study.trials import Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan, chosen_value, null_seed
from alphapulse.sweep.scale.drawing import Drawing
from alphapulse.sweep.worker import evaluate_batch, forget

TRIALS_AT_ONCE = 4096
SURROGATES = 8
"""Null sweeps under way at a time: the fewer there are, the fewer are of no use when the test ends early."""

SHORTEST_SECONDS = 5.0
"""A piece is not shorter, since each begins with a market of its own [s]."""


@dataclass
class NullPiece:
    """What some trials of a null sweep leave behind.

    Attributes
    ----------
    best : Trials
        Those of them that the search may choose.
    n_trials : int
    failures : Counter
        Trials that raised, by reason.
    seconds : float
        What it took [s].
    """

    best: Trials
    n_trials: int
    failures: Counter[str]
    seconds: float = 0.0


def count_pieces(plan: SearchPlan, sampler: Sampler, n_cpus: int, median: float) -> int:
    """Return into how many pieces a null sweep is cut, where a trial takes `median` [s]; its value is the same in one.

    Only trials that depend on nothing but their numbers may run apart.
    """
    if sampler.needs_history or sampler.in_order or plan.patience is not None:
        return 1
    return max(1, min(n_cpus // SURROGATES, int(plan.n_trials * median / SHORTEST_SECONDS)))


def run_piece(
    market: Market, experiment: Experiment, plan: SearchPlan, s: int, *, block: int, piece: int, n_pieces: int
) -> NullPiece:
    """Run one of the pieces of a null sweep on surrogate `s`; see `null_search`."""
    # Two markets with their indicators are not held at one time.
    forget()
    surrogate, lean = surrogate_market(market, s, block), replace(experiment, bootstrap=None)
    drawing = Drawing(plan.start(lean, null_seed(plan.seed, s)))
    choice = Choice(experiment.directions, plan.choose)
    found = NullPiece(lean.untried(np.empty((0, len(lean.space)))), 0, Counter())
    first, stop = (plan.n_trials * place // n_pieces for place in (piece, piece + 1))
    for start in range(first, stop, TRIALS_AT_ONCE):
        trials = lean.untried(drawing.between(start, min(start + TRIALS_AT_ONCE, stop)))
        is_fatal = np.array([row.tobytes() in plan.fatal for row in trials.parameters], dtype=np.bool_)
        trials.status[is_fatal] = FAILED
        rows = np.flatnonzero(~is_fatal)
        keep = np.zeros(len(rows), dtype=np.bool_)
        trials.put(rows, evaluate_batch(surrogate, lean, trials.parameters[rows], keep=keep).trials)
        found.n_trials += len(trials)
        failed = np.flatnonzero(trials.status == FAILED).tolist()
        found.failures.update(trials.errors.get(row, "") for row in failed)
        found.best = Trials.joined([found.best, trials[choice.candidates(trials)]])
    return found


def value_of_pieces(experiment: Experiment, plan: SearchPlan, pieces: list[NullPiece]) -> float:
    """Return what `null_search` does, from all pieces of a null sweep in order."""
    best = Trials.joined([piece.best for piece in pieces])
    failures = sum((piece.failures for piece in pieces), Counter[str]())
    return chosen_value(experiment, plan, best, sum(piece.n_trials for piece in pieces), failures)
