"""The configuration of every command: frozen, checked, and the one home of every default.

Configurations are made by `assembly.assemble` from what Hydra composes, or directly in Python. Messages name
the dotted keys of the command line.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alphapulse.backtesting.models import EngineParams
from alphapulse.config.bars.download import (
    DataCommandConfig,
    DownloadConfig,
    DownloadDataConfig,
    ProviderConfig,
    QualityConfig,
)
from alphapulse.config.bars.universe import UniverseConfig
from alphapulse.config.groups import (
    DataConfig,
    OptunaConfig,
    Output,
    SearchConfig,
    ThresholdsConfig,
    ValidationConfig,
    WalkForwardConfig,
    at_least,
    within,
)
from alphapulse.config.machines.cluster import ClusterConfig, ResourcesConfig
from alphapulse.config.machines.database import DatabaseConfig
from alphapulse.config.stored import (
    DashboardConfig,
    NullSweepsConfig,
    ReplayConfig,
    ReportConfig,
    StudiesConfig,
    TrialsConfig,
    WeighConfig,
)
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.expressions import Expression, read_condition, read_expression
from alphapulse.search.space import SearchSpace

__all__ = [
    "BacktestConfig",
    "ClusterConfig",
    "DashboardConfig",
    "DataCommandConfig",
    "DataConfig",
    "DatabaseCommandConfig",
    "DatabaseConfig",
    "DownloadConfig",
    "DownloadDataConfig",
    "NewConfig",
    "NullSweepsConfig",
    "OptunaConfig",
    "ProviderConfig",
    "QualityConfig",
    "ReplayConfig",
    "ReportConfig",
    "ResourcesConfig",
    "SearchConfig",
    "StudiesConfig",
    "SweepConfig",
    "ThresholdsConfig",
    "TrialsConfig",
    "UniverseConfig",
    "ValidationConfig",
    "WalkForwardConfig",
    "WeighConfig",
    "check_objectives",
]

FIRST, KNEE = "first", "knee"

TARGET = "_target_"
DEFAULT_STRATEGY = "alphapulse.strategies.long_short.LongShort"


def _default_strategy() -> dict[str, Any]:
    return {TARGET: DEFAULT_STRATEGY}


@dataclass(frozen=True)
class SweepConfig:
    """One study: a strategy, its search space, the data and how it is searched.

    Attributes
    ----------
    study : str, optional
        Name of the study; an existing one is continued. The command gives a fresh one where it is None.
    sweeps : str, optional
        Experiment of `sweeps/` that the overrides and the space came from.
    n_trials : int
        Trials of the study in total.
    seed : int
    output : {"table", "json"}
    quiet : bool
        Whether progress and warnings are silent.
    log : {"text", "json"}
        How progress and warnings are written on stderr: for people, or one JSON object a line.
    objective : tuple of str
        What to optimise: metrics, expressions over them, or dotted paths of functions of them.
    direction : tuple of {"maximize", "minimize"}, optional
        Each objective has one; None is the metrics' natural ones.
    feasible : tuple of str
        Conditions over metrics; a trial that breaks one is kept, but is never the best and never chosen.
    constraints : tuple of str
        Conditions over keys of the strategy and the engine that every trial keeps, beside the strategy's own.
    when : mapping of str to str
        Conditions over such keys under which swept ones count, by dotted key.
    choose : str
        Of several objectives' Pareto front what is weighed: "first" (the best by the first objective), "knee", or an
        expression over metrics, whose highest is chosen.
    patience : int, optional
        Generations in a row without a better value after which the search ends; None is no number of them.
    timeout : str, optional
        Time after which the search of this command ends ("90s", "10m", "1.5h"); which trial is the last depends on the
        machine then.
    strategy : mapping
        It has `_target_`, the dotted path, and the parameters that are set.
    details : bool
        Whether every test's line, the best trials and the times are printed too.
    traceback : bool
        Whether an error shows where in the code it was raised.
    tear_sheet : bool
        Whether QuantStats' tear sheet of the chosen trial is drawn at the end.
    store : {"all", "best"}
        Which trials are stored: all, or the best 10,000, a random sample of 100,000 and sums over all.
    max_failure_rate : float
        Share of trials that may raise or end their workers; more of them, after 100 trials, end the sweep. Trials whose
        objective is undefined do not count.
    space : SearchSpace
        What is swept.
    """

    study: str | None = None
    sweeps: str | None = None
    n_trials: int = 2000
    seed: int = 0
    output: Output = "table"
    quiet: bool = False
    log: Literal["text", "json"] = "text"
    details: bool = False
    traceback: bool = False
    tear_sheet: bool = False
    objective: tuple[str, ...] = ("sharpe_ratio",)
    direction: tuple[Literal["maximize", "minimize"], ...] | None = None
    feasible: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    when: Mapping[str, str] = field(default_factory=dict)
    choose: str = FIRST
    universe: UniverseConfig = field(default_factory=UniverseConfig)
    store: Literal["all", "best"] = "all"
    max_failure_rate: float = 0.5
    patience: int | None = None
    timeout: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    strategy: Mapping[str, Any] = field(default_factory=_default_strategy)
    engine: EngineParams = field(default_factory=EngineParams)
    search: SearchConfig = field(default_factory=SearchConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    db: DatabaseConfig = field(default_factory=DatabaseConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    optuna: OptunaConfig = field(default_factory=OptunaConfig)
    space: SearchSpace = field(default_factory=lambda: SearchSpace(()))

    def __post_init__(self) -> None:
        if self.study is not None and not self.study.strip():
            raise ConfigError(f"`study` must not be blank, but got {self.study!r}")
        at_least("n_trials", self.n_trials, 1)
        if self.n_trials >= 2**31:
            raise ConfigError(f"`n_trials` must be below 2**31, but got {self.n_trials}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"`seed` must be in [0, 2**63), but got {self.seed!r}")
        check_objectives(self.objective)
        self.conditions  # noqa: B018
        check_choice(self.choose, len(self.objective))
        for key, text in self.when.items():
            if not isinstance(text, str):
                raise ConfigError(
                    f"`when` of {key} must be a condition such as 'engine.max_bars > 0', but got {text!r}"
                )
        within("max_failure_rate", self.max_failure_rate, 0.0, 1.0)
        at_least("patience", self.patience, 1)
        self.timeout_seconds  # noqa: B018
        if self.direction is not None and len(self.direction) != len(self.objective):
            raise ConfigError(
                f"`direction` must have one entry an objective, "
                f"but got {list(self.direction)} for {list(self.objective)}"
            )
        if self.validation.objective is not None and self.objective != ("sharpe_ratio",):
            raise ConfigError(
                f"`validation.objective={self.validation.objective}` must go with objective=sharpe_ratio, "
                f"but got {list(self.objective)}"
            )
        if self.validation.objective == "worst_fold" and self.universe.score != "portfolio":
            raise ConfigError(
                "`validation.objective=worst_fold` must go with universe.score=portfolio, "
                f"but got {self.universe.score}"
            )
        if len(self.objective) > 1 and self.search.sampler == "cmaes":
            raise ConfigError(
                f"`search=cmaes` must have one objective, but got {list(self.objective)}; use search=nsga2 or tpe"
            )

    @property
    def conditions(self) -> tuple[Expression, ...]:
        """What `feasible` says, read.

        Raises
        ------
        ConfigError
            If one is no comparison of metrics.
        """
        if not self.feasible:
            return ()
        from alphapulse.backtesting.metrics import METRICS

        return tuple(read_condition(text, "feasible", METRICS) for text in self.feasible)

    @property
    def timeout_seconds(self) -> float:
        """What `timeout` says [s]; inf where there is none.

        Raises
        ------
        ConfigError
            If it says no time.
        """
        if self.timeout is None:
            return math.inf
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", self.timeout)
        seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0.0
        if seconds <= 0.0:
            raise ConfigError(f"`timeout` must be a time such as 90s, 10m or 1.5h, but got {self.timeout!r}")
        return seconds

    @property
    def directions(self) -> tuple[str, ...]:
        """For each objective, "maximize" or "minimize"; what is no metric, or one without a side, is maximised."""
        from alphapulse.backtesting.metrics import TABLE

        if self.direction is not None:
            return self.direction
        natural = (TABLE[name].direction if name in TABLE else None for name in self.objective)
        return tuple(direction or "maximize" for direction in natural)


@dataclass(frozen=True)
class BacktestConfig:
    """One backtest of one setting.

    Attributes
    ----------
    study, trial : str, optional
        A stored study and one of its trials (a number, best, chosen or robust), whose setting is run; what is typed
        beside them is changed in it.
    sweeps : str, optional
        Experiment of `sweeps/`, or a file, whose overrides come first; its space is left out.
    """

    study: str | None = None
    trial: str | None = None
    sweeps: str | None = None
    output: Output = "table"
    quiet: bool = False
    traceback: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    universe: UniverseConfig = field(default_factory=UniverseConfig)
    strategy: Mapping[str, Any] = field(default_factory=_default_strategy)
    engine: EngineParams = field(default_factory=EngineParams)
    db: DatabaseConfig = field(default_factory=DatabaseConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        if self.trial is not None and self.study is None:
            raise ConfigError("`trial` must go with a study; write study=NAME trial=NUMBER")


@dataclass(frozen=True)
class NewConfig:
    """The name of a strategy to start from."""

    name: str | None = None
    output: Output = "table"

    def __post_init__(self) -> None:
        if self.name is None:
            raise ConfigError("a name must be given: `python -m alphapulse.new NAME`")


@dataclass(frozen=True)
class DatabaseCommandConfig:
    """What to do with the database: `init ADMIN_URL`, `upgrade`, `status`, `stop`, `compress` or `url`.

    With `optuna` the URL is that of Optuna's tables.
    """

    action: Literal["init", "upgrade", "url", "status", "stop", "compress"] | None = None
    admin_url: str | None = field(default=None, repr=False)
    show_password: bool = False
    optuna: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.action is None:
            raise ConfigError(
                "an action must be given: `python -m alphapulse.db init ADMIN_URL`, `upgrade`, `status`, `stop`, `url`"
            )
        if self.action != "init" and self.admin_url is not None:
            raise ConfigError(f"`{self.action}` must stand alone, but got an address; only init takes one")


def check_objectives(objectives: tuple[str, ...]) -> None:
    """Raise ConfigError unless `objectives` are distinct metrics, expressions over them, or dotted paths."""
    # Compiled code loads with the metrics; a configuration that is only shown should not wait for it.
    from alphapulse.backtesting.metrics import METRICS
    from alphapulse.strategies.scores import is_path

    if not objectives:
        raise ConfigError("`objective` must name at least one metric, but got []")
    for name in objectives:
        if name not in METRICS and not name.isidentifier() and not is_path(name):
            expression = read_expression(name, "objective", METRICS)
            if expression.is_condition or not expression.names:
                raise ConfigError(f"`objective` must be a number made of metrics, but got {name!r}")
        elif name not in METRICS and not is_path(name):
            hint = did_you_mean(name, METRICS) or f"; known: {', '.join(METRICS)}"
            raise ConfigError(f"`objective` must be a metric, but got {name!r}{hint}")
        if objectives.count(name) > 1:
            raise ConfigError(f"`objective` must name each once, but got {name!r} twice")


def check_choice(choose: str, n_objectives: int) -> None:
    """Raise ConfigError unless `choose` chooses one of a Pareto front."""
    if choose == FIRST:
        return
    if n_objectives == 1:
        hint = "" if choose == KNEE else f"; search for it with objective={choose}"
        raise ConfigError(f"`choose={choose}` must go with several objectives, but got one{hint}")
    if choose == KNEE:
        return
    from alphapulse.backtesting.metrics import METRICS

    if choose.isidentifier() and choose not in METRICS:
        hint = did_you_mean(choose, [FIRST, KNEE, *METRICS])
        raise ConfigError(f"`choose` must be first, knee or an expression over metrics, but got {choose!r}{hint}")
    expression = read_expression(choose, "choose", METRICS)
    if expression.is_condition or not expression.names:
        raise ConfigError(f"`choose` must be a number made of metrics, but got {choose!r}")
