import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alphapulse.errors import LookAheadError, StrategyError
from alphapulse.strategies.base import Bars
from alphapulse.strategies.resolve import resolve
from alphapulse.validation.lookahead import check_lookahead, gate_points, looks
from alphapulse.validation.lookahead.futures import FUTURES, foreign, sealed

FOLDER = Path(__file__).parent
DAY = 86_400 * 10**9


def names_in(module: str) -> list[str]:
    text = (FOLDER / f"{module}.py").read_text()
    names = re.findall(r"^(?:def|class) ([A-Za-z]\w*)", text, flags=re.M)
    return [name for name in names if name not in ("frame", "mean")]


@pytest.fixture(scope="module")
def bars() -> Bars:
    rng = np.random.default_rng(7)
    n_bars = 1_400
    dates = np.arange("2000-01-03", "2010-01-01", dtype="datetime64[D]")
    dates = dates[np.is_busday(dates)][:n_bars]
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, n_bars) * 0.01))
    open_ = np.append(close[0], close[:-1]) * np.exp(rng.normal(0, 0.003, n_bars))
    volatility = np.exp(rng.normal(3, 0.3, n_bars))
    volatility[[310, 877]] = np.nan
    other = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, n_bars)))
    wide = np.random.default_rng(8).uniform(1.0, 1.02, n_bars)
    return sealed(
        Bars(
            symbol="TEST",
            timeframe="1d",
            timestamp=dates.astype("datetime64[ns]").astype(np.int64),
            open=open_,
            high=np.maximum(open_, close) * (1 + rng.uniform(0, 0.01, n_bars)),
            low=np.minimum(open_, close) * (1 - rng.uniform(0, 0.01, n_bars)),
            close=close,
            volume=rng.uniform(1e6, 2e6, n_bars),
            volatility=volatility,
            others={"OTHER": other},
            parts={"OTHER.open": other, "OTHER.high": other * wide, "OTHER.low": other / wide, "OTHER.volume": wide},
        )
    )


@pytest.fixture(scope="module", autouse=True)
def _forget_modules():
    yield
    for name in ("peeking", "honest"):
        sys.modules.pop(name, None)


def test_check_lookahead_stops_every_peek(bars, subtests):
    peeks = [name for name in names_in("peeking") if name not in ("one_date", "only_for_long_windows", "in_the_middle")]
    assert len(peeks) == 43
    for name in peeks:
        with subtests.test(name):
            definition = resolve(f"peeking.{name}", str(FOLDER))
            expected = (LookAheadError, StrategyError) if name in ("PeekingBatch", "writes") else LookAheadError
            with pytest.raises(expected) as caught:
                check_lookahead(definition, bars, {})
            assert name in str(caught.value) or "keep nothing" in str(caught.value)
            assert "\n" not in str(caught.value)


def test_check_lookahead_passes_what_looks_back(bars, subtests):
    for name in names_in("honest"):
        with subtests.test(name):
            check_lookahead(resolve(f"honest.{name}", str(FOLDER)), bars, {})


@pytest.mark.parametrize("name", ["long_short", "sma_cross", "breakout"])
def test_check_lookahead_passes_built_in(bars, name):
    definition = resolve(name)
    windows = {n: [2, 30, 60] for n in definition.parameters if n.endswith("window") or n in ("fast", "slow")}
    check_lookahead(definition, bars, gate_points({}, windows))


def test_check_lookahead_names_strategy_indicator_and_first_bar(bars):
    with pytest.raises(LookAheadError) as caught:
        check_lookahead(resolve("peeking.IndicatorOnly", str(FOLDER)), bars, {})
    assert "IndicatorOnly" in str(caught.value)
    assert "`rank` at bar 2000-01-03 " in str(caught.value)


def test_check_lookahead_names_first_bar_after_warm_up(bars):
    with pytest.raises(LookAheadError, match=r"compiled sees the future: `target` at bar"):
        check_lookahead(resolve("peeking.compiled", str(FOLDER)), bars, {"window": 10})


def test_check_lookahead_checks_swept_values(bars):
    definition = resolve("peeking.only_for_long_windows", str(FOLDER))
    check_lookahead(definition, bars, {})
    with pytest.raises(LookAheadError, match="only_for_long_windows"):
        check_lookahead(definition, bars, gate_points({}, {"window": [10, 60, 200]}))


def test_check_lookahead_strict_finds_a_peek_at_one_date(bars):
    with pytest.raises(LookAheadError, match="one_date sees the future: `target` at bar 2005-03-14 "):
        check_lookahead(resolve("peeking.one_date", str(FOLDER)), bars, {}, strict=True)


def test_check_lookahead_names_a_memory(bars):
    for name in ("remembers_the_first_bars", "remembers_by_length", "Remembers"):
        with pytest.raises(LookAheadError, match="keep nothing between calls"):
            check_lookahead(resolve(f"peeking.{name}", str(FOLDER)), bars, {})


