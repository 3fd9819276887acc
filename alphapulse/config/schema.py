"""The configuration of every command: frozen, checked, and the one home of every default.

Configurations are made by `building.build` from what Hydra composes, or directly in Python. Fields that a
message must name carry the dotted key of the command line.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alphapulse.backtesting.models import EngineParams
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.sweep.space import SearchSpace

Output = Literal["table", "json"]
Source = Literal["sample", "database", "yahoo"]
SamplerName = Literal["auto", "random", "grid", "qmc", "tpe", "cmaes", "nsga2", "nsga3", "gp"]
Lookahead = Literal["on", "strict", "off"]

TIMEFRAMES = ("1m", "5m", "15m", "30m", "1h", "2h", "4h", "1d")
TARGET = "_target_"
DEFAULT_STRATEGY = "alphapulse.strategies.long_short.LongShort"
# Metrics of which less is better; of all others more is.
MINIMISED = frozenset({"volatility", "kurtosis", "turnover", "costs_paid"})

_DURATION = re.compile(r"[1-9]\d*[mhdw]")


def _default_strategy() -> dict[str, Any]:
    return {TARGET: DEFAULT_STRATEGY}


def _at_least(key: str, value: float | None, low: float) -> None:
    if value is not None and not value >= low:
        raise ConfigError(f"`{key}` must be >= {low:g}, but got {value!r}")


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"`{key}` must be in [{low:g}, {high:g}], but got {value!r}")


def _check_timeframe(key: str, timeframe: str) -> None:
    if timeframe not in TIMEFRAMES:
        hint = did_you_mean(timeframe.lower(), TIMEFRAMES)
        raise ConfigError(f"`{key}` must be one of {', '.join(TIMEFRAMES)}, but got {timeframe!r}{hint}")


def _check_dates(prefix: str, start: str | None, end: str | None) -> None:
    moments = []
    for key, text in (("start", start), ("end", end)):
        if text is not None:
            try:
                moment = datetime.datetime.fromisoformat(text)
            except ValueError:
                raise ConfigError(
                    f"`{prefix}.{key}` must be an ISO date such as 2010-01-31, but got {text!r}"
                ) from None
            moments.append(moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC))
    if len(moments) == 2 and moments[0] > moments[1]:
        raise ConfigError(f"`{prefix}.start` must not be after `{prefix}.end`, but got {start} and {end}")


def _check_symbols(key: str, symbols: tuple[str, ...]) -> None:
    for symbol in symbols:
        if not symbol.strip():
            raise ConfigError(f"`{key}` must hold symbols, but got an empty one in {list(symbols)}")
        if symbols.count(symbol) > 1:
            raise ConfigError(f"`{key}` must name each symbol once, but got {symbol!r} twice")


@dataclass(frozen=True)
class DataConfig:
    """Which bars a strategy sees (`data`).

    Attributes
    ----------
    source : {"sample", "database", "yahoo"}
        Bundled figures, bars already in the database, or the same after fetching what is missing from Yahoo.
    symbols : tuple of str
        The first is traded; the closes of the others are joined to it by the end of each bar.
    volatility_symbol : str, optional
        Volatility index joined to the traded bars.
    timeframe : str
        Length of a bar.
    start, end : str, optional
        ISO dates, UTC; the first scored bar is not before `start`, the last not after `end`, which is a whole day.
    max_staleness : str
        Age beyond which a joined value is unknown ("7d", "36h").
    """

    source: Source = "sample"
    symbols: tuple[str, ...] = ("SAMPLE_SP500",)
    volatility_symbol: str | None = None
    timeframe: str = "1d"
    start: str | None = None
    end: str | None = None
    max_staleness: str = "7d"

    def __post_init__(self) -> None:
        if not self.symbols:
            raise ConfigError("`data.symbols` must name at least one symbol, but got []; write data.symbols=[SYMBOL]")
        _check_symbols("data.symbols", self.symbols)
        _check_timeframe("data.timeframe", self.timeframe)
        _check_dates("data", self.start, self.end)
        if not _DURATION.fullmatch(self.max_staleness):
            raise ConfigError(
                f"`data.max_staleness` must be a duration such as 7d or 36h, but got {self.max_staleness!r}"
            )


@dataclass(frozen=True)
class SearchConfig:
    """How parameters are proposed (`search`).

    Attributes
    ----------
    sampler : {"auto", "random", "grid", "qmc", "tpe", "cmaes", "nsga2", "nsga3", "gp"}
    generation_size : int, optional
        Trials proposed at once; None is the sampler's own.
    n_startup_trials : int, optional
        Random trials before a model is fitted; None is the sampler's own.
    population_size : int, optional
        Of the evolutionary samplers; None is the sampler's own.
    """

    sampler: SamplerName = "tpe"
    generation_size: int | None = None
    n_startup_trials: int | None = None
    population_size: int | None = None

    def __post_init__(self) -> None:
        _at_least("search.generation_size", self.generation_size, 1)
        _at_least("search.n_startup_trials", self.n_startup_trials, 1)
        _at_least("search.population_size", self.population_size, 2)

    @property
    def options(self) -> dict[str, Any]:
        """What was set beside the sampler's name."""
        named = {name: getattr(self, name) for name in ("generation_size", "n_startup_trials", "population_size")}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class ClusterConfig:
    """Where trials are evaluated (`cluster`).

    Attributes
    ----------
    address : str, optional
        Of a running Ray cluster ("auto", "ray://host:10001"); None starts one on this machine.
    num_cpus : int, optional
        CPUs of the local cluster; None is all of them.
    dashboard : bool
        Whether the local cluster serves Ray's dashboard.
    """

    address: str | None = None
    num_cpus: int | None = None
    dashboard: bool = True

    def __post_init__(self) -> None:
        _at_least("cluster.num_cpus", self.num_cpus, 1)
        if self.address is not None and self.num_cpus is not None:
            raise ConfigError(
                f"`cluster.num_cpus` must be null with `cluster.address`, but got {self.num_cpus} and {self.address!r}; "
                "a running cluster has its own CPUs"
            )


