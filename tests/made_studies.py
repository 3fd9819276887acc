"""Studies and generations of made-up numbers, for tests of where they are stored."""

from datetime import UTC, datetime

import numpy as np

from alphapulse.backtesting.metrics import METRICS
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.records import Generation, Study, StudyBars, StudyPlan
from alphapulse.study.store import Store
from alphapulse.study.trials import BlockMoments, Trials

SPACE = SearchSpace(
    (
        IntDimension("strategy.ma_window", 10, 250),
        FloatDimension("engine.slippage", 1e-5, 1e-2, log=True),
        CategoricalDimension("engine.execution", ("next_open", "next_close", None, True)),
    )
)
IDENTITY = {
    "config": {"strategy": {"_target_": "x", "rsi_window": 14}, "engine": {"commission": 0.001}, "n_trials": 10},
    "seed": 3,
    "fingerprint": "f" * 64,
    "bars": StudyBars(("A",), "1d", datetime(2000, 1, 1, tzinfo=UTC), datetime(2010, 1, 1, tzinfo=UTC)),
    "code_version": "1",
    "packages": {"numpy": "2"},
    "space": SPACE,
    "objectives": ("sharpe_ratio",),
    "directions": ("maximize",),
    "n_trials": 0,
}


def open_study(store: Store, name: str = "s", **changes) -> Study:
    """Make or continue a study of made-up identity."""
    return store.open_study(StudyPlan(name=name, **(IDENTITY | changes)))


def make_generation(number: int, k: int = 50, n_objectives: int = 1, n_blocks: int = 130, seed: int = 0) -> Generation:
    """Return `k` trials from number `k * number` on, failed and ruined ones among them."""
    rng = np.random.default_rng([seed, number])
    parameters = np.column_stack([rng.integers(10, 251, k), rng.uniform(1e-5, 1e-2, k), rng.integers(0, 4, k)])
    metrics = rng.normal(size=(k, len(METRICS)))
    values = metrics[:, :n_objectives].copy()
    status = np.zeros(k, dtype=np.int8)
    metrics[1, 3] = np.nan
    metrics[2, :3] = values[2, 0] = np.nan
    metrics[3], values[3], status[3] = np.nan, np.nan, 2
    status[4] = 1
    errors = {2: "sharpe_ratio is undefined", 3: "ValueError: bad\0 \N{SNOWMAN}"}
    kept = number * k + np.array([0, 7])
    return Generation(
        number=number,
        first_trial=number * k,
        trials=Trials(parameters.astype(np.float64), values, metrics, status, np.full(k, 0.25), errors),
        blocks=BlockMoments(kept, rng.normal(size=(2, n_blocks)), rng.normal(size=(2, n_blocks))),
        state=f"after {number}".encode(),
    )
