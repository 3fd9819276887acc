import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note
from sqlalchemy import text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.errors import StudyError
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.optuna.follower import Allowance, OptunaFollower
from alphapulse.study.optuna.mirror import describe_study, follow, mirror, mirror_all, start_following
from alphapulse.study.optuna.tables import ensure_optuna_tables
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


def plan(name, objectives=("sharpe_ratio",), directions=("maximize",)):
    return StudyPlan(name, {}, SPACE, 0, objectives, directions, "f", BARS, "1", {}, 0)


def fill(store: Store, n_generations: int, *, first: int = 0, k: int = 100, directions=("maximize",)) -> Study:
    objectives = ("sharpe_ratio", "max_drawdown")[: len(directions)]
    study = store.open_study(plan("mirrored", objectives, directions))
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


def test_mirror_says_what_breaks_a_condition(store, database):
    study = store.open_study(replace(plan("conditions"), config={"feasible": ["n_trades > 3", "alpha > 0"]}))
    metrics = np.linspace(0, 1, 5)[:, None] * np.ones(len(METRICS))
    trials = Trials(
        np.tile([20.0, 2.0, 1e-3, 0.0], (5, 1)), metrics[:, :1], metrics, np.zeros(5, np.int8), np.ones(5),
        violations=np.array([[-1.0, -0.5], [-2.0, 0.0], [0.25, -1.0], [np.nan, -np.inf], [3.0, 4.0]]),
    )  # fmt: skip
    nothing = BlockMoments(np.empty(0, dtype=np.int64), np.empty((0, 120)), np.empty((0, 120)))
    store.append(study, Generation(0, 0, trials, nothing, b""))
    store.finish(study, "COMPLETE")
    for limit in (100, 2):
        mirror(database, study.id, limit=limit)
        loaded = optuna.load_study(study_name="conditions", storage=database.optuna_url)
        constraints = {trial.number: trial.system_attrs["constraints"] for trial in loaded.trials}
        assert loaded.best_trial.number == 1
        if limit == 100:
            assert constraints == {
                0: [-1.0, -0.5], 1: [-2.0, 0.0], 2: [0.25, -1.0], 3: [1e300, -1e300], 4: [3.0, 4.0],
            }  # fmt: skip
        # The best half of the limit is of those that break nothing.
        assert 1 in constraints


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


def test_mirror_takes_out_no_trial_of_another_study(store, database):
    ensure_optuna_tables(database)
    other = optuna.create_study(study_name="other", storage=database.optuna_url)
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    mirror(database, fill(store, 1).id, limit=2)
    assert len(optuna.load_study(study_name="other", storage=database.optuna_url).trials) == 3


def test_trial_can_be_added_through_optuna(store, database):
    mirror(database, fill(store, 1).id)
    loaded = optuna.load_study(study_name="mirrored", storage=RDBStorage(database.optuna_url))
    loaded.enqueue_trial({"strategy.ma_window": 40})
    loaded.optimize(
        lambda trial: sum(
            [
                trial.suggest_int("strategy.ma_window", 10, 250),
                trial.suggest_float("engine.stop.multiplier", 1.0, 5.0, step=0.5),
                trial.suggest_float("engine.slippage", 1e-5, 1e-2, log=True),
                len(trial.suggest_categorical("engine.execution", ("next_open", "next_close"))),
            ]
        ),
        n_trials=2,
    )
    added = loaded.trials[-2:]
    assert [(trial.number, trial.state) for trial in added] == [(100, TrialState.COMPLETE), (101, TrialState.COMPLETE)]
    assert added[0].params["strategy.ma_window"] == 40
    assert loaded.best_trial.number >= 100


def following(database, study, **options):
    with database.sync_engine.begin() as connection:
        return start_following(connection, study.id, options.get("limit", 10_000), {"data": "A 1d"})


