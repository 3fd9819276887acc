"""The configuration of commands on studies that are stored: frozen, checked, the one home of every default."""

from dataclasses import dataclass, field
from typing import Literal

from alphapulse.config.groups import Output, at_least, within
from alphapulse.config.machines.cluster import ClusterConfig
from alphapulse.config.machines.database import DatabaseConfig
from alphapulse.errors import ConfigError


@dataclass(frozen=True)
class ReplayConfig:
    """A stored trial to run again: a number, best, chosen or robust; `quiet` leaves the warnings about its bars out."""

    study: str | None = None
    trial: str | None = None
    output: Output = "table"
    quiet: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.study is None or self.trial is None:
            raise ConfigError("`study` and `trial` must be given; write study=NAME trial=NUMBER")


@dataclass(frozen=True)
class ReportConfig:
    """A stored sweep to report on; `quiet` leaves the warnings that were stored with it out."""

    study: str | None = None
    output: Output = "table"
    quiet: bool = False
    details: bool = False
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.study is None:
            raise ConfigError("`study` must be given; write study=NAME")


@dataclass(frozen=True)
class NullSweepsConfig:
    """The null sweeps of a stored study (`validation`).

    Attributes
    ----------
    null_sweeps : int, optional
        Most surrogate markets on which the whole search is run again; None is what the study has.
    null_seconds : float, optional
        Time that they may take [s]; None is what the study has.
    """

    null_sweeps: int | None = None
    null_seconds: float | None = None

    def __post_init__(self) -> None:
        at_least("validation.null_sweeps", self.null_sweeps, 1)
        at_least("validation.null_seconds", self.null_seconds, 0)


@dataclass(frozen=True)
class WeighConfig:
    """A stored study to weigh."""

    study: str | None = None
    output: Output = "table"
    quiet: bool = False
    details: bool = False
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    db: DatabaseConfig = field(default_factory=DatabaseConfig)
    validation: NullSweepsConfig = field(default_factory=NullSweepsConfig)

    def __post_init__(self) -> None:
        if self.study is None:
            raise ConfigError("`study` must be given; write study=NAME")


@dataclass(frozen=True)
class TrialsConfig:
    """The trials of a stored study to show.

    Attributes
    ----------
    top : int, optional
        Number of the best ones that are shown; None is 20 in a table or JSON and all in a file.
    where : str, optional
        A condition on their columns that they meet.
    symbol : str, optional
        Of a study of a universe, the symbol whose metrics are shown; None is the portfolio.
    file : str, optional
        Where CSV or Parquet goes; None is stdout for CSV, and STUDY.parquet.
    """

    study: str | None = None
    top: int | None = None
    where: str | None = None
    symbol: str | None = None
    format: Literal["table", "csv", "parquet", "json"] = "table"
    file: str | None = None
    output: Output = "table"
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.study is None:
            raise ConfigError("`study` must be given; write study=NAME")
        at_least("top", self.top, 1)
        if self.file is not None and self.format not in ("csv", "parquet"):
            raise ConfigError(f"`file` must go with format=csv or format=parquet, but got format={self.format}")


@dataclass(frozen=True)
class StudiesConfig:
    """What to do with what is stored.

    Attributes
    ----------
    action : {"list", "ledger", "compare", "delete", "rename"}
    study : str, optional
        The study to delete or rename.
    to : str, optional
        Its new name.
    compare : tuple of str
        Studies to show side by side; naming two or more is the action.
    """

    action: Literal["list", "ledger", "compare", "delete", "rename"] = "list"
    study: str | None = None
    to: str | None = None
    compare: tuple[str, ...] = ()
    output: Output = "table"
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        if self.compare and self.action == "list":
            object.__setattr__(self, "action", "compare")
        if self.action == "compare" and len(self.compare) < 2:
            raise ConfigError(f"`compare` must name two studies or more, but got {list(self.compare)}; compare=[A,B]")
        if self.action == "delete" and (self.study is None or self.to is not None):
            raise ConfigError("a study must be named: `python -m alphapulse.studies delete NAME`")
        if self.action == "rename" and (self.study is None or self.to is None):
            raise ConfigError("two names must be given: `python -m alphapulse.studies rename NAME NEW_NAME`")


@dataclass(frozen=True)
class DashboardConfig:
    """Where optuna-dashboard is served."""

    host: str = "127.0.0.1"
    port: int = 8080
    db: DatabaseConfig = field(default_factory=DatabaseConfig)

    def __post_init__(self) -> None:
        within("port", self.port, 0, 65535)