@dataclass(frozen=True)
class DatabaseConfig:
    """Which database (`db`); null takes the value of DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASS.

    Without a host in either place, a PostgreSQL server of alphapulse's own runs in the user's data directory.
    """

    host: str | None = None
    port: int | None = None
    name: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.port is not None:
            _within("db.port", self.port, 1, 65535)


@dataclass(frozen=True)
class ThresholdsConfig:
    """When the verdict says what (`validation.thresholds`): p-values of the reality check, PSR of the hold-out."""

    survive_p: float = 0.05
    luck_p: float = 0.20
    survive_psr: float = 0.95
    luck_psr: float = 0.5

    def __post_init__(self) -> None:
        for name in ("survive_p", "luck_p", "survive_psr", "luck_psr"):
            _within(f"validation.thresholds.{name}", getattr(self, name), 0.0, 1.0)
        for low, high in (("survive_p", "luck_p"), ("luck_psr", "survive_psr")):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(
                    f"`validation.thresholds.{low}` must be <= `{high}`, "
                    f"but got {getattr(self, low):g} and {getattr(self, high):g}"
                )


@dataclass(frozen=True)
class WalkForwardConfig:
    """Windows of the walk-forward analysis in calendar blocks (`validation.walk_forward`).

    Attributes
    ----------
    train_blocks, test_blocks : int
        Length of a training window (the first one, if anchored) and of the window after it [blocks].
    purge, embargo : int
        Blocks left out between a training window and the test window before or after it [blocks].
    """

    train_blocks: int = 60
    test_blocks: int = 12
    purge: int = 1
    embargo: int = 0

    def __post_init__(self) -> None:
        _at_least("validation.walk_forward.train_blocks", self.train_blocks, 2)
        _at_least("validation.walk_forward.test_blocks", self.test_blocks, 1)
        _at_least("validation.walk_forward.purge", self.purge, 0)
        _at_least("validation.walk_forward.embargo", self.embargo, 0)