def step(database, study, followed, limit=10_000, n_trials=1000):
    with database.sync_engine.begin() as connection:
        return follow(connection, study.id, limit, followed, n_trials)


def test_follow_adds_what_is_committed(store, database):
    ensure_optuna_tables(database)
    study = fill(store, 2)
    followed = step(database, study, following(database, study))
    assert followed.next_number == 200
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert [trial.number for trial in loaded.trials] == list(range(200))
    assert {trial.state for trial in loaded.trials} == {TrialState.COMPLETE, TrialState.FAIL}
    assert [trial.user_attrs["generation"] for trial in loaded.trials] == [0] * 100 + [1] * 100
    assert loaded.user_attrs["alphapulse:n_trials"] == 200
    fill(store, 1, first=2)
    assert step(database, study, followed).next_number == 300
    # A resumed study goes on where the tables are.
    assert following(database, study).next_number == 300
    assert step(database, study, following(database, study)).next_number == 300
    assert len(optuna.load_study(study_name="mirrored", storage=database.optuna_url).trials) == 300


def test_follow_leaves_no_gap_up_to_the_limit_and_then_adds_what_is_better(store, database):
    ensure_optuna_tables(database)
    study = fill(store, 2)

    def numbers():
        return [t.number for t in optuna.load_study(study_name="mirrored", storage=database.optuna_url).trials]

    followed = following(database, study, limit=50)
    for n_there in (30, 50):
        followed = step(database, study, followed, limit=50, n_trials=30)
        assert numbers()[:n_there] == list(range(n_there))
        # Killed in between, it goes on where it was, though there are more trials than the limit by now.
        if n_there < 50:
            assert numbers() == list(range(30))
            assert following(database, study, limit=50).next_number == 30
    beyond = max((t for t in store.best(study, 200) if t["number"] >= 50), key=lambda t: t["values"][0])
    assert numbers()[50:] == [beyond["number"]]
    assert step(database, study, followed, limit=50) == followed
    # What was chosen among all stays, and what is better comes in.
    mirror(database, study.id, limit=50)
    chosen = numbers()
    assert following(database, study, limit=50).next_number == 50
    step(database, study, following(database, study, limit=50), limit=50)
    assert set(numbers()) == {*chosen, beyond["number"]}


def test_allowance_is_kept_whatever_a_trial_costs():
    for cost in (0.1, 0.01, 1e-5):
        allowance, now, n_trials, longest = Allowance(), 0.0, 0, 0.0
        allowance.take(0.2, 0)
        while now < 300.0:
            now += 3.0
            n = allowance.n_trials(now)
            if n >= 1:
                seconds = 0.02 + cost * n
                allowance.take(seconds, n)
                now, n_trials, longest = now + seconds, n_trials + n, max(longest, seconds)
            if now > 30.0:
                assert allowance.spent < 0.03 * now
        assert longest < 1.0
        assert n_trials > 20 if cost == 0.1 else n_trials > 300


def is_there(database, number):
    with database.sync_engine.connect() as connection:
        found = connection.scalar(text("SELECT to_regclass('optuna.trials')"))
        return found and connection.scalar(text("SELECT count(*) FROM optuna.trials WHERE number = :n"), {"n": number})


def test_follower_runs_beside_a_study(store, database, monkeypatch):
    monkeypatch.setattr("alphapulse.study.optuna.follower.SECONDS_BETWEEN", 0.02)
    # However long Optuna's import takes on a busy machine.
    monkeypatch.setattr("alphapulse.study.optuna.follower.SHORTEST_SEARCH", 1e6)
    study = fill(store, 1)
    with OptunaFollower(database, study.id, limit=10_000, facts={"data": "A 1d"}) as follower:
        deadline = time.monotonic() + 30
        while not is_there(database, 99) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert follower.seconds > 0.0
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert len(loaded.trials) == 100
    assert loaded.user_attrs["alphapulse:data"] == "A 1d"


