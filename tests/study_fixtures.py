"""Small studies, and what they leave in the database."""

import io
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.commands import sweep
from alphapulse.config.groups import DataConfig, OptunaConfig, SearchConfig, ValidationConfig, WalkForwardConfig
from alphapulse.config.schema import SweepConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.sweep.worker import BatchResult, evaluate_batch
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.tasks import Tasks

SPACE = SearchSpace(
    (
        IntDimension("strategy.ma_window", 10, 60),
        FloatDimension("strategy.reversion_weight", 0.0, 1.0),
        FloatDimension("engine.stop.multiplier", 1.0, 5.0),
    )
)


@pytest.fixture
def small_study() -> Callable[..., SweepConfig]:
    """Return a maker of configurations: five years of the sample, without gate, as many null sweeps as are asked for.

    Fields of SweepConfig by keyword.
    """

    def make(null_sweeps: int = 0, **changes: Any) -> SweepConfig:
        config = SweepConfig(
            study="small",
            n_trials=150,
            quiet=True,
            data=DataConfig(start="2005-01-01", end="2010-01-01"),
            strategy={"_target_": "long_short", "volatility_source": "realized"},
            search=SearchConfig(sampler="random", generation_size=40),
            validation=ValidationConfig(
                lookahead="off",
                null_sweeps=null_sweeps,
                n_bootstrap=50,
                walk_forward=WalkForwardConfig(train_blocks=20, test_blocks=5),
                pbo_blocks=8,
            ),
            optuna=OptunaConfig(mirror_limit=0),
            space=SPACE,
        )
        return replace(config, **changes)

    return make


def _evaluate(market: Any, experiment: Any, parameters: Any, keep: Any, threshold: float) -> BatchResult:
    return evaluate_batch(market, experiment, parameters, keep=keep, threshold=threshold)


class InProcess(Tasks):
    """Workers without Ray: every batch runs where it is submitted."""

    dashboard = ""

    def __init__(self, n_cpus: int = 1) -> None:
        super().__init__()
        self.n_cpus = n_cpus
        self.sizes: list[int] = []

    def wait_until_started(self) -> None:
        pass

    def ship(self, market: Any, experiment: Any) -> None:
        self.market, self.experiment = market, experiment

    def put(self, market: Any, experiment: Any) -> Any:
        return market, experiment

    def start(self, shipment: Any, work: Any, *arguments: Any, **scheduling: Any) -> Any:
        result = [work(*shipment, *arguments)]
        self.results = {**getattr(self, "results", {}), id(result): result}
        return id(result)

    def cancel(self, name: str) -> None:
        pass

    def submit(self, parameters: Any, keep: Any, threshold: float, limits: Any, name: str = "") -> Any:
        self.sizes.append(len(parameters))
        return self.begin(_evaluate, parameters, keep, threshold)

    def begin(self, work: Any, *arguments: Any, name: str = "") -> Any:
        return self.start((self.market, self.experiment), work, *arguments)

    def wait(self, references: list[Any], timeout: float) -> list[Any]:
        return references[-1:]

    def result(self, reference: Any) -> Any:
        return self.results.pop(reference)[0]

    def close_early(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Database) -> Callable[..., Any]:
    """Return a runner of studies, on Ray unless workers are given; few orders of a hold-out."""
    monkeypatch.setattr(import_module("alphapulse.validation.null_sweeps"), "FEWEST_HOLDOUT_SURROGATES", 19)

    def run_study(config: SweepConfig, workers: Any = None) -> Any:
        return sweep.run_study(lambda: workers or Cluster(), config, Console(file=io.StringIO()), tmp_path)

    return run_study


@pytest.fixture
def in_process() -> type[InProcess]:
    """Return the class of workers without Ray."""
    return InProcess


def stored_table(database: Database, name: str) -> dict[str, list[Any]]:
    """Return everything of a study that must not depend on how it was run, floats as their bits."""
    query = (
        "SELECT number, generation, trial.state, params, value, violation, ruined, error, "
        f"{', '.join(METRICS)} FROM trial JOIN sweep ON id = sweep_id WHERE name = :name ORDER BY number"
    )
    blocks = (
        "SELECT number, sums, squares FROM trial_blocks JOIN sweep ON id = sweep_id WHERE name = :name ORDER BY number"
    )
    with database.sync_engine.connect() as connection:
        rows = connection.execute(text(query), {"name": name}).all()
        kept = connection.execute(text(blocks), {"name": name}).all()
        state = connection.scalar(text("SELECT state FROM sweep WHERE name = :name"), {"name": name})
    return {
        "trials": [_bits(row) for row in rows],
        "blocks": [tuple(map(_bits, row)) for row in kept],
        "state": _state(state),
    }


def _state(state: bytes | None) -> Any:
    if state is None:
        return None
    with np.load(io.BytesIO(bytes(state))) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files if name not in ("seconds", "proposing")}


def _bits(value: Any) -> Any:
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, list | tuple) or hasattr(value, "_mapping"):
        return tuple(_bits(item) for item in value)
    return value


@pytest.fixture
def table(database: Database) -> Callable[[str], dict[str, list[Any]]]:
    """Return a reader of what a study has stored."""
    return lambda name: stored_table(database, name)
