import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_studies import IDENTITY, make_generation, open_study
from sqlalchemy import text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.database import Database
from alphapulse.errors import DatabaseError, StudyError
from alphapulse.reports.trial_frames import TrialFrames
from alphapulse.study.columns import StudyColumns
from alphapulse.study.ledger import read_all
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def test_store_gives_back_every_bit(store, monkeypatch):
    study = open_study(store)
    generations = [make_generation(g) for g in range(3)]
    for generation in generations:
        store.append(study, generation)
    store.finish(study, "COMPLETE")

    columns = StudyColumns(store.database, study)
    history = columns.trials(0, 150)
    for name in ("parameters", "values", "metrics", "status", "seconds"):
        expected = np.concatenate([getattr(g.trials, name) for g in generations])
        np.testing.assert_array_equal(getattr(history, name), expected)
        assert getattr(history, name).dtype == expected.dtype
    assert history.errors[52] == "sharpe_ratio is undefined"
    assert history.errors[53] == "ValueError: bad \N{SNOWMAN}"
    part = columns.trials(50, 60)
    np.testing.assert_array_equal(part.metrics, generations[1].trials.metrics[:10])
    assert sorted(part.errors) == [2, 3]

    # Cut within a generation, and with nothing left for a last piece.
    monkeypatch.setattr("alphapulse.study.columns.TRIALS_A_PIECE", 40)
    monkeypatch.setattr("alphapulse.study.columns.BLOCK_BYTES_A_PIECE", 3 * 130 * 8)
    numbers, sums, squares = (np.concatenate(parts) for parts in zip(*columns.blocks(), strict=True))
    np.testing.assert_array_equal(numbers, np.concatenate([g.blocks.trials for g in generations]))
    np.testing.assert_array_equal(sums, np.concatenate([g.blocks.sums for g in generations]))
    np.testing.assert_array_equal(squares, np.concatenate([g.blocks.squares for g in generations]))

    sharpes = np.where(np.isnan(history.values[:, 0]), np.nan, history.metrics[:, METRICS.index("sharpe_ratio")])
    np.testing.assert_array_equal(np.concatenate(list(columns.sharpes(120))), sharpes[:120])
    some = np.array([3, 52, 149])
    parameters, annual = columns.parameters_and_sharpes(some)
    np.testing.assert_array_equal(parameters, history.parameters[some])
    np.testing.assert_array_equal(annual, sharpes[some])
    with pytest.raises(StudyError, match="lacks 1 of its trials"):
        columns.parameters_and_sharpes(np.array([3, 150]))
    assert (store.n_done(study), store.state(study)) == (150, b"after 2")
    assert store.find_study("s").status == "COMPLETE"


