"""One backtest: its files, and what it says of hold-outs that it shows."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from alphapulse.backtesting.models import EngineParams
from alphapulse.commands import backtest
from alphapulse.config.given import Given
from alphapulse.config.groups import DataConfig, ValidationConfig
from alphapulse.config.schema import BacktestConfig
from alphapulse.errors import StudyError
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres

DATA = DataConfig(start="2005-01-01", end="2010-01-01")


@pytest.fixture
def backtest_small(monkeypatch, tmp_path, capsys):
    """Return a runner of backtests over five years of the sample, without a tear sheet; it returns what was printed."""
    monkeypatch.setattr(backtest, "write_tear_sheet", lambda *arguments: None)

    def run(given=None, **changes):
        plain = {"data": DATA, "strategy": {"_target_": "long_short", "volatility_source": "realized"}}
        config = BacktestConfig(**(plain | changes), quiet=True)
        backtest.run_backtest(config, tmp_path, given)
        return capsys.readouterr().out

    return run


def test_backtest_leaves_the_hold_out_alone(run, in_process, small_study, backtest_small, database):
    run(small_study(n_trials=40), in_process())
    out = backtest_small()
    assert "The hold-out is left alone" in out
    assert "opening" not in out
    assert json.loads(backtest_small(output="json"))["opens_hold_out_of"] == []


def test_backtest_over_held_out_bars_says_that_it_opens_them(run, in_process, small_study, backtest_small, database):
    run(small_study(n_trials=40), in_process())
    whole = ValidationConfig(holdout=0.0)
    out = backtest_small(validation=whole)
    assert "held out in small: it counts as an opening" in out
    assert json.loads(backtest_small(validation=whole, output="json"))["opens_hold_out_of"] == ["small"]
    again = run(small_study(n_trials=80), in_process())
    # The study's own two looks, and the setting that was shown.
    assert again.verdict["ledger"]["n_openings"] == 3 - (again.chosen.number < 40)


def test_stored_trial_is_run_as_it_was_and_costs_no_try(
    run, in_process, small_study, backtest_small, database, tmp_path
):
    summary = run(small_study(n_trials=40), in_process())
    lines = database.fetch("SELECT name FROM ledger")
    for name, number in (("7", 7), ("best", summary.best[0].number), ("chosen", summary.chosen.number)):
        stored = Store(database).trial(Store(database).find_study("small"), number)
        document = json.loads(backtest_small(study="small", trial=name, output="json"))
        assert document["trial"] == number
        metrics = {k: None if v != v else v for k, v in stored["metrics"].items()}
        assert {k: document["metrics"][k] for k in metrics} == metrics
        assert (document["holdout"] is None) == (number != summary.chosen.number)
        page = Path(document["places"]["report"]).read_text("utf-8")
        assert (f"The verdict is on trial {summary.chosen.number:,}" in page) == (number != summary.chosen.number)
        assert f"trial {number:,}" in page
    assert document["holdout"] == pytest.approx(summary.verdict["chosen_holdout"], nan_ok=True)
    assert database.fetch("SELECT name FROM ledger") == lines
    equity = pd.read_csv(tmp_path / "equity.csv", index_col=0)
    assert equity["equity"].iloc[-1] == pytest.approx(100_000 * (1 + document["metrics"]["total_return"]))
    assert equity["buy_and_hold"].iloc[-1] == pytest.approx(100_000 * (1 + document["benchmark"]["total_return"]))
    overrides = yaml.safe_load((tmp_path / "setting.yaml").read_text())["overrides"]
    assert f"strategy.reversion_weight={document['parameters']['reversion_weight']!r}" in overrides
    with pytest.raises(StudyError, match="has no trial 999"):
        backtest_small(study="small", trial="999")
    with pytest.raises(StudyError, match="must be a number or one of best, chosen, robust"):
        backtest_small(study="small", trial="bset")


def test_what_is_typed_beside_a_trial_changes_it(run, in_process, small_study, backtest_small, database):
    run(small_study(n_trials=40), in_process())
    before = json.loads(backtest_small(study="small", trial="7", output="json"))
    dear = {"engine": EngineParams(commission=0.01), "given": Given(frozenset({"engine.commission", "study"}))}
    after = json.loads(backtest_small(study="small", trial="7", output="json", **dear))
    assert after["metrics"]["total_return"] < before["metrics"]["total_return"]
    assert after["parameters"] == before["parameters"]
    assert "trial 7 of study small, changed" in backtest_small(study="small", trial="7", **dear)
    assert len(database.fetch("SELECT name FROM ledger")) == 2
