"""What a strategy says of bars, and whether it says something else of others."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alphapulse.errors import StrategyError
from alphapulse.market.bars import Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.strategies.columns import place_of
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.typing import BoolArray1D

TARGET = "target"
PARTS = ("indicators", "atr", TARGET)
# Numpy may add the same numbers in another order in an array of another length.
ROUNDING = 1e-12

Series = dict[str, np.ndarray]


def ask(definition: StrategyDefinition, point: Mapping[str, Any], bars: Bars, parts: tuple[str, ...] = PARTS) -> Series:
    """Return indicators, average true range and target by name, each from a strategy made for it.

    Raises
    ------
    StrategyError
        If one of them is not of (n_bars, ...).
    """
    remembered = IndicatorCache().attach(bars)
    found: dict[str, Any] = {}
    if "indicators" in parts:
        found |= definition.build(point).indicators(remembered)
    if "atr" in parts:
        found["stop atr" if "atr" in found else "atr"] = definition.build(point).atr(remembered)
    if TARGET in parts:
        found[TARGET] = definition.build(point).target(remembered)
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}
    for name, values in arrays.items():
        if values.shape[:1] != (len(bars),):
            got = f"shape {values.shape}"
            where = place_of(definition.build(point))
            raise StrategyError(f"`{name}` must have one row a bar, ({len(bars)}, ...), but got {got}{where}.")
    return arrays


def decided_together(
    definition: StrategyDefinition, bars: Bars, points: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the places of the points that a sweep's batch path can decide for, each with its targets."""
    columns = {name: [p.get(name, q.default) for p in points] for name, q in definition.parameters.items()}
    if bars.symbols:
        for members, targets, _ in definition.portfolio_block(bars, columns, len(points)).groups():
            yield from ((place, targets) for place in members.tolist())
        return
    block = definition.block(bars, columns, len(points), IndicatorCache())
    n_bars = len(bars)
    middle = n_bars // 3
    places = np.arange(len(points))
    parts = [np.empty((len(points), middle)), np.empty((len(points), n_bars - middle))]
    block.fill(0, middle, places, parts[0])
    block.fill(middle, n_bars, places, parts[1])
    yield from ((place, out) for place, out in enumerate(np.hstack(parts)) if place not in block.failures)


def difference(expected: np.ndarray, got: np.ndarray, *, exact: bool) -> BoolArray1D:
    """Whether each bar differs: in any bit, or if not `exact` by more than the order of additions can explain."""
    if expected.shape != got.shape:
        return np.ones(len(expected), dtype=np.bool_)
    expected, got = np.ascontiguousarray(expected), np.ascontiguousarray(got)
    same = expected.view(np.int64) == got.view(np.int64)
    if not same.all():
        same |= np.isnan(expected) & np.isnan(got)
        if not exact:
            with np.errstate(invalid="ignore"):
                same |= np.abs(expected - got) <= ROUNDING * np.abs(expected)
    different: BoolArray1D = ~same if same.ndim == 1 else ~same.reshape(len(same), -1).all(axis=1)
    return different