def test_store_marks_states_and_nulls(store, database):
    study = open_study(store)
    store.append(study, make_generation(0))
    store.finish(study, "COMPLETE")
    with database.sync_engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM trial ORDER BY number")).mappings().all()
        named = connection.execute(text("SELECT * FROM trial_named ORDER BY number")).mappings().all()
        params = connection.execute(text("SELECT key, value FROM trial_params WHERE number = 4")).all()
    assert [row["state"] for row in rows[:6]] == ["COMPLETE", "COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert rows[1]["cagr"] is None
    assert rows[1]["value"] is not None
    assert rows[2]["value"] is None
    assert [row["ruined"] for row in rows[:6]] == [False, False, False, False, True, False]
    assert named[4]["params"] == dict(map(tuple, params)) == store.trial(study, 4)["params"]
    assert isinstance(named[4]["params"]["strategy.ma_window"], int)


def test_store_keeps_partly_undefined_objectives(store):
    study = open_study(store, objectives=("sharpe_ratio", "max_drawdown"), directions=("maximize", "maximize"))
    generation = make_generation(0, n_objectives=2)
    store.append(study, generation)
    store.finish(study, "COMPLETE")
    np.testing.assert_array_equal(StudyColumns(store.database, study).trials(0, 50).values, generation.trials.values)


def test_store_best_trial_and_failures(store):
    study = open_study(store)
    generation = make_generation(0)
    store.append(study, generation)
    store.finish(study, "COMPLETE")
    best = store.best(study, 3)
    order = np.argsort(-np.where(np.isnan(generation.trials.values[:, 0]), -np.inf, generation.trials.values[:, 0]))
    assert [trial["number"] for trial in best] == order[:3].tolist()
    assert best[0]["values"] == [generation.trials.values[order[0], 0]]
    assert best[0]["metrics"]["beta"] == generation.trials.metrics[order[0], METRICS.index("beta")]
    assert list(store.failures(study).values()) == [1, 1]
    with pytest.raises(StudyError, match=r"'s' has no trial 50; its 50 trials count from 0"):
        store.trial(study, 50)


def test_trials_that_break_a_condition_are_never_the_best(store, database):
    study = open_study(store, config={"feasible": ["n_trades >= 30", "max_drawdown >= -0.25"]})
    rng = np.random.default_rng(4)
    generations = [make_generation(g) for g in range(2)]
    for generation in generations:
        trials = generation.trials
        trials.violations = rng.normal(size=(50, 2))
        trials.violations[7] = [np.nan, -1.0]
        trials.violations[trials.is_failed] = np.nan
        store.append(study, generation)
    store.finish(study, "COMPLETE")
    violations = np.concatenate([g.trials.violations for g in generations])
    history = StudyColumns(database, study).trials(0, 100)
    np.testing.assert_array_equal(history.violations, violations)
    np.testing.assert_array_equal(history.is_candidate, (violations <= 0).all(axis=1))
    values = np.where(history.is_candidate, history.values[:, 0], -np.inf)
    best = [trial["number"] for trial in store.best(study, 100)]
    assert best == np.argsort(-values, kind="stable")[: len(best)].tolist()
    assert len(best) == history.is_candidate.sum()
    assert store.n_infeasible(study) == 100 - 4 - len(best)
    shown = np.concatenate([piece[1] for piece in StudyColumns(database, study).points(100)])
    np.testing.assert_array_equal(np.isfinite(shown), history.is_candidate)
    frames = TrialFrames(store, study)
    found = frames.best(100)
    assert found["number"].tolist()[: len(best)] == best
    assert found["feasible"].tolist() == [True] * len(best) + [False] * (100 - len(best))
    assert (
        len(frames.all(frames.read_where("feasible == 1 and n_trades > 0")))
        == (history.is_candidate & (history.metrics[:, METRICS.index("n_trades")] > 0)).sum()
    )
    assert store.trial(study, 2)["violation"] == []
    others = np.delete(values, best[3])
    assert store.share_worse(study, best[3]) == pytest.approx((others < values[best[3]]).mean())
    broken = np.flatnonzero(~history.is_candidate & ~history.is_failed)
    assert store.share_worse(study, int(broken[0])) is None
    with database.sync_engine.begin() as connection:
        connection.execute(text("DELETE FROM trial WHERE number = ANY(:numbers)"), {"numbers": best})
    totals = np.where(violations > 0, violations, 0).sum(axis=1)
    totals[~np.isin(np.arange(100), broken) | (np.arange(100) % 50 == 7)] = np.inf
    assert store.nearest(study)["number"] == totals.argmin()


def test_open_study_continues_and_counts(store):
    study = open_study(store, n_trials=100)
    store.append(study, make_generation(0))
    store.finish(study, "INTERRUPTED")
    assert store.find_study("s").status == "INTERRUPTED"
    again = open_study(store, n_trials=200, config=IDENTITY["config"] | {"n_trials": 200})
    assert (again.id, again.n_done, again.state, again.status, again.n_trials) == (
        study.id,
        50,
        b"after 0",
        "RUNNING",
        200,
    )
    store.append(again, make_generation(1))
    store.finish(again, "COMPLETE")
    (line,) = read_all(store.database).lines
    assert (line["name"], line["symbol"], line["n_trials"]) == ("s", "A", 100)


def test_open_study_refuses_another_and_holds_no_lock(store):
    store.finish(open_study(store), "COMPLETE")
    with pytest.raises(StudyError, match=r"engine\.commission 0\.001, but got None"):
        open_study(store, config={"strategy": {"_target_": "x", "rsi_window": 15}})
    store.finish(open_study(store), "COMPLETE")


def test_open_study_keeps_a_second_driver_out(store, monkeypatch):
    monkeypatch.setattr("alphapulse.study.writer.LOCK_PATIENCE", 0.2)
    study = open_study(store)
    with pytest.raises(StudyError, match="'s' is being run by another command"):
        open_study(store)
    open_study(store, "t")
    store.finish(study, "INTERRUPTED")
    store.finish(open_study(store), "COMPLETE")


def test_append_refuses_a_gap(store):
    study = open_study(store)
    future = store.append(study, make_generation(1))
    with pytest.raises(StudyError, match="in order from 0, but got a generation from 50"):
        future.result()
    assert store.n_done(study) == 0


def test_append_stores_all_or_nothing(store, database):
    study = open_study(store)
    store.append(study, make_generation(0)).result()
    broken = make_generation(1)
    broken = replace(broken, blocks=broken.blocks._replace(trials=np.array([60, 60])))
    first, second = store.append(study, broken), store.append(study, make_generation(2))
    with pytest.raises(DatabaseError, match="trial_blocks_pkey"):
        first.result()
    with pytest.raises(StudyError, match="in order from 50"):
        second.result()
    assert store.n_done(study) == 50
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM trial")) == 50


def test_append_goes_on_where_its_session_was_terminated(store, database):
    study = open_study(store)
    with database.sync_engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
        )
    time.sleep(0.2)
    store.append(study, make_generation(0)).result()
    with pytest.raises(StudyError, match="'s' is being run by another command"):
        open_study(Store(database))
    store.finish(study, "INTERRUPTED")
    assert store.n_done(study) == 50


