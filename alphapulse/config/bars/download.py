"""The configuration of what brings bars in and looks at them: download and data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from alphapulse.config.found import PROVIDER_NAMES
from alphapulse.config.groups import (
    Output,
    at_least,
    check_dates,
    check_symbols,
    check_timeframe,
    one_of,
)
from alphapulse.config.machines.database import DatabaseConfig
from alphapulse.errors import ConfigError, did_you_mean

COLUMN_ROLES = ("timestamp", "date", "time", "symbol", "timeframe", "open", "high", "low", "close", "volume")


def check_timezone(key: str, name: str) -> None:
    """Raise ConfigError unless there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        hint = did_you_mean(name, sorted(available_timezones()))
        raise ConfigError(
            f"`{key}` must be a time zone such as America/New_York or UTC, but got {name!r}{hint}"
        ) from None


def check_columns(key: str, columns: Mapping[str, Any] | Sequence[str] | None) -> None:
    """Raise ConfigError unless the columns of a file are said by roles that bars have."""
    roles = COLUMN_ROLES if isinstance(columns, Mapping) else (*COLUMN_ROLES, "_")
    for role in columns or ():
        if role not in roles:
            hint = did_you_mean(role, roles) or f"; they are {', '.join(roles)}"
            raise ConfigError(f"`{key}` must say which column is what, but got {role!r}{hint}")


@dataclass(frozen=True)
class ProviderConfig:
    """Where bars come from (`provider`).

    Attributes
    ----------
    name : str
        One of `PROVIDER_NAMES`.
    path : str, optional
        The file, folder or pattern of a provider that reads one; which do says `data_pipeline.manager.make_provider`.
    timezone : str, optional
        Zone of the times in a file that say none ("America/New_York").
    columns : mapping of str to str, or tuple of str, optional
        Names of a file's columns by what they are, or what the columns are in their order, "_" for none.
    day_first : bool, optional
        Whether 01/02/2024 is 1 February; None finds out.
    wait : float
        How long a request that Yahoo refuses is made again [s]; a network that is down is tried for some 15 s of it.
    requests_per_minute : float
        Requests to Yahoo.
    workers : int
        Symbols that Yahoo is asked for at once.
    """

    name: str = "yfinance"
    path: str | None = None
    timezone: str | None = None
    columns: Mapping[str, Any] | tuple[str, ...] | None = None
    day_first: bool | None = None
    wait: float = 300.0
    requests_per_minute: float = 120.0
    workers: int = 4

    def __post_init__(self) -> None:
        one_of("provider.name", self.name, PROVIDER_NAMES)
        at_least("provider.wait", self.wait, 0)
        check_columns("provider.columns", self.columns)
        if self.timezone is not None:
            check_timezone("provider.timezone", self.timezone)
        at_least("provider.requests_per_minute", self.requests_per_minute, 1)
        at_least("provider.workers", self.workers, 1)


@dataclass(frozen=True)
class DownloadDataConfig:
    """Which bars to download (`data`).

    Attributes
    ----------
    symbols : tuple of str
        An empty tuple stands for the provider's own: both samples, ^GSPC and ^VIX, or all in the file.
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
        check_symbols("data.symbols", self.symbols)
        if self.timeframe is not None:
            object.__setattr__(self, "timeframe", check_timeframe("data.timeframe", self.timeframe))
        check_dates("data", self.start, self.end)


Policy = Literal["warn", "quarantine", "refuse"]


@dataclass(frozen=True)
class QualityConfig:
    """What becomes of prices that cannot be right when they come in (`quality`).

    Each is "warn" (stored and said), "quarantine" (held back, see `data rejected`) or "refuse" (the series fails).

    Attributes
    ----------
    nonsense : str
        Of a price that nothing has had, or that is hundreds of times its neighbours'.
    spikes : str
        Of bars out of line with those before and after them.
    wicks : str
        Of an open, high or low that is far from all others, while the close is not.
    jumps : str
        Of a jump to another level that stays, as after a split; held back are all bars from there on.
    """

    nonsense: Policy = "quarantine"
    spikes: Policy = "quarantine"
    wicks: Policy = "warn"
    jumps: Policy = "warn"


@dataclass(frozen=True)
class DownloadConfig:
    """Bars to bring into the database; `replace` writes over what another source gave."""

    provider: ProviderConfig = field(default_factory=ProviderConfig)
    data: DownloadDataConfig = field(default_factory=DownloadDataConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    replace: bool = False
    output: Output = "table"
    quiet: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)


@dataclass(frozen=True)
class DataCommandConfig:
    """What to do with the bars that are stored, and with which of them.

    `do` is what becomes of the rows that are held back, and `ids` their numbers; none are all that are shown. `path` is
    the file or folder that bars are written to.
    """

    action: Literal["list", "check", "gaps", "export", "rejected"] | None = None
    path: str | None = None
    do: Literal["release", "drop"] | None = None
    ids: tuple[int, ...] = ()
    data: DownloadDataConfig = field(default_factory=DownloadDataConfig)
    output: Output = "table"
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.action is None:
            raise ConfigError(
                "an action must be given: `python -m alphapulse.data list`, check, gaps, export or rejected"
            )
        if self.action != "rejected" and (self.do is not None or self.ids):
            raise ConfigError(f"`do` and `ids` must go with rejected, but got {self.action}")
        if self.action != "export" and self.path is not None:
            raise ConfigError(f"`path` must go with export, but got {self.action}")
