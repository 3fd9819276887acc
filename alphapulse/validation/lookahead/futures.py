"""Other futures for the same past: what the look-ahead gate shows a strategy instead of what really happened."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from alphapulse.market.bars import PRICES, Bars
from alphapulse.market.timeframes import DAY
from alphapulse.typing import Float64Array1D, Int64Array1D

SECOND = 10**9
# Later bars would leave the range of nanosecond timestamps.
LATEST = int(np.datetime64("2200-01-01", "ns").astype(np.int64))


def removed(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Return the first `cut` bars only."""
    return bars[:cut]


def backwards(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Return bars whose future runs in reverse order."""
    order = np.arange(len(bars))
    order[cut:] = order[cut:][::-1]
    return _columns(bars, lambda column: column[order])


def soaring(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Return bars whose future prices are three times as high, growing, and a second apart."""
    n_later = len(bars) - cut
    factor = 3.0 + np.arange(n_later) / 100.0
    step = max(1, min(SECOND, _spacing(bars)))
    return _replaced(
        bars, cut, factor, volume=2.0, volatility=0.2, timestamp=bars.timestamp[cut - 1] + step * _count(n_later)
    )


def collapsing(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Return bars whose future prices are a fiftieth, shrinking, and start 400 days later."""
    n_later = len(bars) - cut
    factor = 0.02 / (1.0 + np.arange(n_later) / 100.0)
    start = int(bars.timestamp[cut - 1]) + 400 * DAY
    step = max(1, min(7 * _spacing(bars), (LATEST - start) // max(n_later, 1)))
    return _replaced(bars, cut, factor, volume=0.1, volatility=5.0, timestamp=start + step * _count(n_later))


def extreme(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Return bars whose future prices jump between a million times and a millionth of what they were."""
    factor = np.where(rng.random(len(bars) - cut) < 0.5, 1e6, 1e-6)
    return _replaced(bars, cut, factor, volume=1e6, volatility=1e3, timestamp=bars.timestamp[cut:])


def longer(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Return bars whose future is shuffled, noisy, and half as long again."""
    n_later = len(bars) - cut
    order = np.concatenate([np.arange(cut), rng.integers(cut, len(bars), n_later + n_later // 2 + 5)])
    timestamp = np.concatenate(
        [bars.timestamp[:cut], bars.timestamp[cut - 1] + _spacing(bars) * _count(len(order) - cut)]
    )
    factor = np.ones(len(order))
    factor[cut:] = np.exp(rng.normal(0.0, 0.3, len(order) - cut))
    shuffled = replace(_columns(bars, lambda column: column[order]), timestamp=timestamp)
    return sealed(replace(shuffled, **{name: getattr(shuffled, name) * factor for name in PRICES}))


FUTURES: Mapping[str, Callable[[Bars, int, np.random.Generator], Bars]] = {
    "removed": removed,
    "collapsing": collapsing,
    "soaring": soaring,
    "extreme": extreme,
    "backwards": backwards,
    "longer": longer,
}


def foreign(bars: Bars, rng: np.random.Generator) -> Bars:
    """Return bars with the same timestamps and none of the same prices."""
    factor = np.exp(np.cumsum(rng.normal(0.0, 0.02, len(bars))))
    order = rng.permutation(len(bars))
    other = replace(_columns(bars, lambda column: column[order]), timestamp=bars.timestamp)
    return sealed(replace(other, **{name: getattr(bars, name)[::-1] * factor for name in PRICES}))


def sealed(bars: Bars) -> Bars:
    """Return a copy of `bars` that cannot be written to."""
    return _columns(bars, np.copy, timestamps=True)


def _columns(bars: Bars, change: Callable[[np.ndarray], np.ndarray], timestamps: bool = False) -> Bars:
    def column(values: np.ndarray) -> np.ndarray:
        changed = np.ascontiguousarray(change(values))
        changed.flags.writeable = False
        return changed

    changed: dict[str, Any] = {name: column(getattr(bars, name)) for name in (*PRICES, "volume", "volatility")}
    return replace(
        bars,
        timestamp=column(bars.timestamp) if timestamps else bars.timestamp,
        others={name: column(close) for name, close in bars.others.items()},
        parts={name: column(part) for name, part in bars.parts.items()},
        cache=None,
        **changed,
    )


def _replaced(
    bars: Bars, cut: int, factor: Float64Array1D, *, volume: float, volatility: float, timestamp: Int64Array1D
) -> Bars:
    def scaled(column: Float64Array1D, by: Float64Array1D | float) -> Float64Array1D:
        changed = column.copy()
        changed[cut:] *= by
        changed.flags.writeable = False
        return changed

    later = bars.timestamp.copy()
    later[cut:] = timestamp
    later.flags.writeable = False
    prices: dict[str, Any] = {name: scaled(getattr(bars, name), factor) for name in PRICES}
    return replace(
        bars,
        timestamp=later,
        volume=scaled(bars.volume, volume),
        volatility=scaled(bars.volatility, volatility),
        others={name: scaled(close, factor[::-1]) for name, close in bars.others.items()},
        parts={name: scaled(part, factor[::-1]) for name, part in bars.parts.items()},
        cache=None,
        **prices,
    )


def _count(n: int) -> Int64Array1D:
    return np.arange(1, n + 1, dtype=np.int64)


def _spacing(bars: Bars) -> int:
    return int(np.median(np.diff(bars.timestamp))) if len(bars) > 1 else DAY
