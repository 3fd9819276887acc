"""What runs on a worker where a part of a study is stored: trials from their numbers to what is kept of them."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.backtesting.metrics import METRICS
from alphapulse.market.market import Market
from alphapulse.study.choice import Choice
from alphapulse.study.part.drawn import is_drawn
from alphapulse.study.trials import BlockMoments, SymbolMetrics, Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.failures import raised
from alphapulse.sweep.patience import losses_of, signs_of
from alphapulse.sweep.scale.drawing import Drawing, drawing_of
from alphapulse.sweep.study_state import N_BEST as N_BEST_BLOCKS
from alphapulse.sweep.worker import BatchResult, evaluate_batch
from alphapulse.sweep.workers.batches import failed_trials
from alphapulse.sweep.workers.limits import Limits, watched
from alphapulse.sweep.workers.losses import FATAL
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D

TRIALS_AT_ONCE = 4096
IS_FATAL = re.compile(FATAL)
SHARPE = METRICS.index("sharpe_ratio")


class Rules(NamedTuple):
    """Which trials of a stretch are kept.

    Attributes
    ----------
    n_planned : int
        Trials of the whole study, by which it is decided which are drawn.
    n_drawn, n_blocks : int
        How many are drawn on average, and how many of those keep their block moments.
    n_given : int
        First trials that are all kept.
    best, best_blocks : float
        Values of the first objective, larger is better, from which on trials may be among the best, and among those of
        the best that keep their block moments.
    """

    n_planned: int
    n_drawn: int
    n_blocks: int
    n_given: int
    best: float = -np.inf
    best_blocks: float = -np.inf

    def stay(self, numbers: Int64Array1D) -> BoolArray1D:
        """Return which trials (n,) are kept whatever they are worth."""
        kept: BoolArray1D = self.draw(numbers) | (numbers < self.n_given)
        return kept

    def draw(self, numbers: Int64Array1D) -> BoolArray1D:
        """Return which trials (n,) are drawn."""
        return is_drawn(numbers, self.n_planned, self.n_drawn)

    def draw_blocks(self, numbers: Int64Array1D) -> BoolArray1D:
        """Return which trials (n,) keep their block moments for being drawn."""
        return is_drawn(numbers, self.n_planned, self.n_blocks)


class Stretch(NamedTuple):
    """Consecutive trials as a worker is told of them.

    Attributes
    ----------
    search : bytes
        A pickled `SearchPlan` by which they are drawn.
    first, stop : int
        Their numbers.
    rules : Rules
    parameters : (n, n_dimensions) float64, optional
        Where only the driver can draw them, since they depend on what was drawn before.
    """

    search: bytes
    first: int
    stop: int
    rules: Rules
    parameters: Float64Array2D | None = None


@dataclass
class StretchResult(BatchResult):
    """Outcome of a stretch: counts over all of its trials, and those that are kept.

    Its `trials` are those that are kept, `kept` and `by_symbol` go by number in the study.

    Attributes
    ----------
    first : int
        Number of the first trial.
    numbers : (n_kept,) int64
        Of the trials that are kept.
    stays : (n_kept,) bool
        Which of them are kept whatever they are worth.
    scores : (n,) float64
        First objective of all trials, larger is better; NaN where a trial failed or breaks a condition.
    sharpes : (n,) float64
        Annual Sharpe ratios of all trials; NaN where a trial failed.
    front : (n_front,) int64
        Numbers of the trials that no other one of the stretch dominates.
    front_losses : (n_front, n_objectives) float64
        See `losses_of`.
    failures, raised : Counter
        Failed trials by reason, and those of them that raised or ended their worker.
    n_infeasible, n_drawn : int
    elapsed : float
        Time spent on all of them [s].
    """

    first: int = 0
    numbers: Int64Array1D = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    stays: BoolArray1D = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    scores: Float64Array1D = field(default_factory=lambda: np.empty(0))
    sharpes: Float64Array1D = field(default_factory=lambda: np.empty(0))
    front: Int64Array1D = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    front_losses: Float64Array2D = field(default_factory=lambda: np.empty((0, 0)))
    failures: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    n_infeasible: int = 0
    n_drawn: int = 0
    elapsed: float = 0.0

    @property
    def seconds(self) -> float:
        """Time spent on all trials of the stretch [s]."""
        return self.elapsed

    @property
    def best(self) -> float:
        """Best of the scores; -inf without one."""
        return float(np.nanmax(self.scores, initial=-np.inf))

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        trials, blocks = self.trials, self.kept
        arrays = (trials.parameters, trials.metrics, blocks.sums, blocks.squares, self.scores, self.sharpes)
        return sum(array.nbytes for array in arrays)


def evaluate_stretch(market: Market, experiment: Experiment, stretch: Stretch, limits: Limits) -> StretchResult:
    """Draw and evaluate a stretch under limits; see `evaluate_batch`."""
    parameters = stretch.parameters
    if parameters is None:
        parameters = drawing_of(experiment, stretch.search).between(stretch.first, stretch.stop)
    rules, results = stretch.rules, []
    with watched(limits):
        # In pieces whose outcome stays in the processor's cache.
        for start in range(0, len(parameters), TRIALS_AT_ONCE):
            piece, first = parameters[start : start + TRIALS_AT_ONCE], stretch.first + start
            keep = rules.draw_blocks(np.arange(first, first + len(piece)))
            result = evaluate_batch(market, experiment, piece, keep=keep, threshold=rules.best_blocks)
            results.append(reduce_batch(experiment, rules, first, result))
    return join(results)


def join(results: list[StretchResult]) -> StretchResult:
    """Return the outcome of stretches that follow each other; its front may have trials that others dominate."""
    if len(results) == 1:
        return results[0]
    names = ("numbers", "stays", "scores", "sharpes", "front", "front_losses")
    columns: dict[str, Any] = {name: np.concatenate([getattr(result, name) for result in results]) for name in names}
    counts: dict[str, Any] = {
        "failures": sum((result.failures for result in results), Counter()),
        "raised": sum((result.raised for result in results), Counter()),
        **{name: sum(getattr(r, name) for r in results) for name in ("n_infeasible", "n_drawn", "elapsed")},
    }
    symbols = [result.by_symbol for result in results if result.by_symbol is not None]
    kept = [result.kept for result in results if len(result.kept.trials)] or [results[0].kept]
    return StretchResult(
        Trials.joined([result.trials for result in results]),
        BlockMoments(*(np.concatenate(column) for column in zip(*kept, strict=True))),
        max(result.observed for result in results),
        np.max([result.maxima for result in results], axis=0),
        is_first=results[0].is_first,
        by_symbol=SymbolMetrics(
            np.concatenate([part.trials for part in symbols]),
            symbols[0].symbols,
            np.concatenate([part.metrics for part in symbols]),
        )
        if symbols
        else None,
        first=results[0].first,
        **columns,
        **counts,
    )


def reduce_batch(experiment: Experiment, rules: Rules, first: int, result: BatchResult) -> StretchResult:
    """Return what is kept of a batch whose first trial has the number `first`."""
    trials = result.trials
    numbers = np.arange(first, first + len(trials))
    sign = 1.0 if experiment.directions[0] == "maximize" else -1.0
    is_candidate, is_failed = trials.is_candidate, trials.is_failed
    scores = np.where(is_candidate, sign * trials.values[:, 0], np.nan)
    losses = losses_of(trials, signs_of(experiment.directions))
    finite = np.flatnonzero(np.isfinite(losses).all(axis=1))
    front = finite[Choice(("minimize",) * losses.shape[1]).front(losses[finite])]
    stays = rules.stay(numbers)
    for row in np.flatnonzero(trials.status == FAILED).tolist():
        stays[row] |= IS_FATAL.match(trials.errors.get(row, "")) is not None
    is_kept = stays | (scores >= rules.best)
    is_kept[front] = True
    rows = np.flatnonzero(is_kept)
    blocks = result.kept
    # Before there is a value to beat, a batch brings more than can be among the best.
    leading = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")[:N_BEST_BLOCKS]
    lasting = np.isin(blocks.trials, leading) | rules.draw_blocks(numbers[blocks.trials])
    by_symbol = result.by_symbol
    if by_symbol is not None:
        some = is_kept[by_symbol.trials]
        by_symbol = SymbolMetrics(first + by_symbol.trials[some], by_symbol.symbols, by_symbol.metrics[some])
    return StretchResult(
        trials[rows],
        BlockMoments(numbers[blocks.trials[lasting]], blocks.sums[lasting], blocks.squares[lasting]),
        result.observed,
        result.maxima,
        is_first=result.is_first,
        by_symbol=by_symbol,
        first=first,
        numbers=numbers[rows],
        stays=stays[rows],
        scores=scores,
        sharpes=np.where(is_failed, np.nan, trials.metrics[:, SHARPE]),
        front=numbers[front],
        front_losses=losses[front],
        failures=Counter(trials.errors.get(row, "") for row in np.flatnonzero(is_failed).tolist()),
        raised=raised(trials),
        n_infeasible=int(np.count_nonzero(~is_failed & ~is_candidate)),
        n_drawn=int(np.count_nonzero(rules.draw(numbers))),
        elapsed=result.seconds,
    )


@dataclass(frozen=True)
class StretchBatch:
    """A stretch under way, see `Job`.

    Attributes
    ----------
    stretch : Stretch
    drawing : Drawing
        Draws the trials where the driver has to know them.
    n_deaths, n_losses : int
        Workers that ended while they ran these trials, and nodes that were lost with them.
    """

    stretch: Stretch
    drawing: Drawing
    n_deaths: int = 0
    n_losses: int = 0

    @property
    def rows(self) -> Int64Array1D:
        """Numbers of the trials."""
        return np.arange(self.stretch.first, self.stretch.stop)

    @property
    def parameters(self) -> Float64Array2D:
        """Parameters of the trials."""
        given = self.stretch.parameters
        return self.drawing.between(self.stretch.first, self.stretch.stop) if given is None else given

    def part(self, rows: slice, n_deaths: int) -> Self:
        """Return some of the trials."""
        whole, chosen = self.stretch, range(self.stretch.first, self.stretch.stop)[rows]
        given = whole.parameters if whole.parameters is None else whole.parameters[rows]
        return replace(
            self,
            stretch=whole._replace(first=chosen.start, stop=chosen.stop, parameters=given),
            n_deaths=n_deaths,
        )

    def lost(self) -> Self:
        """Return the trials after another node was lost with them."""
        return replace(self, n_losses=self.n_losses + 1)

    def submit(self, workers: Any, limits: Limits) -> Any:
        """Start the trials and return their reference."""
        name = f"trials {self.stretch.first}-{self.stretch.stop - 1}"
        return workers.begin(evaluate_stretch, self.stretch, limits, name=name)

    def failed(self, experiment: Experiment, reason: str) -> StretchResult:
        """Return the outcome of trials that failed for a reason."""
        result = failed_trials(experiment, self.parameters, reason)
        return reduce_batch(experiment, self.stretch.rules, self.stretch.first, result)
