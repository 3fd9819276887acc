"""Many symbols from Python: each alone, or all in one account, from frames or from what is stored."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from made_accounts import cointegrated_closes

import alphapulse as ap
from alphapulse.backtesting.metrics import METRICS
from alphapulse.errors import ConfigError, DataError, StrategyError

FEW = {"null_sweeps": 3, "n_bootstrap": 50, "walk_forward": {"train_blocks": 20, "test_blocks": 5}, "pbo_blocks": 8}
NO_STOP = {"stop": {"kind": "none"}}

pytestmark = pytest.mark.postgres


@pytest.fixture
def frames():
    index = pd.bdate_range("2015-01-01", periods=900)
    made = zip("AB", cointegrated_closes(900), strict=True)
    return {
        symbol: pd.DataFrame({"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}, index=index)
        for symbol, close in made
    }


def make_strategy(size):
    @dataclass(frozen=True)
    class Equal:
        window: int = 20

        def targets(self, bars):
            return np.full((len(bars), len(bars.symbols)), size / len(bars.symbols))

    return Equal


def halves(bars, symbols, window: int = 20):
    return np.full((len(bars), len(symbols)), 1.0 / len(symbols))


def test_a_backtest_of_an_account(database, frames):
    result = ap.run_backtest("pairs", frames, engine=NO_STOP, hedge_window=60)
    assert set(result.trades["symbol"]) == {"A", "B"}
    assert list(result.result.weights.columns) == ["A", "B"]
    stored = ap.run_backtest("pairs", ["A", "B"], engine=NO_STOP, hedge_window=60)
    assert stored.metrics == pytest.approx(result.metrics, rel=0, abs=0, nan_ok=True)
    assert len(result.plot().data) == 2
    dear = {"by_symbol": {"B": {"commission": 0.01}}} | NO_STOP
    assert (
        ap.run_backtest("pairs", ["A", "B"], engine=dear, hedge_window=60).metrics["costs_paid"]
        > (result.metrics["costs_paid"])
    )
    own = ap.run_backtest(halves, frames, universe="account", engine=NO_STOP)
    assert own.metrics["exposure"] > 0.95
    cell = ap.run_backtest(make_strategy(1.0), frames, engine=NO_STOP)
    assert cell.metrics == pytest.approx(own.metrics, rel=0, abs=0, nan_ok=True)


def test_a_backtest_of_each(database, frames):
    each = ap.run_backtest("sma_cross", frames, fast=5, slow=40)
    alone = ap.run_backtest("sma_cross", "A", fast=5, slow=40)
    assert set(each.trades["symbol"]) == {"A", "B"}
    own = each.trades[each.trades["symbol"] == "A"].drop(columns="symbol").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone.trades)


def test_what_does_not_fit_is_refused_in_one_line(database, frames):
    for arguments, error, message in (
        (("sma_cross", {"A": 5}), DataError, r"Bars of 'A' must be a frame, but got a int"),
        (("sma_cross", [frames["A"]]), DataError, "must be named by texts"),
        (("sma_cross", []), ConfigError, "`data.symbols` must name at least one symbol"),
        (("pairs", frames["A"]), StrategyError, r"Pairs decides for many symbols.*universe=account"),
    ):
        with pytest.raises(error, match=message):
            ap.run_backtest(*arguments)
    with pytest.raises(StrategyError, match="SmaCross decides for one symbol"):
        ap.run_backtest("sma_cross", frames, universe="account")
    with pytest.raises(DataError, match="`symbol` must be left out"):
        ap.run_backtest("pairs", frames, symbol="C")
    with pytest.raises(ConfigError, match=r"universe\.kind"):
        ap.run_backtest("pairs", frames, universe="accounts")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_sweep_of_an_account_and_of_each(ray_cluster, database, frames):
    study = ap.run_sweep(
        "pairs", frames, space={"hedge_window": (20, 60), "entry": (1.0, 3.0)}, n_trials=40, study="pair", quiet=True,
        engine=NO_STOP, validation=FEW,
    )  # fmt: skip
    assert study.n_trials == 40
    assert study.verdict.word in ("SURVIVES", "INCONCLUSIVE", "LIKELY LUCK")
    again = study.backtest(study.best.number)
    assert [again.metrics[name] for name in METRICS] == pytest.approx(
        [study.best.metrics[name] for name in METRICS], rel=0, abs=0, nan_ok=True
    )
    each = ap.run_sweep(
        "sma_cross", ["A", "B"], universe={"kind": "each", "score": "worst"}, space={"fast": (2, 20), "slow": (30, 60)},
        n_trials=20, study="each", quiet=True, validation=FEW,
    )  # fmt: skip
    assert each.n_trials == 20
