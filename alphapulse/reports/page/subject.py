"""What a report is about: a stored study with its trials, its verdict, and the curves of what it chose."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from alphapulse.backtesting.batch import benchmark_returns
from alphapulse.backtesting.models import BacktestResult
from alphapulse.errors import AlphaPulseError
from alphapulse.market.market import Market
from alphapulse.reports.curves import backtest_trial
from alphapulse.study.columns import StudyColumns
from alphapulse.study.part.drawn import is_drawn
from alphapulse.study.picking import rank_trials
from alphapulse.study.records import Study, TrialRecord
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import StudyInputs, load_inputs
from alphapulse.sweep.opening import stored_config
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


@dataclass(frozen=True)
class Points:
    """Every trial as a point, or those that were drawn to stand for all.

    Attributes
    ----------
    numbers : (n,) int64
        Numbers of the trials.
    parameters : (n, p) float64
        NaN for a key that is inactive in a trial.
    values : (n,) float64
        The first objective; NaN for a failed trial, and one that breaks a condition on results.
    sharpes : (n,) float64
        Annual Sharpe ratios; NaN for a failed trial.
    """

    numbers: Int64Array1D
    parameters: Float64Array2D
    values: Float64Array1D
    sharpes: Float64Array1D

    @cached_property
    def known(self) -> Int64Array1D:
        """The trials that have a value."""
        return np.flatnonzero(np.isfinite(self.values))

    def known_of(self, *places: int) -> Int64Array1D:
        """Return those of them in which the keys at these places are active."""
        active = np.ones(len(self.known), dtype=np.bool_)
        for place in places:
            active &= ~np.isnan(self.parameters[self.known, place])
        return self.known[active]


@dataclass(frozen=True)
class Curve:
    """A setting followed through the searched bars and, where it was opened, the hold-out.

    Attributes
    ----------
    name : str
    timestamp : (n,) int64
        Start of each bar [ns].
    returns : (n,) float64
        Per-bar returns; the hold-out begins anew, without a position [1].
    """

    name: str
    timestamp: Int64Array1D
    returns: Float64Array1D

    @property
    def equity(self) -> Float64Array1D:
        """Growth of one unit [1]."""
        return np.cumprod(1.0 + self.returns, dtype=np.float64)

    @property
    def drawdown(self) -> Float64Array1D:
        """Loss since the highest equity so far [1]; at most 0."""
        equity = self.equity
        return np.asarray(equity / np.maximum(np.maximum.accumulate(equity), 1.0) - 1.0, dtype=np.float64)


@dataclass(frozen=True)
class Subject:
    """A study to report on.

    Attributes
    ----------
    store : Store
    study : Study
        As it is stored.
    verdict : mapping
        As stored; empty where there is none that speaks of all trials.
    inputs : StudyInputs, optional
        Bars and strategy; None where they cannot be had any more, so that nothing can be drawn over time.
    why_not : str
        The reason for that.
    number : int, optional
        The trial to show; None for the one that the verdict speaks of. Of another one the hold-out stays closed.
    """

    store: Store
    study: Study
    verdict: Mapping[str, Any]
    inputs: StudyInputs | None
    why_not: str = ""
    number: int | None = None

    @classmethod
    def of(cls, store: Store, study: Study, verdict: Mapping[str, Any] | None, number: int | None = None) -> "Subject":
        """Return a stored study with bars and strategy as they are now, if they are still those of the study."""
        try:
            inputs = load_inputs(stored_config(study), store.database)
        except AlphaPulseError as error:
            return cls(store, study, verdict or {}, None, str(error), number)
        if inputs.market.fingerprint != study.fingerprint:
            why_not = "the bars are others than those of the study by now."
            return cls(store, study, verdict or {}, None, why_not, number)
        return cls(store, study, verdict or {}, inputs, number=number)

    @property
    def is_judged(self) -> bool:
        """Whether the trial that is shown is the one that the verdict speaks of, or there is no verdict on any."""
        return self.number is None or self.number == self.verdict.get("chosen")

    @property
    def name(self) -> str:
        """What the trial that is shown is called in a sentence."""
        return "the chosen trial" if self.is_judged else f"trial {self.number:,}"

    @property
    def numbers(self) -> Mapping[str, Any]:
        """The figures of the verdict."""
        found: Mapping[str, Any] = self.verdict.get("numbers") or {}
        return found

    @property
    def maximize(self) -> bool:
        """Whether the first objective is better where it is larger."""
        return self.study.directions[0] == "maximize"

    @property
    def objective(self) -> str:
        """Name of the first objective, in words."""
        return self.study.objectives[0].replace("_", " ")

    @cached_property
    def chosen(self) -> TrialRecord | None:
        """The trial that is shown: the one that was asked for or that the verdict speaks of, or else the best one."""
        number = self.verdict.get("chosen") if self.number is None else self.number
        if number is not None:
            return self.store.trial(self.study, number)
        return rank_trials(self.store, self.study, 1, 1).chosen

    @cached_property
    def robust(self) -> TrialRecord | None:
        """The trial whose neighbours are best; None where that is not known, or it is the chosen one."""
        number = self.numbers.get("robust_trial", -1)
        if number is None or number < 0 or (self.chosen is not None and number == self.chosen["number"]):
            return None
        return self.store.trial(self.study, number)

    @cached_property
    def points(self) -> Points:
        """All trials, or those that were drawn: the best beside them would make chance look better."""
        columns, sums = StudyColumns(self.store.database, self.study), self.store.sums(self.study)
        numbers = np.arange(self.store.n_done(self.study)) if sums is None else columns.numbers()
        nothing = (np.empty((0, len(self.study.space))), np.empty(0), np.empty(0))
        pieces = [nothing, *columns.points(self.store.n_done(self.study))]
        found = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        if sums is not None:
            drawn = is_drawn(numbers, sums.n_planned)
            numbers, found = numbers[drawn], [column[drawn] for column in found]
        return Points(numbers, *found)

    @property
    def important(self) -> list[int]:
        """Places of the swept keys, the most important first."""
        share = self.numbers.get("importance") or {}
        keys = self.study.space.keys
        return sorted(range(len(keys)), key=lambda place: (-(share.get(keys[place]) or 0.0), place))

    @property
    def holdout(self) -> Market | None:
        """The hold-out, where the verdict has opened it already."""
        is_open = self.is_judged and self.verdict.get("chosen_holdout") is not None
        return self.inputs.holdout if self.inputs is not None and is_open else None

    @property
    def holdout_start(self) -> int | None:
        """Start of the first bar of the hold-out [ns], where it is shown."""
        return None if self.holdout is None else int(self.holdout.bars.timestamp[self.holdout.first])

    @property
    def is_intraday(self) -> bool:
        """Whether bars are shorter than a day."""
        return self.inputs is not None and self.inputs.market.bars.timeframe[-1] in "mh"

    @cached_property
    def runs(self) -> list[BacktestResult]:
        """The chosen trial run again: on the searched bars, then on the hold-out where that is open."""
        if self.inputs is None or self.chosen is None:
            return []
        markets = [self.inputs.market, *([self.holdout] if self.holdout is not None else [])]
        parameters = self.chosen["parameters"]
        return [backtest_trial(market, self.inputs.experiment, parameters)[0] for market in markets]

    @cached_property
    def curves(self) -> list[Curve]:
        """The chosen setting, buy and hold, and the robust setting, which is shown on the searched bars alone."""
        if self.inputs is None or self.chosen is None:
            return []
        market = self.inputs.market
        markets = [market, *([self.holdout] if self.holdout is not None else [])]
        stamps = np.concatenate([m.bars.timestamp[m.first :] for m in markets])
        own = np.concatenate([run.returns.to_numpy() for run in self.runs])
        bought = np.concatenate([benchmark_returns(m.bars, m.first)[m.first :] for m in markets])
        found = [
            Curve(f"{'chosen, ' if self.is_judged else ''}trial {self.chosen['number']:,}", stamps, own),
            Curve(f"buy and hold {market.bars.symbol}", stamps, bought),
        ]
        if self.robust is not None:
            result, _ = backtest_trial(market, self.inputs.experiment, self.robust["parameters"])
            searched = market.bars.timestamp[market.first :]
            found.append(Curve(f"robust, trial {self.robust['number']:,}", searched, result.returns.to_numpy()))
        return found