@dataclass(frozen=True)
class ValidationConfig:
    """What is held back, checked and concluded (`validation`).

    Attributes
    ----------
    holdout : float
        Share of the bars, at their end, that the search never sees [1].
    lookahead : {"on", "strict", "off"}
        The look-ahead gate; "strict" tries more cuts.
    objective : {"plateau", "worst_fold"}, optional
        What the search optimises in place of the plain objective.
    n_bootstrap : int
        Resamples of the reality check.
    keep_blocks : int
        Trials up to which all block moments are stored.
    pbo_blocks : int
        Blocks of the combinatorial cross-validation, even.
    thresholds : ThresholdsConfig
    walk_forward : WalkForwardConfig
    priors : tuple of float
        Stated probabilities of a real edge, for the chance of a false discovery [1].
    """

    holdout: float = 0.2
    lookahead: Lookahead = "on"
    objective: Literal["plateau", "worst_fold"] | None = None
    n_bootstrap: int = 1000
    keep_blocks: int = 100_000
    pbo_blocks: int = 16
    thresholds: ThresholdsConfig = field(default_factory=ThresholdsConfig)
    walk_forward: WalkForwardConfig = field(default_factory=WalkForwardConfig)
    priors: tuple[float, ...] = (0.01, 0.1, 0.5)

    def __post_init__(self) -> None:
        if not 0.0 <= self.holdout < 1.0:
            raise ConfigError(f"`validation.holdout` must be in [0, 1), but got {self.holdout!r}")
        _at_least("validation.n_bootstrap", self.n_bootstrap, 10)
        _at_least("validation.keep_blocks", self.keep_blocks, 2)
        if self.pbo_blocks < 2 or self.pbo_blocks % 2 or self.pbo_blocks > 24:
            raise ConfigError(f"`validation.pbo_blocks` must be an even number in [2, 24], but got {self.pbo_blocks!r}")
        for prior in self.priors:
            if not 0.0 < prior < 1.0:
                raise ConfigError(f"`validation.priors` must be in (0, 1), but got {prior!r}")


