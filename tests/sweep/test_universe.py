"""Every setting on every symbol: bit for bit what one symbol alone gives, together what plain Python says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alphapulse.backtesting.metrics import METRICS, metrics_of_returns
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.market.universe import universe_market
from alphapulse.reports.curves import backtest_trial
from alphapulse.reports.page.universe import describe_survey, survey_symbols
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import evaluate_batch

DAY = 86_400 * 10**9
SPACE = SearchSpace((IntDimension("strategy.fast", 2, 20), IntDimension("strategy.slow", 25, 60)))
SHARPE = METRICS.index("sharpe_ratio")

MODULE = """
import numpy as np

def picky(bars, window: int = 5):
    if bars.symbol == "LATE" and window == 7:
        raise RuntimeError("not this one")
    return np.sign(np.sin(np.arange(len(bars)) / window))
"""


def make_member(symbol, days, close):
    close = np.asarray(close, dtype=float)
    columns = {"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close}
    columns |= {"volume": np.full(len(close), 5.0), "volatility": np.full(len(close), np.nan)}
    columns["timestamp"] = np.asarray(days, dtype=np.int64) * DAY
    for column in columns.values():
        column.flags.writeable = False
    return Market.of(Bars(symbol=symbol, timeframe="1d", **columns), 60, symbol)


@pytest.fixture(scope="module")
def market():
    rng = np.random.default_rng(5)
    days = np.arange(900)
    walk = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (3, 900)), axis=1))
    there = np.delete(days, [300, 301, 440])
    return universe_market(
        [
            make_member("LONG", days, walk[0]),
            make_member("LATE", days[400:], walk[1][400:]),
            make_member("DEAD", there[:600], walk[2][there[:600]]),
        ]
    )


@pytest.fixture(scope="module")
def experiment():
    return Experiment(SPACE, resolve("alphapulse.strategies.sma_cross.SmaCross", None), {})


@pytest.fixture(scope="module")
def parameters():
    rng = np.random.default_rng(3)
    return np.stack([rng.integers(2, 20, 150), rng.integers(25, 60, 150)], axis=1).astype(float)


def test_each_symbol_has_the_bits_that_it_has_alone(market, experiment, parameters):
    batch = evaluate_batch(market, experiment, parameters)
    assert batch.by_symbol.symbols == ("LONG", "LATE", "DEAD")
    for place, member in enumerate(market.members):
        alone = evaluate_batch(member, experiment, parameters).trials.metrics
        assert np.ascontiguousarray(batch.by_symbol.metrics[:, place]).tobytes() == alone.tobytes()
    one = evaluate_batch(market, experiment, parameters[70:71])
    assert one.trials.metrics.tobytes() == batch.trials.metrics[70:71].tobytes()
    assert one.kept.sums.tobytes() == batch.kept.sums[70:71].tobytes()


def test_the_portfolio_is_what_plain_python_says(market, experiment, parameters):
    result, bought = backtest_trial(market, experiment, parameters[3])
    accounts = []
    for member in market.members:
        alone, _ = backtest_trial(member, experiment, parameters[3])
        days = (member.bars.timestamp[member.first :] // DAY).tolist()
        accounts.append(dict(zip(days, alone.equity.tolist(), strict=True)))
    worth = _portfolio(accounts, 100_000.0)
    np.testing.assert_allclose(result.equity / 100_000, worth, rtol=1e-12)
    returns = np.diff(worth, prepend=1.0) / np.r_[1.0, worth[:-1]]
    expected = metrics_of_returns(returns, bought.to_numpy(), periods_per_year=market.bars.periods_per_year)
    for name, value in expected.items():
        assert result.metrics[name] == pytest.approx(value, rel=1e-9), name
    batch = evaluate_batch(market, experiment, parameters[3:4])
    metrics = dict(zip(METRICS, batch.trials.metrics[0].tolist(), strict=True))
    assert batch.kept.sums.sum() == pytest.approx(returns.sum(), rel=1e-9)
    on_symbols = batch.by_symbol.metrics[0]
    for name in ("n_trades", "costs_paid"):
        assert metrics[name] == pytest.approx(on_symbols[:, METRICS.index(name)].sum(), rel=1e-12)
    n_bars = np.array([member.n_scored for member in market.members])
    exposure = on_symbols[:, METRICS.index("exposure")]
    assert metrics["exposure"] == pytest.approx((exposure * n_bars).sum() / n_bars.sum(), rel=1e-12)
    assert set(result.trades["symbol"]) == {"LONG", "LATE", "DEAD"}


def _portfolio(accounts, capital):
    """Worth by day of accounts {day: equity}, shared out equally at each turn of a month."""
    days = sorted({day for account in accounts for day in account})
    months = [pd.Timestamp(day * DAY).to_period("M") for day in days]
    last = [capital] * len(accounts)
    worth, level, held = [], 1.0, {}
    for place, day in enumerate(days):
        if place == 0 or months[place] != months[place - 1]:
            now = {d for d, month in zip(days, months, strict=True) if month == months[place]}
            there = [p for p, account in enumerate(accounts) if now & account.keys()]
            held = {p: (level / len(there), last[p]) for p in there}
        last = [account.get(day, last[p]) for p, account in enumerate(accounts)]
        level = sum(share * last[p] / base for p, (share, base) in held.items())
        worth.append(level)
    return np.array(worth)


@pytest.mark.parametrize(
    ("score", "function"),
    [
        ("median", np.median),
        ("mean", np.mean),
        ("worst", np.min),
        ("share", lambda values: np.mean(np.asarray(values) > 0)),
    ],
)
def test_the_score_is_over_the_symbols(market, experiment, parameters, score, function):
    batch = evaluate_batch(market, replace(experiment, universe_score=score), parameters[:20])
    sharpes = batch.by_symbol.metrics[:, :, SHARPE]
    np.testing.assert_allclose(batch.trials.values[:, 0], [function(row) for row in sharpes], rtol=1e-12)


def test_a_setting_that_fails_on_one_symbol_has_failed(market, tmp_path):
    (tmp_path / "picky_on_symbols.py").write_text(MODULE)
    space = SearchSpace((IntDimension("strategy.window", 5, 8),))
    picky = Experiment(space, resolve("picky_on_symbols.picky", str(tmp_path)), {})
    batch = evaluate_batch(market, picky, np.array([[6.0], [7.0], [8.0]]))
    assert list(batch.trials.errors) == [1]
    assert batch.trials.errors[1].startswith("LATE: RuntimeError: not this one")
    assert batch.by_symbol.trials.tolist() == [0, 2]
    assert np.isnan(batch.trials.metrics[1]).all()


def test_a_survey_says_on_which_symbol_most_hangs(market, experiment, parameters):
    survey = survey_symbols(market, experiment, parameters[3])
    batch = evaluate_batch(market, experiment, parameters[3:4])
    assert survey["portfolio"] == batch.trials.metrics[0, SHARPE]
    assert [one["sharpe_ratio"] for one in survey["symbols"].values()] == batch.by_symbol.metrics[0, :, SHARPE].tolist()
    rest = universe_market(market.members[1:], market.bars.periods_per_year)
    assert survey["without"]["LONG"] == evaluate_batch(rest, experiment, parameters[3:4]).trials.metrics[0, SHARPE]
    assert f"{survey['n_agree']} of 3 symbols" in describe_survey(survey)[0]
    assert survey_symbols(market.members[0], experiment, parameters[3]) == {}
