import weakref

import numpy as np
import pytest
from random_bars import random_bars

from alphapulse.market.bars import Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.strategies.indicators import sma
from alphapulse.strategies.resolve import resolve


@pytest.fixture(scope="module")
def bars() -> Bars:
    return random_bars()


def test_indicator_is_computed_once(bars):
    attached = IndicatorCache().attach(bars)
    first = attached.indicator(sma, "close", 20)
    assert np.shares_memory(first, attached.indicator(sma, "close", 20))
    assert np.array_equal(first, sma(bars.close, 20), equal_nan=True)
    assert not np.array_equal(first, attached.indicator(sma, "high", 20), equal_nan=True)
    assert not first.flags.writeable


def test_indicator_keeps_types_and_order_apart(bars):
    attached = IndicatorCache().attach(bars)

    def nothing(*arguments):
        return np.array(arguments[-1] if isinstance(arguments[-1], (int, float)) else 0.0) + np.zeros(len(bars))

    nothing.__qualname__ = "nothing"
    assert attached.indicator(nothing, "close", 1)[0] == attached.indicator(nothing, "close", True)[0] == 1.0
    assert attached.indicator(nothing, "close", 2)[0] == 2.0
    assert attached.indicator(nothing, 3, "close")[0] == 0.0
    assert attached.indicator(nothing, "close", 3)[0] == 3.0


def test_indicator_names_other_symbols_and_refuses_unknown_ones(bars):
    attached = IndicatorCache().attach(bars)
    assert np.array_equal(attached.indicator(sma, "GOLD", 5), sma(bars.others["GOLD"], 5), equal_nan=True)
    with pytest.raises(ValueError, match="Unknown column 'clos'; did you mean 'close'"):
        bars.indicator(sma, "clos", 5)


def test_attach_to_other_bars_forgets(bars):
    cache = IndicatorCache()
    cache.attach(bars).indicator(sma, "close", 20)
    other = cache.attach(bars[100:])
    assert np.array_equal(other.indicator(sma, "close", 20), sma(bars.close[100:], 20), equal_nan=True)
    assert bars[100:].cache is None
    assert other[5:].cache is None


def test_rows_stay_valid_while_the_shelf_grows(bars):
    attached = IndicatorCache().attach(bars)
    early = attached.indicator(sma, "close", 2)
    before = early.copy()
    for window in range(3, 60):
        attached.indicator(sma, "close", window)
    assert np.array_equal(early, before, equal_nan=True)


def test_memory_is_bounded(bars):
    definition, limit = resolve("sma_cross"), 40 * 8 * len(bars)
    cache = IndicatorCache(limit)
    for slow in range(50, 400):
        definition.block(bars, {"slow": np.array([slow])}, 1, cache)
        assert cache.n_bytes <= 2 * limit + 16 * 8 * len(bars)


def test_memory_goes_with_the_bars_that_had_it(bars):
    attached = IndicatorCache().attach(bars)
    row = weakref.ref(attached.indicator(sma, "close", 20).base)
    del attached
    assert row() is None
