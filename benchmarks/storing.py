"""Trials into the database: whole generations by COPY, and their copy in Optuna's tables, beside `study.add_trials`."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import optuna
import sqlalchemy

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.search.dimensions import FloatDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.optuna.mirror import mirror
from alphapulse.study.optuna.tables import ensure_optuna_tables
from alphapulse.study.records import Generation, Study, StudyBars, StudyPlan
from alphapulse.study.store import Store
from alphapulse.study.trials import BlockMoments, Trials

SPACE = SearchSpace(tuple(FloatDimension(f"strategy.p{i}", 0.0, 1.0) for i in range(8)))
SIZE = 8192


@dataclass(frozen=True)
class Storing:
    """Rows a second of each way to keep a trial [1/s]."""

    n_stored: int
    stored: float
    n_mirrored: int
    mirrored: float
    add_trials: float


def _open(store: Store, n_trials: int) -> Study:
    return store.open_study(
        StudyPlan(
            name=f"benchmark-{time.time_ns()}",
            config={"strategy": {"_target_": "benchmark"}},
            space=SPACE,
            seed=0,
            objectives=("sharpe_ratio",),
            directions=("maximize",),
            fingerprint="benchmark",
            bars=StudyBars(("BENCHMARK",), "1d", datetime(2000, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)),
            code_version="benchmark",
            packages={},
            n_trials=n_trials,
        )
    )


def _generation(number: int, rng: np.random.Generator) -> Generation:
    metrics = rng.normal(size=(SIZE, len(METRICS)))
    status, seconds = np.zeros(SIZE, dtype=np.int8), np.full(SIZE, 2e-5)
    return Generation(
        number=number,
        first_trial=number * SIZE,
        trials=Trials(rng.random((SIZE, len(SPACE))), metrics[:, :1], metrics, status, seconds),
        blocks=BlockMoments(np.empty(0, dtype=np.int64), np.empty((0, 1)), np.empty((0, 1))),
        state=bytes(8000),
    )


def _add_trials(database: Database, n_trials: int) -> float:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name=f"benchmark-{time.time_ns()}", storage=database.optuna_url)
    distributions, rng = SPACE.distributions(), np.random.default_rng(0)
    trials = [
        optuna.trial.create_trial(
            params={key: float(rng.random()) for key in SPACE.keys},
            distributions=distributions,
            value=0.0,
            user_attrs=dict.fromkeys(METRICS[:10], 0.0),
        )
        for _ in range(n_trials)
    ]
    start = time.perf_counter()
    study.add_trials(trials)
    rate = n_trials / (time.perf_counter() - start)
    optuna.delete_study(study_name=study.study_name, storage=database.optuna_url)
    return rate


def _remove(database: Database, study: Study) -> None:
    with database.sync_engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM trial WHERE sweep_id = :id"), {"id": study.id})
        connection.execute(sqlalchemy.text("DELETE FROM sweep WHERE id = :id"), {"id": study.id})


def run(n_generations: int = 24, n_mirrored: int = 10_000, n_added: int = 60) -> Storing:
    """Store generations of trials that cost nothing to make, mirror them, and remove them."""
    database = open_database()
    store = Store(database)
    n_trials = n_generations * SIZE
    generations = [_generation(number, np.random.default_rng(number)) for number in range(n_generations)]
    study = _open(store, n_trials)
    start = time.perf_counter()
    pending = [store.append(study, generation) for generation in generations]
    pending[-1].result()
    stored = n_trials / (time.perf_counter() - start)
    store.finish(study, "COMPLETE")
    # Once a database.
    ensure_optuna_tables(database)
    start = time.perf_counter()
    mirror(database, study.id, limit=n_mirrored)
    mirrored = n_mirrored / (time.perf_counter() - start)
    optuna.delete_study(study_name=study.name, storage=database.optuna_url)
    _remove(database, study)
    return Storing(n_trials, stored, n_mirrored, mirrored, _add_trials(database, n_added))


def main() -> None:
    result = run()
    print(f"{'COPY of whole generations':<28}{result.n_stored:10,} trials {result.stored:12,.0f} rows/s")
    print(f"{'copy in Optuna tables':<28}{result.n_mirrored:10,} trials {result.mirrored:12,.0f} rows/s")
    print(f"{'study.add_trials':<28}{'':>17} {result.add_trials:12,.0f} rows/s")


if __name__ == "__main__":
    main()