def test_find_study_suggests(store):
    store.finish(open_study(store, "momentum"), "COMPLETE")
    with pytest.raises(StudyError, match=r"No study 'momentun' .* did you mean 'momentum'"):
        store.find_study("momentun")


def test_save_verdict_turns_nan_to_null(store):
    study = open_study(store)
    store.save_verdict(study, {"word": "SURVIVES", "p": np.float64("nan"), "list": (np.int64(1), 0.5)})
    assert store.find_study("s").verdict == {"rules": 1, "word": "SURVIVES", "p": None, "list": [1, 0.5]}


def assert_interrupted(store: Store) -> None:
    """Wait for the server to notice that a driver died, whose study is stored as RUNNING."""
    deadline = time.monotonic() + 10.0
    while store.find_study("s").status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [study.status for study in store.studies()] == ["INTERRUPTED"]


def test_killed_driver_leaves_whole_generations(store, database, environment, tmp_path):
    """However often the process is killed while it writes, whole generations are there, and it continues."""
    script = tmp_path / "driver.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parents[1])!r})
            from made_studies import make_generation, open_study
            from alphapulse.data_pipeline.opening import open_database
            from alphapulse.study.store import Store

            store = Store(open_database())
            study = open_study(store)
            print("open", flush=True)
            pending = []
            for g in range(study.n_done // 2000, 1000):
                pending.append(store.append(study, make_generation(g, k=2000)))
                if len(pending) > 2:
                    pending.pop(0).result()
                print(g, flush=True)
            """
        )
    )
    done = []
    for wait_for in (2, 5, 9):
        with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment, text=True) as driver:
            for _ in range(wait_for):
                driver.stdout.readline()
            driver.kill()
        assert_interrupted(store)
        study = open_study(store)
        done.append(study.n_done)
        with database.sync_engine.connect() as connection:
            count, last = connection.execute(text("SELECT count(*), max(number) FROM trial")).one()
        assert (count, (last if last is not None else -1) + 1) == (study.n_done, study.n_done)
        assert study.n_done % 2000 == 0
        assert study.state == (f"after {study.n_done // 2000 - 1}".encode() if study.n_done else None)
        store.finish(study, "INTERRUPTED")
    assert done == sorted(done)
    assert done[-1] > 0
