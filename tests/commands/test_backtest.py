"""One backtest: its files, and what it says of hold-outs that it shows."""

import json

import pytest

from alphapulse.commands import backtest
from alphapulse.config.groups import DataConfig, ValidationConfig
from alphapulse.config.schema import BacktestConfig

pytestmark = pytest.mark.postgres

DATA = DataConfig(start="2005-01-01", end="2010-01-01")


@pytest.fixture
def backtest_small(monkeypatch, tmp_path, capsys):
    """Return a runner of backtests over five years of the sample, without a tear sheet; it returns what was printed."""
    monkeypatch.setattr(backtest, "write_tear_sheet", lambda *arguments: None)

    def run(**changes):
        config = BacktestConfig(
            data=DATA, strategy={"_target_": "long_short", "volatility_source": "realized"}, quiet=True, **changes
        )
        backtest.run_backtest(config, tmp_path)
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
