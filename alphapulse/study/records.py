"""What a study is in the database: its tables, and the records that go in and come out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypedDict

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.tables import metadata
from alphapulse.search.space import Dimension, SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D

Status = Literal["RUNNING", "COMPLETE", "INTERRUPTED"]

sweep_table = Table(
    "sweep",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("name", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("space", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("objectives", ARRAY(Text), nullable=False),
    Column("directions", ARRAY(Text), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("packages", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Column("n_trials", Integer, nullable=False),
    Column("n_done", Integer, nullable=False, server_default="0"),
    Column("state", LargeBinary),
    Column("verdict", JSONB),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("name"),
    CheckConstraint("status IN ('RUNNING', 'COMPLETE', 'INTERRUPTED')", name="status"),
    Index(None, "fingerprint"),
)

trial_table = Table(
    "trial",
    metadata,
    Column("sweep_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("params", ARRAY(Double), nullable=False),
    Column("value", ARRAY(Double)),
    *(Column(name, Double) for name in METRICS),
    Column("ruined", Boolean, nullable=False),
    Column("error", Text),
    Column("seconds", Double, nullable=False),
    Column("completed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("sweep_id", "number"),
    CheckConstraint("state IN ('COMPLETE', 'FAIL')", name="state"),
)

trial_blocks_table = Table(
    "trial_blocks",
    metadata,
    Column("sweep_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    Column("squares", LargeBinary, nullable=False),
    PrimaryKeyConstraint("sweep_id", "number"),
)

holdout_opening_table = Table(
    "holdout_opening",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("sweep_id", BigInteger, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id"),
    Index(None, "fingerprint"),
)


@dataclass(frozen=True)
class Generation:
    """Consecutive trials of one generation, ready to be stored.

    Attributes
    ----------
    number : int
        Of the generation.
    first_trial : int
        Number of the first of these k trials.
    parameters : (k, n_dimensions) float64
        In the order of the search space.
    values : (k, n_objectives) float64
        NaN in any of them makes the trial FAIL.
    metrics : (k, n_metrics) float64
        In the order of METRICS; NaN is undefined.
    status : (k,) int8
        0 ok, 1 ruined, 2 failed.
    errors : mapping of int to str
        Reasons of failed trials by row.
    seconds : (k,) float64 or float
        Time of evaluation [s].
    block_numbers : (n_kept,) int64
        Numbers of the trials whose block moments are kept.
    block_sums, block_squares : (n_kept, n_blocks) float64
        Their moments.
    state : bytes
        State of the study after these trials, for whoever continues it.
    """

    number: int
    first_trial: int
    parameters: Float64Array2D
    values: Float64Array2D
    metrics: Float64Array2D
    status: Int8Array1D
    errors: Mapping[int, str]
    seconds: Float64Array1D | float
    block_numbers: Int64Array1D
    block_sums: Float64Array2D
    block_squares: Float64Array2D
    state: bytes


@dataclass(frozen=True)
class Stored:
    """Consecutive trials read back; the attributes are those of `Generation`."""

    parameters: Float64Array2D
    values: Float64Array2D
    metrics: Float64Array2D
    status: Int8Array1D
    errors: dict[int, str]


@dataclass(frozen=True)
class Study:
    """A row of `sweep` as it was when read.

    Attributes
    ----------
    n_trials, n_done : int
        Trials asked for in total, and stored.
    state : bytes or None
        What the last stored generation left for whoever continues.
    """

    id: int
    name: str
    config: dict[str, Any]
    space: SearchSpace
    seed: int
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    fingerprint: str
    code_version: str
    packages: dict[str, str]
    status: Status
    n_trials: int
    n_done: int
    state: bytes | None = field(repr=False)
    verdict: dict[str, Any] | None = field(repr=False)
    created_at: datetime
    updated_at: datetime


class TrialRecord(TypedDict):
    """One stored trial; `parameters` in the order of the space, `params` as configuration values by name."""

    number: int
    generation: int
    state: Literal["COMPLETE", "FAIL"]
    parameters: Float64Array1D
    params: dict[str, Any]
    values: list[float]
    metrics: dict[str, float]
    ruined: bool
    error: str | None
    seconds: float
    completed_at: datetime


def space_to_json(space: SearchSpace) -> list[dict[str, Any]]:
    """Return the search space as the column `sweep.space` holds it."""
    return [asdict(dimension) for dimension in space.dimensions]


def space_from_json(dimensions: list[dict[str, Any]]) -> SearchSpace:
    """Return the search space of a stored study."""
    return SearchSpace(tuple(Dimension(**{**d, "choices": tuple(d["choices"])}) for d in dimensions))
