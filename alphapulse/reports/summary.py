"""What a sweep says at its end, or a report later: trials, benchmark, verdict, and where everything is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Self

import numpy as np

from alphapulse.market.market import Market
from alphapulse.reports.formatting import format_metric, format_parameter
from alphapulse.study.picking import Ranking
from alphapulse.study.records import Study, StudyBars, TrialRecord, named_search
from alphapulse.study.store import Store
from alphapulse.sweep.starting import StartPoints

N_BEST = 5
N_OF_FRONT = 10
N_REASONS = 3


@dataclass(frozen=True)
class Account:
    """What is told of a study beside its stored trials.

    Attributes
    ----------
    status : str
    n_wanted : int
        Trials that the study is to have.
    data : str
        One line: symbol, timeframe, scored bars.
    n_settings : int, optional
        Settings that the space has; None where they are not counted.
    benchmark : dict of str to float
        Metrics of buy and hold on the searched bars; empty where they are not known.
    verdict : dict, optional
        The verdict as stored; None while a study is not complete.
    ended : str, optional
        Why the search ended before all trials, in a sentence.
    places : dict of str to str
        Where everything is, by what it is.
    warnings : tuple of str
    seconds : dict of str to float
        Time by phase [s]; empty for a stored study.
    """

    status: str
    n_wanted: int
    data: str
    n_settings: int | None = None
    benchmark: Mapping[str, float] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    ended: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialSummary:
    """One trial as it is shown.

    Attributes
    ----------
    number : int
    values : dict of str to float
        Objectives by name.
    params : dict of str to value
        Swept keys by dotted name.
    metrics : dict of str to float
        NaN where undefined.
    feasible : bool
        Whether it breaks no condition on results.
    """

    number: int
    values: Mapping[str, float]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    feasible: bool

    @classmethod
    def of(cls, study: Study, trial: TrialRecord, **more: Any) -> Self:
        """Return a stored trial as it is shown, with what a kind of trial has besides."""
        return cls(
            number=trial["number"],
            values=dict(zip(study.objectives, trial["values"], strict=True)),
            params=trial["params"],
            metrics=trial["metrics"],
            feasible=_is_feasible(trial),
            **more,
        )

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {format_metric(name, value)}" for name, value in self.values.items())
        setting = ", ".join(f"{key}={format_parameter(value)}" for key, value in self.params.items())
        return f"<trial {self.number:,}: {values}; {setting}>"

    def _repr_html_(self) -> str:
        keys = [(key, format_parameter(value)) for key, value in self.params.items()]
        rows = [*keys, *((name, format_metric(name, value)) for name, value in self.metrics.items())]
        cells = "".join(f"<tr><th style='text-align:left'>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows)
        return f"<table><tr><th></th><th>trial {self.number:,}</th></tr>{cells}</table>"


@dataclass(frozen=True, repr=False)
class ChosenTrial(TrialSummary):
    """The trial that a verdict speaks of.

    Attributes
    ----------
    holdout : dict of str to float, optional
        Its metrics on the hold-out; None where there is none.
    """

    holdout: Mapping[str, float] | None = None


@dataclass(frozen=True)
class DefaultsTrial:
    """The strategy's own setting among the trials.

    Attributes
    ----------
    number : int
    values : dict of str to float
        Objectives by name; NaN if it failed.
    better_than : float, optional
        Share of the other trials that are worse by the first objective, failed and infeasible ones among them [1]; None
        if it is such a one.
    error : str, optional
        Why it failed.
    feasible : bool
        Whether it breaks no condition on results.
    """

    number: int
    values: Mapping[str, float]
    better_than: float | None
    error: str | None
    feasible: bool = True


@dataclass(frozen=True)
class StudySummary:
    """A study at its end, or as stored.

    Attributes
    ----------
    study, status : str
    definitions : int
        Number of the definitions of engine and metrics that its trials were computed by.
    n_trials, n_failed : int
        Stored trials, and those of them without an objective.
    n_infeasible : int
        Those that have their objectives and break a condition on results.
    n_distinct : int
        Different settings among the stored trials.
    n_settings : int, optional
        Settings that the space has; None where they are not counted.
    n_wanted : int
        Trials that the study is to have.
    seed : int
    search : str
        Name of the sampler.
    objectives, directions : tuple of str
    data : str
        One line: symbol, timeframe, scored bars.
    best : tuple of TrialSummary
        With several objectives some of the Pareto front, in order of the first. Where none is feasible, the one that
        breaks the conditions least.
    front : tuple of int
        Numbers of all trials of the Pareto front; with one objective that of the best.
    benchmark : dict of str to float
        Metrics of buy and hold on the searched bars; empty where they are not known.
    failures : dict of str to int
        Most common reasons of failed trials.
    verdict : dict, optional
        As stored; None while a study is not complete.
    places : dict of str to str
        Where everything is, by what it is.
    warnings : tuple of str
    seconds : dict of str to float
        By phase [s]; empty for a stored study.
    bars : dict, optional
        Symbols, timeframe, dates and counts of the bars, once the study is weighed.
    chosen : ChosenTrial, optional
        The trial that was weighed, with its metrics on the hold-out.
    benchmark_holdout : dict of str to float, optional
        Metrics of buy and hold on the hold-out; None where it was not opened.
    sensitivity : dict, optional
        The chosen trial under other costs, a bar later and with the other executions, see `sensitivity`, and the
        commission at which its edge is gone; None where the study was not weighed, or before there was one.
    defaults : DefaultsTrial, optional
        Where the strategy's own setting ended; None where it was not tried as such.
    robust : TrialSummary, optional
        The trial whose neighbourhood is best; None where none has a neighbour, and before the study is weighed.
    choose : str
        How the trial of a front is chosen.
    ended : str, optional
        Why the search ended before all trials, in a sentence.
    stored : str, optional
        Which trials are stored, in a sentence, where that may be a part of them.
    schema : int
        Number of this document's shape.
    """

    study: str
    status: str
    definitions: int
    n_trials: int
    n_failed: int
    n_infeasible: int
    n_wanted: int
    seed: int
    search: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    data: str
    best: tuple[TrialSummary, ...]
    front: tuple[int, ...]
    benchmark: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    bars: Mapping[str, Any] | None = None
    chosen: ChosenTrial | None = None
    benchmark_holdout: Mapping[str, float] | None = None
    sensitivity: Mapping[str, Any] | None = None
    defaults: DefaultsTrial | None = None
    robust: TrialSummary | None = None
    choose: str = "first"
    n_distinct: int = 0
    n_settings: int | None = None
    ended: str | None = None
    stored: str | None = None
    schema: int = 1

    @property
    def is_exhausted(self) -> bool:
        """Whether every setting of the space was tried."""
        return self.n_settings is not None and self.n_distinct >= self.n_settings


def summarise(store: Store, study: Study, ranking: Ranking, account: Account) -> StudySummary:
    """Return the summary of a study from its stored trials, those that are shown, and what is told beside them."""
    failures = store.failures(study)
    verdict = account.verdict or {}
    warnings = account.warnings
    if ranking.best and ranking.chosen is None:
        warnings = (*warnings, nothing_feasible(study, ranking.best[0]))
    number = verdict.get("chosen")
    chosen = None if number is None else store.trial(study, number)
    return StudySummary(
        study=study.name,
        status=account.status,
        definitions=study.definitions,
        n_trials=store.n_done(study),
        n_failed=sum(failures.values()),
        n_infeasible=store.n_infeasible(study),
        n_distinct=_n_distinct(store, study, verdict),
        n_settings=account.n_settings,
        n_wanted=account.n_wanted,
        seed=study.seed,
        search=named_search(study.config),
        objectives=study.objectives,
        directions=study.directions,
        data=account.data,
        best=tuple(TrialSummary.of(study, trial) for trial in ranking.best),
        front=tuple(ranking.front),
        benchmark=account.benchmark,
        failures=dict(list(failures.items())[:N_REASONS]),
        verdict=account.verdict,
        places=account.places,
        warnings=warnings,
        seconds=dict(account.seconds),
        bars=verdict.get("bars"),
        chosen=None if chosen is None else ChosenTrial.of(study, chosen, holdout=verdict.get("chosen_holdout")),
        benchmark_holdout=verdict.get("benchmark_holdout"),
        sensitivity=_sensitivity(verdict),
        defaults=_defaults(store, study),
        robust=_robust(store, study, verdict),
        choose=study.choose,
        ended=account.ended,
        stored=None if (sums := store.sums(study)) is None else sums.stored,
    )


def _n_distinct(store: Store, study: Study, verdict: Mapping[str, Any]) -> int:
    """Return how many different settings were tried; a verdict has counted them, which takes seconds of a million."""
    counted = verdict.get("n_distinct")
    return int(counted) if counted and verdict.get("n_trials") == store.n_done(study) else store.n_distinct(study)


def _robust(store: Store, study: Study, verdict: Mapping[str, Any]) -> TrialSummary | None:
    """Return the trial with the best neighbourhood, which a verdict has found."""
    number = (verdict.get("numbers") or {}).get("robust_trial")
    if number is None or number < 0:
        return None
    return TrialSummary.of(study, store.trial(study, int(number)))


def _sensitivity(verdict: Mapping[str, Any]) -> dict[str, Any] | None:
    stored = verdict.get("sensitivity")
    if not stored:
        return None
    return dict(stored) | {"break_even_commission": (verdict.get("numbers") or {}).get("break_even_commission")}


def _defaults(store: Store, study: Study) -> DefaultsTrial | None:
    """Return where the strategy's own setting ended: it is the first trial, if it was tried."""
    if not StartPoints.of(study).has_defaults or not store.n_done(study):
        return None
    trial = store.trial(study, 0)
    values = dict(zip(study.objectives, trial["values"], strict=True))
    return DefaultsTrial(0, values, store.share_worse(study, 0), trial["error"], _is_feasible(trial))


