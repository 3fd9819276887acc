"""What goes into a study and comes out of it: the study itself, generations, single trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypedDict

from alphapulse.search.space import SearchSpace
from alphapulse.study.trials import BlockMoments, SymbolMetrics, Trials
from alphapulse.typing import Float64Array1D, Int64Array1D
from alphapulse.validation.ledger import Span

Status = Literal["RUNNING", "COMPLETE", "INTERRUPTED"]


def named_search(config: Mapping[str, Any]) -> str:
    """Return the search of a stored configuration in words: "tpe", or "optuna CmaEsSampler" where it is Optuna's."""
    sampler = str(config.get("sampler", ""))
    return f"{sampler} {config['search'].get('optuna') or 'TPESampler'}" if sampler == "optuna" else sampler


@dataclass(frozen=True)
class StudyBars:
    """The stretch of bars that a study is about.

    Attributes
    ----------
    symbols : tuple of str
        The first `n_traded` are traded.
    timeframe : str
    start, end : datetime
        Start of the first scored bar and end of the last one, the hold-out included, UTC.
    holdout_start : datetime, optional
        Start of the first bar that is held out; None without a hold-out.
    n_traded : int
        More than one of a universe.
    """

    symbols: tuple[str, ...]
    timeframe: str
    start: datetime
    end: datetime
    holdout_start: datetime | None = None
    n_traded: int = 1

    @property
    def traded(self) -> tuple[str, ...]:
        """The symbols that are traded."""
        return self.symbols[: self.n_traded]

    @property
    def searched(self) -> Span:
        """What the search sees."""
        return Span(self.start.timestamp(), (self.holdout_start or self.end).timestamp())

    @property
    def held_out(self) -> Span | None:
        """What the search does not see; None without a hold-out."""
        return None if self.holdout_start is None else Span(self.holdout_start.timestamp(), self.end.timestamp())


@dataclass(frozen=True)
class StudyPlan:
    """What makes a study, before its first trial.

    Attributes
    ----------
    name : str
        Names the study in its database.
    config : dict
        The resolved configuration, without the database's address.
    space : SearchSpace
    seed : int
    objectives : tuple of str
    directions : tuple of {"minimize", "maximize"}
        There is one for each objective.
    fingerprint : str
        Hexadecimal hash of the bars.
    bars : StudyBars, optional
        None for a study of an older version, which has not kept them.
    code_version : str
        Hashes of this package's source and of the strategy's.
    packages : dict of str to str
        Versions that a trial's numbers may depend on, by package.
    n_trials : int
        Trials asked for in total.
    """

    name: str
    config: dict[str, Any]
    space: SearchSpace
    seed: int
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    fingerprint: str
    bars: StudyBars | None
    code_version: str
    packages: dict[str, str]
    n_trials: int

    @property
    def feasible(self) -> tuple[str, ...]:
        """Conditions that the results of its trials must keep, as they were written."""
        return tuple(self.config.get("feasible", ()))

    @property
    def is_part(self) -> bool:
        """Whether a part of its trials is stored, with `Sums` over all of them."""
        return self.config.get("store") == "best"

    @property
    def choose(self) -> str:
        """Which trial of a Pareto front is the one, see `choice.Choice`."""
        return str(self.config.get("choose", "first"))


@dataclass(frozen=True)
class Study(StudyPlan):
    """A row of `sweep` as it was when read: a plan, and how far it has come.

    Attributes
    ----------
    id : int
    definitions : int
        Number of the definitions of engine and metrics that its trials were computed by.
    status : {"RUNNING", "COMPLETE", "INTERRUPTED"}
    n_done : int
        Trials that are stored.
    n_null : int or None
        Null sweeps that it is to have at most, once that is fixed.
    state : bytes or None
        What the last stored generation left for whoever continues.
    verdict : dict or None
    created_at, updated_at : datetime
    """

    id: int
    definitions: int
    status: Status
    n_done: int
    n_null: int | None
    state: bytes | None = field(repr=False)
    verdict: dict[str, Any] | None = field(repr=False)
    created_at: datetime
    updated_at: datetime

    @property
    def current_verdict(self) -> dict[str, Any] | None:
        """The verdict; None where more trials are stored than it speaks of."""
        return self.verdict if self.verdict is not None and self.verdict["n_trials"] == self.n_done else None


@dataclass(frozen=True)
class Part:
    """Which trials of a stretch are stored, where not all are.

    Attributes
    ----------
    numbers, generations : (n,) int64
        Of each that is stored.
    n_trials : int
        Trials of the stretch.
    sums : str
        `Sums` over all trials after it, as stored.
    """

    numbers: Int64Array1D
    generations: Int64Array1D
    n_trials: int
    sums: str


@dataclass(frozen=True)
class Generation:
    """Consecutive trials of one generation, or a part of those of a stretch, ready to be stored.

    Attributes
    ----------
    number : int
        Number of the generation.
    first_trial : int
        Number of the first of these trials.
    trials : Trials
    blocks : BlockMoments
        Moments of those trials that keep them, by number in the study.
    state : bytes
        State of the study after these trials, for whoever continues it.
    by_symbol : SymbolMetrics, optional
        Of a universe, metrics of those of the trials that ran; the others equal an earlier trial.
    part : Part, optional
        Which trials these are; None is all of one generation from `first_trial` on.
    """

    number: int
    first_trial: int
    trials: Trials
    blocks: BlockMoments
    state: bytes
    by_symbol: SymbolMetrics | None = None
    part: Part | None = None

    @property
    def n_trials(self) -> int:
        """Trials that the study has more with it, stored or not."""
        return len(self.trials) if self.part is None else self.part.n_trials


class TrialRecord(TypedDict):
    """One stored trial; `parameters` in the order of the space, `params` as configuration values by name.

    `violation` says by how much it breaks each condition of `Study.feasible`; it is empty where the trial failed. One
    that is DRAWN was run, but is not among those that are stored: its outcome is NaN.
    """

    number: int
    generation: int
    state: Literal["COMPLETE", "FAIL", "DRAWN"]
    parameters: Float64Array1D
    params: dict[str, Any]
    values: list[float]
    violation: list[float]
    metrics: dict[str, float]
    ruined: bool
    error: str | None
    seconds: float
    completed_at: datetime
