"""The groups that commands share: data, search, validation."""

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from alphapulse.config.bars.universe import listed
from alphapulse.config.found import SAMPLER_NAMES
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.market.timeframes import read_length, read_timeframe

Output = Literal["table", "json"]
Source = Literal["sample", "database", "yahoo", "csv"]
# What a file says itself.
AUTO = "auto"
Lookahead = Literal["on", "strict", "off"]


def at_least(key: str, value: float | None, low: float) -> None:
    """Raise ConfigError if a value is given and below `low`."""
    if value is not None and not value >= low:
        raise ConfigError(f"`{key}` must be >= {low:g}, but got {value!r}")


def within(key: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless a value is in [low, high]."""
    if not low <= value <= high:
        raise ConfigError(f"`{key}` must be in [{low:g}, {high:g}], but got {value!r}")


def one_of(key: str, name: str, known: Sequence[str]) -> None:
    """Raise ConfigError unless a name is a known one."""
    if name not in known:
        raise ConfigError(f"`{key}` must be one of {', '.join(known)}, but got {name!r}{did_you_mean(name, known)}")


def check_timeframe(key: str, text: str) -> str:
    """Return the label of a timeframe, one for all the ways to write it; raise ConfigError if it is none."""
    timeframe = read_timeframe(text)
    if timeframe is None:
        raise ConfigError(
            f"`{key}` must be a whole number of m, h, d, wk or mo such as 5m, 1h, 1d, 1wk or 1mo, but got {text!r}"
        )
    return str(timeframe)


def check_dates(prefix: str, start: str | None, end: str | None) -> None:
    """Raise ConfigError unless both are ISO dates, start before end, where they are given."""
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


def check_symbols(key: str, symbols: tuple[str, ...]) -> None:
    """Raise ConfigError if a symbol is empty or named twice."""
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
    source : {"sample", "database", "yahoo", "csv"}
        Bundled figures, bars already in the database, the same after fetching what is missing from Yahoo, or after
        a file of the user's own was imported.
    path : str, optional
        That file, a folder or a pattern.
    symbols : tuple of str
        The first is traded, or with universe=each all are; a file with a line a symbol may stand for them. Without a
        universe the others are joined to it by the end of each bar. It may be empty with a file: then its
        one symbol is traded.
    others : tuple of str
        Symbols whose whole bars are joined to the traded ones in the same way, for strategies that look at them.
    volatility_symbol : str, optional
        Volatility index joined to the traded bars.
    timeframe : str
        Length of a bar; with a file "auto" is what it says itself.
    start, end : str, optional
        ISO dates, UTC; the first scored bar is not before `start`, the last not after `end`, which is a whole day.
    max_staleness : str
        Age beyond which a joined value is unknown ("7d", "36h").
    adjust : {"total", "split"}
        Whether prices count dividends as earned, or are adjusted for splits alone.
    periods_per_year : float, optional
        Bars in a year [1]; None counts them.
    """

    source: Source = "sample"
    path: str | None = None
    symbols: tuple[str, ...] = ("SAMPLE_SP500",)
    others: tuple[str, ...] = ()
    volatility_symbol: str | None = None
    timeframe: str = "1d"
    start: str | None = None
    end: str | None = None
    max_staleness: str = "7d"
    adjust: Literal["total", "split"] = "total"
    periods_per_year: float | None = None

    def __post_init__(self) -> None:
        if (self.source == "csv") != (self.path is not None):
            got = f"data={self.source} and data.path={'null' if self.path is None else self.path}"
            raise ConfigError(f"`data.path` must name the file with data=csv, and be null else, but got {got}")
        object.__setattr__(self, "symbols", listed(self.symbols))
        if not self.symbols and self.source != "csv":
            raise ConfigError("`data.symbols` must name at least one symbol, but got []; write data.symbols=[SYMBOL]")
        check_symbols("data.symbols", self.symbols)
        check_symbols("data.others", self.others)
        if self.source != "csv" or self.timeframe != AUTO:
            object.__setattr__(self, "timeframe", check_timeframe("data.timeframe", self.timeframe))
        check_dates("data", self.start, self.end)
        if read_length(self.max_staleness) is None:
            raise ConfigError(
                f"`data.max_staleness` must be a duration such as 7d or 36h, but got {self.max_staleness!r}"
            )
        if self.periods_per_year is not None and not 0 < self.periods_per_year < math.inf:
            raise ConfigError(f"`data.periods_per_year` must be > 0 and finite, but got {self.periods_per_year!r}")

    @property
    def read(self) -> tuple[str, ...]:
        """All symbols that are read, each once: the traded one first."""
        return tuple(dict.fromkeys((*self.symbols, *self.others)))

    @property
    def joined(self) -> tuple[str, ...]:
        """Symbols that are joined to the traded one."""
        return self.read[1:]


@dataclass(frozen=True)
class SearchConfig:
    """How parameters are proposed (`search`).

    Attributes
    ----------
    sampler : str
        One of `SAMPLER_NAMES`.
    generation_size : int, optional
        Trials proposed at once; None is the sampler's own, which grows with what is done for tpe and optuna.
    n_startup_trials : int, optional
        This many random trials precede the first fit of a model; None is the sampler's own.
    population_size : int, optional
        Population of the evolutionary samplers [trials]; None is the sampler's own.
    n_ei_candidates : int, optional
        Candidates that tpe weighs for each proposal; None is the sampler's own.
    multivariate : bool, optional
        Whether tpe models the keys together; None is the sampler's own.
    start : {"defaults", "none"}
        Whether trial 0 is the strategy's own setting, if that lies in the space.
    enqueue : str, optional
        What is tried next: a YAML file with a list of settings, or a study, whose best 20 they are.
    optuna : str, optional
        With search=optuna, a name of `optuna.samplers` or the dotted path of any sampler of that kind.
    options : mapping
        Keyword arguments of that sampler; a mapping with `_target_` stands for an object made in the same way.
    """

    sampler: str = "tpe"
    generation_size: int | None = None
    n_startup_trials: int | None = None
    population_size: int | None = None
    n_ei_candidates: int | None = None
    multivariate: bool | None = None
    start: Literal["defaults", "none"] = "defaults"
    enqueue: str | None = None
    optuna: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("search.sampler", self.sampler, SAMPLER_NAMES)
        for key, value in (("optuna", self.optuna), ("options", self.options or None)):
            if value is not None and self.sampler != "optuna":
                raise ConfigError(f"`search.{key}` must go with search=optuna, but got search={self.sampler}")
        for key in ("n_startup_trials", "population_size", "n_ei_candidates", "multivariate"):
            value = getattr(self, key)
            if value is not None and self.sampler == "optuna":
                raise ConfigError(f"`search.{key}` must be written search.options.{key}={value} with search=optuna")
        at_least("search.generation_size", self.generation_size, 1)
        at_least("search.n_startup_trials", self.n_startup_trials, 1)
        at_least("search.population_size", self.population_size, 2)
        at_least("search.n_ei_candidates", self.n_ei_candidates, 1)

    @property
    def arguments(self) -> dict[str, Any]:
        """What was set for the sampler itself."""
        others = ("sampler", "start", "enqueue", *(() if self.options else ("options",)))
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class ThresholdsConfig:
    """When the verdict says what (`validation.thresholds`).

    Attributes
    ----------
    survive_p, luck_p : float
        p-values of the null sweeps: SURVIVES needs at most the first, above the second it is LIKELY LUCK.
    survive_psr, luck_psr : float
        Probabilistic Sharpe ratios of the hold-out: SURVIVES needs the first, below the second it is LIKELY LUCK.
    survive_holdout_p, luck_holdout_p : float
        The same as the first two for timing on the hold-out.
    """

    survive_p: float = 0.05
    luck_p: float = 0.20
    survive_psr: float = 0.95
    luck_psr: float = 0.5
    survive_holdout_p: float = 0.05
    luck_holdout_p: float = 0.5

    def __post_init__(self) -> None:
        for f in fields(self):
            within(f"validation.thresholds.{f.name}", getattr(self, f.name), 0.0, 1.0)
        pairs = (("survive_p", "luck_p"), ("luck_psr", "survive_psr"), ("survive_holdout_p", "luck_holdout_p"))
        for low, high in pairs:
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
        at_least("validation.walk_forward.train_blocks", self.train_blocks, 2)
        at_least("validation.walk_forward.test_blocks", self.test_blocks, 1)
        at_least("validation.walk_forward.purge", self.purge, 0)
        at_least("validation.walk_forward.embargo", self.embargo, 0)


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
    null_sweeps : int
        Most surrogate markets on which the whole search is run again; 0 runs none.
    null_block : int
        Length of the pieces of the market that stay together on a surrogate [bars].
    null_seconds : float, optional
        Time that null sweeps may take [s]; None is twice the search, at least two minutes.
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
    null_sweeps: int = 99
    null_block: int = 1
    null_seconds: float | None = None
    n_bootstrap: int = 1000
    keep_blocks: int = 100_000
    pbo_blocks: int = 16
    thresholds: ThresholdsConfig = field(default_factory=ThresholdsConfig)
    walk_forward: WalkForwardConfig = field(default_factory=WalkForwardConfig)
    priors: tuple[float, ...] = (0.01, 0.1, 0.5)

    def __post_init__(self) -> None:
        if not 0.0 <= self.holdout < 1.0:
            raise ConfigError(f"`validation.holdout` must be in [0, 1), but got {self.holdout!r}")
        at_least("validation.null_sweeps", self.null_sweeps, 0)
        at_least("validation.null_block", self.null_block, 1)
        at_least("validation.null_seconds", self.null_seconds, 0)
        at_least("validation.n_bootstrap", self.n_bootstrap, 10)
        at_least("validation.keep_blocks", self.keep_blocks, 2)
        if self.pbo_blocks < 2 or self.pbo_blocks % 2 or self.pbo_blocks > 24:
            raise ConfigError(f"`validation.pbo_blocks` must be an even number in [2, 24], but got {self.pbo_blocks!r}")
        for prior in self.priors:
            if not 0.0 < prior < 1.0:
                raise ConfigError(f"`validation.priors` must be in (0, 1), but got {prior!r}")


@dataclass(frozen=True)
class OptunaConfig:
    """The copy of a study in Optuna's tables (`optuna`): all trials up to `mirror_limit`, then the best and some."""

    mirror_limit: int = 10_000

    def __post_init__(self) -> None:
        at_least("optuna.mirror_limit", self.mirror_limit, 0)
