"""Settings that end, freeze or flood the process that runs them are failed trials; the others of the study count."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from alphapulse.config.groups import SearchConfig
from alphapulse.config.machines.cluster import ClusterConfig
from alphapulse.config.schema import SweepConfig
from alphapulse.errors import StudyError
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace

pytestmark = [pytest.mark.ray, pytest.mark.postgres]

STRATEGY = """
import ctypes, os, signal, sys, time
import numba
import numpy as np


@numba.njit
def spin(n):
    while n > 0:
        n = n + 1 if n < 1000 else 1
    return n


def stubborn():
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass


def eat():
    kept = []
    while True:
        kept.append(np.ones(2 * 10**7))
        time.sleep(0.05)


def shout():
    for _ in range(1000):
        print("x" * 1000)
        os.write(2, b"y" * 1000)
    time.sleep(0.5)


def interrupt():
    raise KeyboardInterrupt


POISONS = {
    11: lambda: sys.exit(2),
    12: interrupt,
    13: lambda: time.sleep(1e6),
    14: eat,
    15: lambda: os._exit(3),
    16: lambda: ctypes.string_at(0),
    17: lambda: os.kill(os.getpid(), signal.SIGKILL),
    18: stubborn,
    19: lambda: spin(1),
    20: shout,
}


def poison(close, n=5):
    if n in POISONS:
        POISONS[n]()
    out = np.zeros(len(close))
    out[n:] = np.sign(close[n:] - close[:-n])
    return out
"""
LATE = "LimitExceeded: no result after 8 s, see `cluster.trial_timeout`"
DEAD = "its worker died ("
REASONS = {
    11: "SystemExit: 2",
    12: "KeyboardInterrupt:",
    13: LATE,
    14: "LimitExceeded: its worker took more than 0.7 GB, see `cluster.trial_memory`",
    15: DEAD,
    16: DEAD,
    17: DEAD,
    18: LATE,
    19: LATE,
}


@pytest.fixture
def poisoned(small_study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a maker of grids over a strategy some of whose settings are poison, from one window to another."""
    (tmp_path / "poisons.py").write_text(STRATEGY)
    monkeypatch.chdir(tmp_path)

    def make(first: int, last: int) -> SweepConfig:
        config = small_study(
            strategy={"_target_": "poisons.poison"},
            search=SearchConfig(sampler="grid", start="none"),
            cluster=ClusterConfig(trial_timeout=8.0, trial_memory=0.7),
            space=SearchSpace((IntDimension("strategy.n", first, last),)),
            n_trials=last - first + 1,
        )
        return replace(config, validation=replace(config.validation, lookahead="off", null_sweeps=0))

    return make


def failures(database):
    query = "SELECT params[1]::int, error FROM trial WHERE state = 'FAIL'"
    with database.sync_engine.connect() as connection:
        return dict(connection.execute(text(query)).all())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", ["all", pytest.param("best", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("first", "last"),
    [(8, 15), pytest.param(16, 21, marks=pytest.mark.slow), pytest.param(19, 20, marks=pytest.mark.slow)],
    ids=["some", "others", "last"],
)
def test_poisoned_settings_are_failures_and_the_others_count(ray_cluster, poisoned, run, database, first, last, store):
    config = replace(poisoned(first, last), store=store)
    summary = run(config)
    poisons = {n: reason for n, reason in REASONS.items() if first <= n <= last}
    assert (summary.n_trials, summary.n_failed) == (config.n_trials, len(poisons))
    found = failures(database)
    assert found.keys() == poisons.keys()
    assert {n: found[n][: len(reason)] for n, reason in poisons.items()} == poisons
    if last >= 20:
        # A worker that another test has silenced says nothing here: its log is among those of all.
        logs = (ray_cluster / "logs").glob("worker-*.out")
        assert 100_000 <= max(log.stat().st_size for log in logs) < 101_000


def test_too_many_failures_end_the_sweep_with_the_most_frequent_reason(small_study, run, in_process, database):
    space = SearchSpace((IntDimension("strategy.ma_window", 2, 400), IntDimension("strategy.rsi_window", -300, 100)))
    config = small_study(space=space, n_trials=1000, search=SearchConfig(sampler="random", generation_size=60))
    with pytest.raises(StudyError, match=r"of 120 trials failed, more than `max_failure_rate=0.5` allows; most often"):
        run(config, in_process())