@dataclass(frozen=True)
class OptunaConfig:
    """The copy of a study in Optuna's own tables (`optuna`): all trials up to `mirror_limit`, then the best and a sample."""

    mirror_limit: int = 10_000

    def __post_init__(self) -> None:
        _at_least("optuna.mirror_limit", self.mirror_limit, 0)


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
        Whether progress is silent.
    objective : tuple of str
        Metrics to optimise.
    direction : tuple of {"maximize", "minimize"}, optional
        One an objective; None is the metrics' natural ones.
    strategy : mapping
        `_target_`, the dotted path, and the parameters that are set.
    space : SearchSpace
        What is swept.
    """

    study: str | None = None
    sweeps: str | None = None
    n_trials: int = 2000
    seed: int = 0
    output: Output = "table"
    quiet: bool = False
    objective: tuple[str, ...] = ("sharpe_ratio",)
    direction: tuple[Literal["maximize", "minimize"], ...] | None = None
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
        _at_least("n_trials", self.n_trials, 1)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"`seed` must be in [0, 2**63), but got {self.seed!r}")
        check_objectives(self.objective)
        if self.direction is not None and len(self.direction) != len(self.objective):
            raise ConfigError(
                f"`direction` must have one entry an objective, but got {list(self.direction)} for {list(self.objective)}"
            )
        if self.validation.objective is not None and self.objective != ("sharpe_ratio",):
            raise ConfigError(
                f"`validation.objective={self.validation.objective}` must go with objective=sharpe_ratio, "
                f"but got {list(self.objective)}"
            )
        if len(self.objective) > 1 and self.search.sampler == "cmaes":
            raise ConfigError(
                f"`search=cmaes` must have one objective, but got {list(self.objective)}; use search=nsga2 or tpe"
            )

    @property
    def directions(self) -> tuple[str, ...]:
        """For each objective, "maximize" or "minimize"."""
        if self.direction is not None:
            return self.direction
        return tuple("minimize" if name in MINIMISED else "maximize" for name in self.objective)


@dataclass(frozen=True)
class BacktestConfig:
    """One backtest of one setting."""

    output: Output = "table"
    quiet: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    strategy: Mapping[str, Any] = field(default_factory=_default_strategy)
    engine: EngineParams = field(default_factory=EngineParams)
    db: DatabaseConfig = field(default_factory=DatabaseConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)


@dataclass(frozen=True)
class ReplayConfig:
    """A stored trial to run again."""

    study: str | None = None
    trial: int | None = None
    output: Output = "table"
    quiet: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.study is None or self.trial is None:
            raise ConfigError("`study` and `trial` must be given; write study=NAME trial=NUMBER")
        _at_least("trial", self.trial, 0)


@dataclass(frozen=True)
class ReportConfig:
    """A stored sweep to report on."""

    study: str | None = None
    output: Output = "table"
    quiet: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.study is None:
            raise ConfigError("`study` must be given; write study=NAME")


@dataclass(frozen=True)
class DashboardConfig:
    """Where optuna-dashboard is served."""

    host: str = "127.0.0.1"
    port: int = 8080
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        _within("port", self.port, 0, 65535)


@dataclass(frozen=True)
class DatabaseCommandConfig:
    """What to do with the database: `init ADMIN_URL`, `upgrade` or `url`."""

    action: Literal["init", "upgrade", "url"] | None = None
    admin_url: str | None = field(default=None, repr=False)
    show_password: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.action is None:
            raise ConfigError("an action must be given: `python -m alphapulse.db init ADMIN_URL`, `upgrade` or `url`")
        if self.action != "init" and self.admin_url is not None:
            raise ConfigError(f"`{self.action}` must stand alone, but got an address; only init takes one")


@dataclass(frozen=True)
class ProviderConfig:
    """Where bars come from (`provider`); `path` is the file or directory of the csv provider."""

    name: Literal["sample", "yfinance", "csv"] = "yfinance"
    path: str | None = None

    def __post_init__(self) -> None:
        if self.name == "csv" and self.path is None:
            raise ConfigError("`provider.path` must name the CSV file; write provider=csv provider.path=FILE")
        if self.name != "csv" and self.path is not None:
            raise ConfigError(f"`provider.path` must be null with provider={self.name}, but got {self.path!r}")


@dataclass(frozen=True)
class DownloadDataConfig:
    """Which bars to download (`data`).

    Attributes
    ----------
    symbols : tuple of str
        Empty is the provider's own: both samples, ^GSPC and ^VIX, or all in the file.
    timeframe : str, optional
        Length of a bar; None is the provider's own: 1d, for yfinance 1d and 1h, or all in the file.
    start, end : str, optional
        ISO dates, UTC; both belong to the range.
    """

    symbols: tuple[str, ...] = ()
    timeframe: str | None = None
    start: str | None = None
    end: str | None = None

    def __post_init__(self) -> None:
        _check_symbols("data.symbols", self.symbols)
        if self.timeframe is not None:
            _check_timeframe("data.timeframe", self.timeframe)
        _check_dates("data", self.start, self.end)


@dataclass(frozen=True)
class DownloadConfig:
    """Bars to bring into the database."""

    provider: ProviderConfig = field(default_factory=ProviderConfig)
    data: DownloadDataConfig = field(default_factory=DownloadDataConfig)
    output: Output = "table"
    quiet: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)


def check_objectives(objectives: tuple[str, ...]) -> None:
    """Raise ConfigError unless `objectives` are distinct names of metrics."""
    # Compiled code loads with the metrics; a configuration that is only shown should not wait for it.
    from alphapulse.backtesting.metrics import METRICS

    if not objectives:
        raise ConfigError("`objective` must name at least one metric, but got []")
    for name in objectives:
        if name not in METRICS:
            hint = did_you_mean(name, METRICS) or f"; known: {', '.join(METRICS)}"
            raise ConfigError(f"`objective` must be a metric, but got {name!r}{hint}")
        if objectives.count(name) > 1:
            raise ConfigError(f"`objective` must name each metric once, but got {name!r} twice")