def nothing_feasible(study: Study, nearest: TrialRecord) -> str:
    """Return a sentence on a study all of whose trials break a condition, and on the one that breaks them least."""
    broken = [
        f"{condition} by {excess:.4g}"
        for condition, excess in zip(study.feasible, nearest["violation"], strict=True)
        if not excess <= 0
    ]
    return (
        f"No trial is feasible ({', '.join(study.feasible)}), so that none is chosen; the nearest is trial "
        f"{nearest['number']}, which breaks {', '.join(broken)}."
    )


def _is_feasible(trial: TrialRecord) -> bool:
    return all(excess <= 0 for excess in trial["violation"])


def describe_bars(bars: StudyBars, market: Market, holdout: Market | None) -> dict[str, Any]:
    """Return what a study's bars are, for its JSON."""
    return {
        "symbols": bars.symbols,
        "timeframe": bars.timeframe,
        "start": bars.start.isoformat(),
        "end": bars.end.isoformat(),
        "n_bars": market.n_scored,
        "holdout_start": None if bars.holdout_start is None else bars.holdout_start.isoformat(),
        "n_holdout": 0 if holdout is None else holdout.n_scored,
        "periods_per_year": market.bars.periods_per_year,
        "fingerprint": market.fingerprint,
    }


def describe_data(market: Market, holdout: Market | None) -> str:
    """Return one line: what was traded, over which bars, and what was held back."""
    bars = market.bars
    first, last = (_date(bars.timestamp[place]) for place in (market.first, -1))
    text = f"{bars.symbol} {bars.timeframe}, {market.n_scored:,} bars from {first} to {last}"
    text += f" ({bars.periods_per_year:,.6g} a year)"
    if holdout is None:
        return f"{text}, no hold-out"
    return f"{text}, {holdout.n_scored:,} held out from {_date(holdout.bars.timestamp[holdout.first])} on"


def _date(nanoseconds: int) -> str:
    return str(np.datetime64(int(nanoseconds), "ns").astype("datetime64[D]"))
