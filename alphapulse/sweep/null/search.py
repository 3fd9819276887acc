"""A study's whole search again on a surrogate market: in one process, without database, its best value alone kept."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.config.schema import FIRST
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.search.choosing import Sampler, make_sampler
from alphapulse.study.choice import Choice
from alphapulse.study.trials import Trials
from alphapulse.sweep.duplicates import Duplicates
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.patience import Patience
from alphapulse.sweep.worker import evaluate_batch, forget
from alphapulse.typing import Float64Array1D, Float64Array2D

FAILED_EXTRA, FAILED_TIMES = 0.1, 2
"""A null sweep has failed where more of its trials do than a tenth and twice the share that did in the study."""

MOST_FATAL = 3
"""And where so many more trials than twice those of the study end their worker: each takes its time."""


class SearchFailedError(Exception):
    """A null sweep says nothing, since its trials fail; the text says how many and why."""


Evaluate: TypeAlias = Callable[[Float64Array2D], Trials]
"""Returns the trials of some parameters (n_trials, n_dimensions)."""


@dataclass(frozen=True)
class SearchPlan:
    """The search of a study, which null sweeps repeat.

    Attributes
    ----------
    sampler : str
        Name of the sampler; not "auto", but what it stood for.
    n_trials : int
        Trials that the study might have had: its budget, or fewer where time ended it.
    seed : int
        Seed of the study.
    options : mapping
        Of the sampler, as `make_sampler` takes them.
    enqueued : (k, p) float64, optional
        Points that the study started from.
    choose : str
        Which trial of a Pareto front the study chooses, see `Choice`.
    patience : int, optional
        Generations without a better value after which the search ends.
    fatal : frozenset of bytes
        Settings, each the bytes of its row of parameters, that ended their worker or exceeded a limit in the study:
        failed trials on every surrogate, where each would end a worker again.
    share_failed : float
        Share of the study's trials that raised, ended their worker or exceeded a limit [1].
    """

    sampler: str
    n_trials: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    enqueued: Float64Array2D | None = None
    choose: str = FIRST
    patience: int | None = None
    fatal: frozenset[bytes] = frozenset()
    share_failed: float = 0.0

    def is_broken(self, n_failed: int, n_trials: int) -> bool:
        """Return whether so many failed trials of a null sweep are more than those of the study let expect."""
        most = n_trials * (FAILED_EXTRA + FAILED_TIMES * self.share_failed)
        return n_failed > most or n_failed == n_trials > 0

    @property
    def most_fatal(self) -> int:
        """How many trials may end their worker or exceed a limit before a null sweep is given up."""
        return MOST_FATAL + FAILED_TIMES * len(self.fatal)

    def start(self, experiment: Experiment, seed: int) -> Sampler:
        """Return the sampler before its first generation, under some seed."""
        return make_sampler(
            self.sampler,
            experiment.space,
            seed=seed,
            n_objectives=len(experiment.objectives),
            directions=experiment.directions,
            n_trials=self.n_trials,
            options=self.options,
            enqueued=self.enqueued,
        )


def null_search(
    market: Market,
    experiment: Experiment,
    plan: SearchPlan,
    s: int,
    *,
    block: int = 1,
    evaluate: Evaluate | None = None,
) -> float:
    """Return the first objective of the trial that the search would choose on surrogate `s`; NaN without one.

    Parameters
    ----------
    market : Market
        What the search of the study saw.
    experiment : Experiment
    plan : SearchPlan
    s : int
        Number of the surrogate, from 0; it also seeds the sampler.
    block : int
        Length of the pieces of the market that stay together [bars].
    evaluate : callable, optional
        Where trials run; by default in this process.

    Raises
    ------
    SearchFailedError
        If so many trials fail as did not in the study.
    """
    # Two markets with their indicators are not held at one time.
    forget()
    surrogate = surrogate_market(market, s, block)
    lean = replace(experiment, bootstrap=None)
    sampler = plan.start(lean, null_seed(plan.seed, s))
    choice = Choice(experiment.directions, plan.choose)
    best, n_trials, failures = lean.untried(np.empty((0, len(lean.space)))), 0, Counter[str]()
    for trials in search_generations(
        surrogate, lean, sampler, plan.n_trials, evaluate, patience=plan.patience, fatal=plan.fatal
    ):
        n_trials += len(trials)
        failures.update(trials.errors.get(row, "") for row in np.flatnonzero(trials.status == FAILED).tolist())
        # What none of a generation would be chosen for is not chosen of all either.
        best = Trials.joined([best, trials[choice.candidates(trials)]])
    return chosen_value(experiment, plan, best, n_trials, failures)


def chosen_value(
    experiment: Experiment, plan: SearchPlan, best: Trials, n_trials: int, failures: Counter[str]
) -> float:
    """Return the first objective of the trial that is chosen of a null sweep; NaN without one.

    Parameters
    ----------
    experiment : Experiment
    plan : SearchPlan
    best : Trials
        Trials among which it is, in order.
    n_trials : int
        Trials of the null sweep.
    failures : Counter
        Those of them that raised, by reason.

    Raises
    ------
    SearchFailedError
        If so many trials fail as did not in the study.
    """
    if plan.is_broken(failures.total(), n_trials):
        reason, n = failures.most_common(1)[0]
        raise SearchFailedError(f"{failures.total():,} of {n_trials:,} trials, most often ({n:,} times): {reason}")
    chosen = Choice(experiment.directions, plan.choose)(best)
    return float("nan") if chosen is None else float(best.values[chosen, 0])


def null_seed(seed: int, s: int) -> int:
    """Return the seed of the sampler on surrogate `s` of a study with this seed."""
    return int.from_bytes(hashlib.sha256(f"null sweep {seed} {s}".encode()).digest()[:8], "little")


def value_of(market: Market, experiment: Experiment, parameters: Float64Array1D) -> float:
    """Return the first objective of one setting (n_dimensions,) on a market, without its neighbours or folds."""
    alone = replace(experiment, bootstrap=None, robustness=None)
    return float(evaluate_batch(market, alone, parameters[None, :]).trials.values[0, 0])


def search_generations(
    market: Market,
    experiment: Experiment,
    sampler: Sampler,
    n_trials: int,
    evaluate: Evaluate | None = None,
    *,
    patience: int | None = None,
    fatal: frozenset[bytes] = frozenset(),
) -> Iterator[Trials]:
    """Yield the generations of a whole search, the same as those of a study, run in this process or by `evaluate`.

    As in `Generations` generations are proposed before those in flight are told, and only whole ones are told; what
    the sampler is told is what `evaluate_batch` says of a trial, which depends on nothing but the trial. Settings of
    `fatal` are failed trials that are not run, see `SearchPlan`.
    """

    def here(parameters: Float64Array2D) -> Trials:
        return evaluate_batch(market, experiment, parameters, keep=np.zeros(len(parameters), dtype=np.bool_)).trials

    def run(parameters: Float64Array2D) -> Trials:
        is_fatal = np.array([row.tobytes() in fatal for row in parameters], dtype=np.bool_)
        trials = experiment.untried(parameters)
        trials.status[is_fatal] = FAILED
        trials.put(np.flatnonzero(~is_fatal), (evaluate or here)(parameters[~is_fatal]))
        return trials

    outcomes = run if fatal else evaluate or here
    duplicates = Duplicates(experiment.space, len(experiment.objectives), len(experiment.feasible))
    flight: deque[tuple[int, Float64Array2D]] = deque()
    generation, n_proposed, n_done, exhausted = 0, 0, 0, False
    waiting = Patience(experiment.directions, patience)
    while not waiting.ended:
        while len(flight) < sampler.lag and n_proposed < n_trials and not exhausted:
            proposed = sampler.propose(generation)
            exhausted = len(proposed) < sampler.schedule.size(generation)
            if len(proposed):
                flight.append((generation, proposed))
            generation, n_proposed = generation + 1, n_proposed + len(proposed)
        if not flight:
            break
        number, proposed = flight.popleft()
        trials = _evaluate(outcomes, duplicates, experiment.untried(proposed[: n_trials - n_done]))
        if len(trials) == len(proposed):
            sampler.tell(number, trials.parameters, trials.values, trials.violations)
            waiting.take(trials)
        yield trials
        n_done += len(trials)


def _evaluate(evaluate: Evaluate, duplicates: Duplicates, trials: Trials) -> Trials:
    """Return a generation with its outcome; what has run before is answered, not run again."""
    parameters = trials.parameters
    answers = duplicates.find(parameters)
    duplicates.fill(answers, trials)
    if len(answers.run):
        trials.put(answers.run, evaluate(parameters[answers.run]))
    trials.answer(answers.same, trials[answers.first])
    duplicates.expect(parameters)
    duplicates.record(trials)
    return trials
