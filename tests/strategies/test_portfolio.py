"""The seam of an account, what it refuses, and the strategies that are built in."""

from dataclasses import dataclass

import numpy as np
import pytest
from made_accounts import cointegrated_account, drifting_account

from alphapulse.backtesting.account.trial import run_account_trial
from alphapulse.backtesting.params import EngineParams
from alphapulse.errors import LookAheadError, StrategyError
from alphapulse.market.account import member_bars
from alphapulse.strategies.indicators import sma
from alphapulse.strategies.pairs import Pairs, legs, legs_python, spread, spread_python
from alphapulse.strategies.portfolio import PortfolioStrategy, checked_ranges, checked_targets
from alphapulse.strategies.resolve import resolve
from alphapulse.strategies.rotation import Rotation, momentum, momentum_python, strongest, strongest_python
from alphapulse.validation.lookahead import check_lookahead

MODULE = """
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True)
class Plain:
    window: int = 5
    def targets(self, bars):
        close = bars.matrix()
        target = np.full(close.shape, np.nan)
        target[self.window:] = np.where(np.isnan(close[self.window:]), np.nan, 0.3)
        return target

def function(bars, symbols, window: int = 5):
    return np.full((len(bars), len(symbols)), 1.0 / len(symbols))

@dataclass(frozen=True)
class Peeking:
    window: int = 5
    def targets(self, bars):
        close = bars.matrix()
        ahead = np.vstack([close[1:], close[-1:]])
        return np.nan_to_num(np.sign(ahead - close)) / 3

@dataclass(frozen=True)
class Wrong:
    def targets(self, bars):
        return np.zeros(len(bars))

@dataclass(frozen=True)
class Survivors:
    window: int = 5
    def targets(self, bars):
        # Knows from the first bar on which symbols are still there at the end.
        alive = ~np.isnan(bars.matrix()[-1])
        return np.tile(alive / alive.sum(), (len(bars), 1))
"""


@pytest.fixture(scope="module")
def market():
    return drifting_account()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "many.py").write_text(MODULE)
    return str(tmp_path)


@dataclass(frozen=True)
class Given(PortfolioStrategy):
    window: int = 4
    rows: tuple = ()

    def targets(self, bars):
        return np.array(self.rows)


def test_nan_is_flat_early_and_holds_where_there_is_no_bar(market):
    bars = market.bars[:330]
    known = ~np.isnan(bars.matrix())
    target = np.where(known, 0.2, np.nan)
    # LATE lists at bar 300: NaN in its first four bars is flat, and before them.
    target[300:304, 1] = np.nan
    got = checked_targets(Given(rows=tuple(map(tuple, target))), bars)
    assert (got[:304, 1] == 0.0).all()
    assert (got[304:, 1] == 0.2).all()
    target[310, 1] = np.nan
    with pytest.raises(ValueError, match=r"`targets` must be finite, but got nan for LATE at 2010-11-10; NaN is flat"):
        checked_targets(Given(rows=tuple(map(tuple, target))), bars)
    late = market.bars
    hole = np.flatnonzero(np.isnan(late.matrix()[:, 1]))
    hole = hole[hole > 300]
    target = np.where(np.isnan(late.matrix()), np.nan, 0.2)
    target[hole - 1, 1] = 0.7
    assert checked_targets(Given(rows=tuple(map(tuple, target))), late)[hole[0], 1] == 0.7


def test_one_number_a_bar_and_symbol(market, folder):
    definition = resolve("many.Wrong", folder)
    with pytest.raises(
        ValueError, match=r"one number a bar and symbol, shape \(900, 3\), but got shape \(900,\).*many.py"
    ):
        checked_targets(definition.build({}), market.bars)


def test_average_true_ranges_are_those_of_each_symbol(market):
    ranges = checked_ranges(Given(), market.bars)
    own = member_bars(market.bars, "LATE")
    there = np.isin(market.bars.timestamp, own.timestamp)
    np.testing.assert_array_equal(ranges[there, 1], Given().atr(own))
    assert np.isnan(ranges[~there, 1]).all()


@pytest.mark.parametrize("target", ["many.Plain", "many.function"])
def test_any_class_with_targets_and_any_function_will_do(market, folder, target):
    definition = resolve(target, folder)
    definition.check_universe(is_account=True)
    block = definition.portfolio_block(market.bars, {"window": np.array([5, 5, 7])}, 3)
    groups = list(block.groups())
    assert [members.tolist() for members, _, _ in groups] == [[0, 1], [2]]
    assert groups[0][1].shape == (900, 3)
    assert not block.failures


def test_a_strategy_is_told_which_universe_it_is_for(folder):
    with pytest.raises(StrategyError, match=r"SmaCross decides for one symbol.*targets.*universe=each"):
        resolve("sma_cross").check_universe(is_account=True)
    with pytest.raises(StrategyError, match=r"Rotation decides for many symbols.*universe=account"):
        resolve("rotation").check_universe(is_account=False)
    with pytest.raises(StrategyError, match="Plain decides for many symbols"):
        resolve("many.Plain", folder).check_universe(is_account=False)
    resolve("sma_cross").check_universe(is_account=False)