def test_check_lookahead_names_chance(bars):
    with pytest.raises(LookAheadError, match="asked again about the same bars"):
        check_lookahead(resolve("peeking.random", str(FOLDER)), bars, {})


def test_check_lookahead_leaves_imported_module_alone(bars):
    definition = resolve("honest.Mixed", str(FOLDER))
    before = sys.modules["honest"]
    check_lookahead(definition, bars, {})
    assert sys.modules["honest"] is before
    assert resolve("honest.Mixed", str(FOLDER)).subject is definition.subject


def test_check_lookahead_refuses_strategy_that_fails(bars):
    with pytest.raises(StrategyError, match=r"SmaCross fails .* `1 <= fast < slow` must hold"):
        check_lookahead(resolve("sma_cross"), bars, {"fast": 50, "slow": 20})


def test_check_lookahead_skips_impossible_points(bars):
    check_lookahead(resolve("sma_cross"), bars, [{"fast": 5, "slow": 20}, {"fast": 50, "slow": 20}])


@pytest.mark.parametrize("n_bars", [1, 2, 3, 30])
def test_check_lookahead_takes_few_bars(bars, n_bars):
    check_lookahead(resolve("long_short"), bars[:n_bars], {})


def test_check_lookahead_takes_hourly_bars(bars):
    hourly = sealed(
        Bars(**{**vars(bars), "timeframe": "1h", "timestamp": bars.timestamp[0] + np.arange(len(bars)) * DAY // 24})
    )
    check_lookahead(resolve("long_short"), hourly, {"volatility_source": "realized"})


def test_check_lookahead_takes_many_bars(bars):
    n_bars = 30_000
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n_bars)))
    other = dict.fromkeys(("open", "high", "low", "close", "volume", "volatility"), close)
    timestamp = np.arange(n_bars) * DAY // 24
    many = Bars(symbol="X", timeframe="1h", timestamp=timestamp, **other)
    check_lookahead(resolve("sma_cross"), many, {})
    for name in ("full_sample_z_score", "in_long_histories", "in_the_middle"):
        with pytest.raises(LookAheadError, match=name):
            check_lookahead(resolve(f"peeking.{name}", str(FOLDER)), many, {})


def test_check_lookahead_passes_long_histories():
    n_bars = 5_000
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n_bars)))
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": close}
    long = sealed(Bars("X", "1d", np.arange(n_bars) * DAY, **columns, volatility=np.full(n_bars, 20.0)))
    points = gate_points({"volatility_source": "realized"}, {"ma_window": [10, 100, 250], "rsi_window": [5, 30]})
    check_lookahead(resolve("long_short"), long, points)


@pytest.mark.parametrize("kind", FUTURES)
def test_futures_keep_the_past_and_stay_in_order(bars, kind):
    for cut in (1, 2, 700, len(bars) - 1):
        other = FUTURES[kind](bars, cut, np.random.default_rng(0))
        for name in ("timestamp", "open", "high", "low", "close", "volume", "volatility"):
            assert np.array_equal(getattr(other, name)[:cut], getattr(bars, name)[:cut], equal_nan=name != "timestamp")
            assert not getattr(other, name).flags.writeable
        assert (np.diff(other.timestamp) > 0).all()
        assert (other.low > 0).all()
        assert (other.high >= other.low).all()
        assert kind == "removed" or not np.array_equal(other.close[cut:], bars.close[cut:]) or cut == len(bars) - 1


def test_foreign_shares_no_price(bars):
    other = foreign(bars, np.random.default_rng(0))
    assert np.array_equal(other.timestamp, bars.timestamp)
    assert not (other.close == bars.close).any()


def test_gate_points_are_distinct_and_reach_the_corners():
    points = gate_points({"c": 1}, {"a": [1, 5, 9], "b": ["x", "y"]}, strict=True)
    assert points[0] == {"c": 1}
    for a in (1, 9):
        for b in ("x", "y"):
            assert {"c": 1, "a": a, "b": b} in points
    assert len({repr(sorted(p.items())) for p in points}) == len(points)


def test_check_lookahead_tells_how_far_it_has_come(bars, monkeypatch):
    monkeypatch.setattr(looks, "SECONDS_BETWEEN", 0.0)
    told = []
    check_lookahead(resolve("sma_cross"), bars, {}, watch=lambda n_done, n_total: told.append((n_done, n_total)))
    assert [n_done for n_done, _ in told] == list(range(1, len(told) + 1))
    # What is expected is known from the start, but for the calendar's turns and the telling decisions.
    assert told[-1] == (told[-1][1], told[-1][1])
    assert len({n_total for _, n_total in told}) == 1


def test_lookahead_needs_no_pandas():
    heavy = "{'pandas', 'optuna', 'sqlalchemy', 'hydra'}"
    code = f"import sys, alphapulse.validation.lookahead.gate; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
