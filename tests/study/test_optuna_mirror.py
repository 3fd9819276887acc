from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.errors import StudyError
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.optuna_mirror import mirror
from alphapulse.study.records import Generation, Study, StudyBars, StudyPlan
from alphapulse.study.store import Store
from alphapulse.study.trials import BlockMoments, Trials

pytestmark = pytest.mark.postgres

SPACE = SearchSpace(
    (
        IntDimension("strategy.ma_window", 10, 250),
        FloatDimension("engine.stop.multiplier", 1.0, 5.0, step=0.5),
        FloatDimension("engine.slippage", 1e-5, 1e-2, log=True),
        CategoricalDimension("engine.execution", ("next_open", "next_close")),
    )
)

BARS = StudyBars(("A",), "1d", datetime(2000, 1, 1, tzinfo=UTC), datetime(2010, 1, 1, tzinfo=UTC))


def fill(store: Store, n_generations: int, *, first: int = 0, k: int = 100, directions=("maximize",)) -> Study:
    objectives = ("sharpe_ratio", "max_drawdown")[: len(directions)]
    study = store.open_study(StudyPlan("mirrored", {}, SPACE, 0, objectives, directions, "f", BARS, "1", {}, 0))
    for number in range(first, first + n_generations):
        rng = np.random.default_rng(number)
        metrics = rng.normal(size=(k, len(METRICS)))
        metrics[3] = np.nan
        metrics[5, METRICS.index("alpha")] = np.nan
        columns = [METRICS.index(name) for name in study.objectives]
        parameters = np.column_stack(
            [
                rng.integers(10, 251, k),
                1.0 + 0.5 * rng.integers(0, 9, k),
                rng.uniform(1e-5, 1e-2, k),
                rng.integers(0, 2, k),
            ]
        )
        status, seconds = np.zeros(k, dtype=np.int8), np.full(k, 0.5)
        generation = Generation(
            number=number,
            first_trial=number * k,
            trials=Trials(parameters, metrics[:, columns].copy(), metrics, status, seconds, {3: 'no "value"'}),
            blocks=BlockMoments(np.empty(0, dtype=np.int64), np.empty((0, 120)), np.empty((0, 120))),
            state=b"",
        )
        store.append(study, generation)
    store.finish(study, "COMPLETE")
    return study


@pytest.fixture
def store(database):
    store = Store(database)
    yield store
    store.close()


def test_mirror_reads_back_with_optuna(store, database):
    study = fill(store, 2)
    assert mirror(database, study.id).n_mirrored == 200
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert loaded.metric_names == ["sharpe_ratio"]
    assert loaded.direction == optuna.study.StudyDirection.MAXIMIZE
    assert loaded.best_trial.number == store.best(study, 1)[0]["number"]
    assert [trial.number for trial in loaded.trials] == list(range(200))
    for trial in loaded.trials:
        record = store.trial(study, trial.number)
        assert trial.params == record["params"]
        assert trial.distributions == SPACE.distributions()
        assert trial.user_attrs.get("error") == record["error"]
        defined = {name: value for name, value in record["metrics"].items() if not np.isnan(value)}
        assert {name: value for name, value in trial.user_attrs.items() if name in METRICS} == defined
        if record["state"] == "COMPLETE":
            assert (trial.state, trial.values) == (TrialState.COMPLETE, record["values"])
        else:
            assert (trial.state, trial.values) == (TrialState.FAIL, None)
        assert trial.duration.total_seconds() == 0.5


def test_mirror_takes_several_objectives(store, database):
    study = fill(store, 1, directions=("maximize", "minimize"))
    mirror(database, study.id)
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert [d.name for d in loaded.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert loaded.trials[7].values == store.trial(study, 7)["values"]
    assert loaded.best_trials


def test_mirror_adds_what_is_new_and_nothing_twice(store, database):
    study = fill(store, 1)
    mirror(database, study.id)
    mirror(database, study.id)
    fill(store, 1, first=1)
    mirror(database, study.id)
    with database.sync_engine.connect() as connection:
        counts = [
            connection.scalar(text(f"SELECT count(*) FROM optuna.{table}"))
            for table in ("studies", "trials", "trial_params", "trial_values")
        ]
    assert counts == [1, 200, 800, 198]


def test_mirror_beyond_the_limit_takes_the_best_and_a_sample(store, database):
    study = fill(store, 2)
    result = mirror(database, study.id, limit=40)
    assert (result.n_mirrored, result.n_trials) == (40, 200)
    fill(store, 3, first=2)
    mirror(database, study.id, limit=40)
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    numbers = {trial.number for trial in loaded.trials}
    assert len(loaded.trials) == len(numbers) == 40
    assert {trial["number"] for trial in store.best(study, 20)} <= numbers
    assert max(numbers) > 200
    assert loaded.user_attrs["alphapulse:mirror"] == (
        "40 of 500 trials: the best 20 and a random sample of 20; table `trial` has all"
    )
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM optuna.trial_params")) == 160


def test_mirror_takes_out_what_others_attached_to_a_trial(store, database):
    study = fill(store, 2)
    mirror(database, study.id, limit=40)
    with database.sync_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO optuna.trial_system_attributes (trial_id, key, value_json) "
                "SELECT trial_id, 'artifacts:1', '{}' FROM optuna.trials"
            )
        )
    mirror(database, study.id, limit=2)
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM optuna.trial_system_attributes")) == 2


def test_mirror_needs_no_superuser(store, database):
    study = fill(store, 1)
    mirror(database, study.id, limit=1)
    role = f"plain_{database.name}"
    with database.sync_engine.begin() as connection:
        connection.execute(text(f'CREATE ROLE "{role}" LOGIN'))
        for schema in ("public", "optuna"):
            for kind in ("TABLES", "SEQUENCES"):
                connection.execute(text(f'GRANT ALL ON ALL {kind} IN SCHEMA {schema} TO "{role}"'))
            connection.execute(text(f'GRANT USAGE ON SCHEMA {schema} TO "{role}"'))
    plain = replace(database, user=role)
    try:
        assert mirror(plain, study.id).n_mirrored == 100
    finally:
        plain.close()
        with database.sync_engine.begin() as connection:
            connection.execute(text(f'DROP OWNED BY "{role}"'))
            connection.execute(text(f'DROP ROLE "{role}"'))
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert [trial.params for trial in loaded.trials] == [store.trial(study, n)["params"] for n in range(100)]


def test_mirror_checks_foreign_keys_again_afterwards(store, database):
    """The connection goes back to a pool."""
    mirror(database, fill(store, 1).id)
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SHOW session_replication_role")) == "origin"


def test_mirror_leaves_another_study_of_the_name_alone(store, database):
    study = fill(store, 1)
    mirror(database, study.id, limit=1)
    optuna.delete_study(study_name="mirrored", storage=database.optuna_url)
    optuna.create_study(study_name="mirrored", storage=database.optuna_url)
    with pytest.raises(StudyError, match="another study named 'mirrored'"):
        mirror(database, study.id)
    assert mirror(database, study.id, limit=0).n_mirrored == 0
