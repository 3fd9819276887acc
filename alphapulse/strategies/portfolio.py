"""The seam of an account: a strategy turns the bars of many symbols into a target for each of them."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from alphapulse.errors import LimitExceeded
from alphapulse.market.bars import Bars
from alphapulse.strategies.base import Strategy
from alphapulse.strategies.columns import Settings, checked_target, describe, place_of, timestamp_text
from alphapulse.typing import BoolArray2D, Float64Array1D, Float64Array2D, Int64Array1D

__all__ = ["Bars", "PortfolioBlock", "PortfolioStrategy", "checked_decisions", "checked_ranges", "checked_targets"]


class PortfolioStrategy(Strategy):
    """A strategy that decides for many symbols at once: a frozen dataclass whose `targets` are the decision.

    What it may look at is in `bars`: `bars.symbols`, `bars.of(SYMBOL)` with the whole bars and the indicators of each,
    and `bars.matrix("close")` with one column a symbol, NaN where it has no bar.
    """

    @abstractmethod
    def targets(self, bars: Bars) -> Float64Array2D:
        """Return the targets (n_bars, n_symbols) [1] decided at the close of each bar, in the order of `bars.symbols`.

        NaN is flat in the first `lookback` bars that a symbol has, and where it has no bar leaves its target as it is.
        """

    def target(self, bars: Bars) -> Float64Array1D:
        """Return `targets`."""
        return self.targets(bars)  # type: ignore[return-value]


class PortfolioBlock:
    """Targets of a block of trials of a portfolio strategy, see `AccountTargets`.

    Parameters
    ----------
    bars : Bars
        Of an account.
    settings : Settings
    construct : callable
        It makes the strategy of one trial from its values by name.
    """

    def __init__(self, bars: Bars, settings: Settings, construct: Callable[[Mapping[str, Any]], Strategy]) -> None:
        self.failures: Mapping[int, str] = dict(settings.failures)
        self._bars, self._settings, self._construct = bars, settings, construct

    def groups(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield trials that decide alike, their targets and average true ranges, computed as they are asked for."""
        known = ~np.isnan(self._bars.matrix())
        for values, members in zip(self._settings.values, self._settings.trials, strict=True):
            try:
                strategy = self._construct(values)
                target = checked_targets(strategy, self._bars, known)
                average = checked_ranges(strategy, self._bars)
            except (Exception, SystemExit, LimitExceeded) as error:
                self.failures = {**self.failures, **dict.fromkeys(members, describe(error))}
                continue
            yield np.array(members, dtype=np.int64), target, average


def checked_decisions(strategy: Strategy, bars: Bars) -> np.ndarray:
    """Return what `checked_target` does, or of an account's bars `checked_targets`."""
    return checked_targets(strategy, bars) if bars.symbols else checked_target(strategy, bars)


def checked_targets(strategy: Strategy, bars: Bars, known: BoolArray2D | None = None) -> Float64Array2D:
    """Return the targets (n_bars, n_symbols) of a strategy, every NaN that means something in its place.

    Parameters
    ----------
    strategy : Strategy
    bars : Bars
        Of an account.
    known : (n_bars, n_symbols) bool, optional
        Where symbols have bars.

    Raises
    ------
    ValueError
        If they are not one finite number a bar and symbol.
    """
    target = np.asarray(strategy.target(bars))
    shape = (len(bars), len(bars.symbols))
    if target.shape != shape or target.dtype.kind not in "fiub":
        got = f"shape {target.shape} of {target.dtype}"
        raise ValueError(
            f"`targets` must be one number a bar and symbol, shape {shape}, but got {got}{place_of(strategy)}."
        )
    target = np.array(target, dtype=np.float64)
    unknown = np.isnan(target)
    if unknown.any():
        known = ~np.isnan(bars.matrix()) if known is None else known
        early = np.cumsum(known, axis=0) <= strategy.lookback()
        target[unknown & early] = 0.0
        stays = unknown & ~early & ~known
        place = np.where(stays, 0, np.arange(len(bars))[:, None])
        target = np.take_along_axis(target, np.maximum.accumulate(place, axis=0), axis=0)
    wrong = np.argwhere(~np.isfinite(target))
    if len(wrong):
        t, s = wrong[0].tolist()
        raise ValueError(
            f"`targets` must be finite, but got {target[t, s]} for {bars.symbols[s]} at {timestamp_text(bars, t)}; NaN "
            f"is flat in the first {strategy.lookback()} bars of a symbol only, and leaves a target as it is where the "
            f"symbol has no bar{place_of(strategy)}."
        )
    return target


def checked_ranges(strategy: Strategy, bars: Bars) -> Float64Array2D:
    """Return the average true ranges (n_bars, n_symbols) of a strategy [quote].

    Raises
    ------
    ValueError
        If they are not one number a bar and symbol.
    """
    average = np.asarray(strategy.atr(bars))
    shape = (len(bars), len(bars.symbols))
    if average.shape != shape or average.dtype.kind not in "fiu":
        got = f"shape {average.shape} of {average.dtype}"
        raise ValueError(f"`atr` must be one number a bar and symbol, shape {shape}, but got {got}.")
    return np.asarray(average, dtype=np.float64)
