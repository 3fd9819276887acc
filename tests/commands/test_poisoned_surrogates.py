"""A strategy that misbehaves only where prices are not those it was searched on: the verdict says so, nothing hangs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphapulse.config.groups import SearchConfig
from alphapulse.config.machines.cluster import ClusterConfig
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.sweep.inputs import load_inputs

pytestmark = [pytest.mark.ray, pytest.mark.postgres]

STRATEGY = """
import os, time
import numpy as np

def boom():
    raise ValueError("never seen such prices")


def eat():
    kept = []
    while True:
        kept.append(np.ones(2 * 10**7))
        time.sleep(0.05)


def shout():
    for _ in range(1000):
        print("x" * 1000)


POISONS = {
    "raise": boom,
    "exit": lambda: os._exit(3),
    "sleep": lambda: time.sleep(1e6),
    "eat": eat,
    "shout": shout,
}


def where(close, n_searched):
    real = np.load(os.path.join(os.path.dirname(__file__), "real.npy"))
    searched = close[:n_searched]
    if not np.array_equal(searched, real[: len(searched)]):
        return "surrogate"
    if len(close) <= n_searched:
        return "market"
    return "hold-out" if np.array_equal(close, real) else "surrogate of the hold-out"


def poisoned(close, n=5, kind="raise", place="surrogate", n_searched=0):
    if where(close, n_searched) == place:
        POISONS[kind]()
    out = np.zeros(len(close))
    out[n:] = np.sign(close[n:] - close[:-n])
    return out
"""


@pytest.fixture
def weigh_poisoned(ray_cluster, small_study, run, database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what runs a study whose strategy misbehaves in a way at a place; returns its verdict."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "falling.py").write_text(STRATEGY)

    def weigh(kind, place, lookahead="off"):
        config = small_study(
            null_sweeps=19,
            n_trials=20,
            search=SearchConfig(sampler="grid", start="none"),
            cluster=ClusterConfig(trial_timeout=2.0, trial_memory=0.7),
            space=SearchSpace((IntDimension("strategy.n", 5, 24),)),
        )
        strategy = {"_target_": "falling.poisoned", "kind": kind, "place": place}
        inputs = load_inputs(replace(config, strategy=strategy), database)
        np.save(tmp_path / "real.npy", inputs.holdout.bars.close)
        strategy["n_searched"] = len(inputs.market.bars)
        validation = replace(config.validation, null_seconds=1e6, lookahead=lookahead)
        summary = run(replace(config, strategy=strategy, validation=validation))
        assert summary.n_failed == 0, summary.failures
        return summary.verdict

    return weigh


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind",
    ["raise", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("exit", "sleep", "eat"))],
)
def test_search_that_fails_on_other_markets_has_no_p(weigh_poisoned, capfd, kind):
    verdict = weigh_poisoned(kind, "surrogate")
    nulls = verdict["null_sweeps"]
    assert (nulls["stopped"], nulls["p"], nulls["n_failed"]) == ("failed", None, 3)
    assert verdict["word"] != "SURVIVES"
    assert any("no p, since on 3 of 3 markets" in line for line in verdict["lines"])
    said = capfd.readouterr().err
    assert "Null sweep 0 failed: " in said


@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", ["hold-out", "surrogate of the hold-out"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("raise", "ValueError: never seen such prices"),
        ("exit", "its worker died"),
        pytest.param("sleep", "no result after 2 s", marks=pytest.mark.slow),
        pytest.param("eat", "more than 0.7 GB", marks=pytest.mark.slow),
    ],
)
def test_setting_that_fails_on_the_holdout_is_not_confirmed(weigh_poisoned, kind, place, reason):
    verdict = weigh_poisoned(kind, place)
    assert reason in verdict["holdout"]["failure"]
    assert verdict["holdout"]["p"] is None
    assert (verdict["holdout"]["psr"] is None) is (place == "hold-out")
    assert verdict["word"] != "SURVIVES"
    assert any("fails" in line and reason in line for line in verdict["lines"])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["exit", "sleep"])
def test_gate_that_has_no_answer_is_told_and_ends(weigh_poisoned, capfd, kind):
    # The gate's strange bars are no market that was searched.
    verdict = weigh_poisoned(kind, "surrogate", lookahead="on")
    said = capfd.readouterr().err
    assert "The look-ahead gate ended its worker, or had no answer for 6 s" in said
    assert "The look-ahead gate has no answer at any point" in said
    assert verdict["look_ahead_clean"] is None
    assert verdict["word"] != "SURVIVES"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_output_on_other_markets_is_cut_and_counts_for_nothing(weigh_poisoned):
    verdict = weigh_poisoned("shout", "surrogate")
    assert verdict["null_sweeps"]["n_failed"] == 0
    assert verdict["null_sweeps"]["p"] is not None