@pytest.mark.parametrize("name", ["rotation", "pairs"])
def test_built_in_strategies_see_no_future(market, name):
    check_lookahead(resolve(name), market.bars, [{}, {"size": 0.5}], n_cuts=6)


@pytest.mark.parametrize("name", ["Peeking", "Survivors"])
def test_the_gate_sees_what_any_symbol_gives_away(market, folder, name):
    definition = resolve(f"many.{name}", folder)
    with pytest.raises(LookAheadError, match="sees the future"):
        check_lookahead(definition, market.bars, [{}], n_cuts=6)


def test_rotation_holds_the_strongest(market):
    gained = np.array([[0.1, 0.2, np.nan], [0.3, 0.2, 0.3], [-0.1, -0.2, np.nan], [-0.1, 0.0, 0.4]])
    np.testing.assert_allclose(
        strongest(gained, 2, 1.0, True), [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.5]]
    )
    np.testing.assert_array_equal(strongest(gained, 1, 1.0, False), strongest_python(gained, 1, 1.0, False))
    close = market.bars.of("LONG").close
    np.testing.assert_array_equal(momentum(close, 7), momentum_python(close, 7))
    targets = checked_targets(Rotation(momentum_window=50, top=2), market.bars)
    assert set(np.unique(targets)) == {0.0, 0.5}
    assert targets.sum(axis=1).max() == 1.0
    # What has ended is forgotten after a few moments.
    assert (targets[-200:, 2] == 0.0).all()


def test_spread_is_that_of_a_regression():
    rng = np.random.default_rng(2)
    x = np.cumsum(rng.normal(0, 0.01, 200))
    y = 1.3 * x + rng.normal(0, 0.01, 200)
    score, slope = spread(y, x, 60)
    assert np.isnan(score[:59]).all()
    for t in (59, 120, 199):
        design = np.column_stack([x[t - 59 : t + 1], np.ones(60)])
        solution, (rest,), *_ = np.linalg.lstsq(design, y[t - 59 : t + 1], rcond=None)
        assert slope[t] == pytest.approx(solution[0], rel=1e-9)
        residual = y[t] - design[-1] @ solution
        assert score[t] == pytest.approx(residual / np.sqrt(rest / 58), rel=1e-8)
    for got, plain in zip(spread(y, x, 60), spread_python(y, x, 60), strict=True):
        np.testing.assert_allclose(got, plain, rtol=1e-12)
    flat = np.zeros(200)
    assert np.isnan(spread(y, flat, 60)[0]).all()


def test_legs_open_apart_and_close_together():
    score = np.array([np.nan, 1.0, 2.5, 1.0, 0.4, -2.1, -0.6, np.nan, 0.1, 3.0])
    slope = np.array([1.0, 1.0, 0.5, 0.7, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
    got = legs(score, slope, 2.0, 0.5, 1.5)
    np.testing.assert_allclose(got[:, 0], [0, 0, -1, -1, 0, 0.75, 0.75, 0.75, 0, 0])
    np.testing.assert_allclose(got[:, 1], [0, 0, 0.5, 0.5, 0, -0.75, -0.75, -0.75, 0, 0])
    np.testing.assert_array_equal(got, legs_python(score, slope, 2.0, 0.5, 1.5))


def test_pairs_refuse_what_is_no_pair(market):
    with pytest.raises(ValueError, match=r"'SPY' must be one of data.symbols, but they are LONG, LATE, DEAD"):
        Pairs(second="SPY").targets(market.bars)
    with pytest.raises(ValueError, match="must have two symbols, but both are LONG"):
        Pairs(second="LONG").targets(market.bars)
    with pytest.raises(ValueError, match="0 <= exit < entry"):
        Pairs(entry=1.0, exit=2.0)
    targets = checked_targets(Pairs(hedge_window=40, first="LATE", second="LONG", entry=1.0), market.bars)
    assert (targets[:, 2] == 0.0).all()
    assert (targets[:, 0] != 0.0).any()


def test_a_pair_earns_on_what_runs_together():
    market = cointegrated_account()
    strategy = Pairs(hedge_window=120, entry=1.5, exit=0.25)
    target = checked_targets(strategy, market.bars)
    result = run_account_trial(market, target, None, EngineParams(stop={"kind": "none"}, short_borrow_rate=0.01))
    assert result.metrics["sharpe_ratio"] > 0.7
    assert set(result.trades["symbol"]) == {"A", "B"}
    assert abs(result.metrics["beta"]) < 0.2
    total = result.trades["net_profit"].sum()
    assert result.equity.iloc[-1] - 100_000.0 == pytest.approx(total, rel=1e-9)
    assert result.weights.abs().sum(axis=1).max() < 1.2
    assert (result.weights.sum(axis=1) - result.allocation).abs().max() < 1e-12


def test_an_indicator_of_a_symbol_with_holes_counts_its_own_bars(market):
    own = member_bars(market.bars, "LATE")
    average = market.bars.of("LATE").indicator(sma, "close", 30)
    assert np.count_nonzero(~np.isnan(average)) == len(own) - 29