def test_follower_ends_where_another_study_has_the_name(store, database, monkeypatch):
    monkeypatch.setattr("alphapulse.study.optuna.follower.SHORTEST_SEARCH", 1e6)
    monkeypatch.setattr("alphapulse.study.optuna.follower.SECONDS_BETWEEN", 0.0)
    ensure_optuna_tables(database)
    optuna.create_study(study_name="mirrored", storage=database.optuna_url)
    study = fill(store, 1)
    with OptunaFollower(database, study.id, limit=10, facts={}) as follower:
        follower._thread.join(timeout=30)
        assert not follower._thread.is_alive()
    assert optuna.load_study(study_name="mirrored", storage=database.optuna_url).trials == []


def test_note_says_what_came_out(store, database):
    study = fill(store, 1)
    mirror(database, study.id, status="RUNNING", facts={"data": "A 1d", "run directory": "/runs/1"})
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert get_note(loaded).splitlines() == [
        "- Status: RUNNING, to have 0 trials",
        "- Shown: all 100 trials",
        "- Data: A 1d",
        "- Run directory: `/runs/1`",
    ]
    chosen = {"sharpe_ratio": 0.51234, "cagr": None, "max_drawdown": -0.25, "n_trades": 1234}
    store.save_verdict(
        study,
        {"word": "LIKELY LUCK", "sentence": "So it is.", "n_trials": 100, "chosen": 7, "chosen_holdout": chosen,
         "benchmark_holdout": chosen, "data": "A 1d, 99 bars"},
    )  # fmt: skip
    describe_study(database, study.id, facts={"tear sheet": "/runs/1/tear_sheet.html"})
    said = get_note(loaded)
    assert said.startswith("## LIKELY LUCK\n\nSo it is.\n\n| hold-out | trial 7 | buy & hold |\n")
    assert "| sharpe_ratio | 0.5123 | 0.5123 |\n| cagr | - | - |\n" in said
    assert "- Status: COMPLETE" in said
    assert said.endswith("- Tear sheet: `/runs/1/tear_sheet.html`\n- Run directory: `/runs/1`")
    assert loaded.user_attrs["alphapulse:verdict"] == "LIKELY LUCK"
    assert loaded.user_attrs["alphapulse:tear_sheet"] == "/runs/1/tear_sheet.html"
    # With more trials the verdict is out of date.
    fill(store, 1, first=1)
    mirror(database, study.id)
    assert get_note(loaded).startswith("- Status")


def test_note_of_a_user_stays(store, database):
    study = fill(store, 1)
    mirror(database, study.id)
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    save_note(loaded, "mine")
    mirror(database, study.id, facts={"data": "other"})
    assert get_note(loaded) == "mine"


def test_long_note_is_cut_and_grows_shorter_again(store, database):
    study = fill(store, 1)
    mirror(database, study.id, facts={"data": "é" * 5_000})
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert "é" * 5_000 in get_note(loaded)
    describe_study(database, study.id, facts={"data": "short"})
    assert get_note(loaded).endswith("- Data: short")


def test_mirror_all_ends_what_was_killed_and_leaves_what_runs(store, database):
    study = fill(store, 1)
    database.fetch("UPDATE sweep SET status = 'RUNNING'")
    running = store.open_study(replace(plan("mirrored"), name="running"))
    mirror_all(database)
    loaded = optuna.load_study(study_name="mirrored", storage=database.optuna_url)
    assert len(loaded.trials) == 100
    assert loaded.user_attrs["alphapulse:status"] == "INTERRUPTED"
    assert store.find_study("mirrored").status == "INTERRUPTED"
    assert store.find_study("running").status == "RUNNING"
    store.finish(running, "COMPLETE")
    database.fetch('UPDATE sweep SET config = \'{"optuna": {"mirror_limit": 0}}\', n_done = 50')
    mirror_all(database)
    assert optuna.study.get_all_study_names(database.optuna_url) == ["mirrored"]
    assert study.id


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
