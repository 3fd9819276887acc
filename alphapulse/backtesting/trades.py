"""Round trips out of the fills of one trial (docs/definitions.md, 4.4 trades)."""

from dataclasses import dataclass

import numpy as np

from alphapulse.backtesting.account.state import DELISTED_FILL
from alphapulse.backtesting.kernel.fills import (
    LIQUIDATION_FILL,
    ORDER_FILL,
    RUIN_FILL,
    STOP_FILL,
    TAKE_PROFIT_FILL,
    TIME_FILL,
)
from alphapulse.market.bars import Bars
from alphapulse.typing import Float64Array1D, Float64Array2D

FILL_REASONS = {
    ORDER_FILL: "order",
    STOP_FILL: "stop",
    TAKE_PROFIT_FILL: "take_profit",
    TIME_FILL: "time",
    LIQUIDATION_FILL: "liquidation",
    RUIN_FILL: "ruin",
    DELISTED_FILL: "delisted",
}
EXIT_REASONS = FILL_REASONS | {ORDER_FILL: "target", RUIN_FILL: "liquidation"}
OPEN_REASON = "end"

INSIDE = (STOP_FILL, TAKE_PROFIT_FILL, LIQUIDATION_FILL)


@dataclass(slots=True)
class Trade:
    """One round trip; see `BacktestResult.trades`. `cause` is the fill's reason, -1 while it is open."""

    units: float
    entry_bar: int
    entry_price: float
    equity: float
    base: float
    exit_bar: int = -1
    exit_price: float = np.nan
    cause: float = -1.0
    net_profit: float = np.nan
    worst: float = np.nan
    best: float = np.nan

    @property
    def reason(self) -> str:
        """Why it ended."""
        return OPEN_REASON if self.cause < 0.0 else EXIT_REASONS[self.cause]

    @property
    def direction(self) -> float:
        """1 of a long, -1 of a short."""
        return 1.0 if self.units > 0.0 else -1.0


def round_trips(
    bars: Bars, first: int, fills: Float64Array2D, equity: Float64Array1D, earned: Float64Array1D, *, at_open: bool
) -> list[Trade]:
    """Return the round trips of one trial, in order; the last may be open, marked at the last close.

    Parameters
    ----------
    bars : Bars
    first : int
        First scored bar.
    fills : (n_fills, 8) float64
        By `FILL_COLUMNS`, bars counted from the first of `bars`.
    equity, earned : (n_scored,) float64
        At each close: equity, and interest on cash so far [quote].
    at_open : bool
        Whether orders fill at opens.
    """
    trades: list[Trade] = []
    running: Trade | None = None
    before = 0.0
    for bar_, reason, price, _, value, cost, left, after in map(np.ndarray.tolist, fills):
        bar = int(bar_)
        interest = float(earned[bar - first - 1]) if bar > first else 0.0
        base = left + cost - interest
        if running is not None and np.sign(after) != np.sign(before):
            # A flip's cost is shared by value between the trade that it closes and the one that it opens.
            base -= cost if after == 0.0 else cost * abs(before * price / value)
            running.exit_bar, running.exit_price, running.cause = bar, price, reason
            running.net_profit = base - running.base
            running = None
        if running is None and after != 0.0:
            running = Trade(after, bar, price, left + cost, base)
            trades.append(running)
        before = after
    if running is not None:
        running.exit_bar, running.exit_price = len(bars) - 1, float(bars.close[-1])
        running.net_profit = float(equity[-1] - earned[-1]) - running.base
    for trade in trades:
        trade.worst, trade.best = excursions(bars, trade, at_open)
    return trades


def excursions(bars: Bars, trade: Trade, at_open: bool) -> tuple[float, float]:
    """Return the worst and the best move of the price from the entry, times the direction [1].

    Whole bars count where the position stood through all of them; of a bar that it is left in by a stop, a take profit
    or a liquidation, the open and the fill.
    """
    begin = trade.entry_bar + (0 if at_open else 1)
    at_close = trade.cause < 0.0 or (not at_open and trade.cause not in INSIDE) or trade.cause == RUIN_FILL
    end = trade.exit_bar + (1 if at_close else 0)
    prices = [bars.low[begin:end], bars.high[begin:end], np.array([trade.entry_price, trade.exit_price])]
    if trade.cause in INSIDE and trade.exit_bar >= begin:
        prices.append(bars.open[trade.exit_bar : trade.exit_bar + 1])
    moves = trade.direction * (np.concatenate(prices) / trade.entry_price - 1.0)
    return float(moves.min()) + 0.0, float(moves.max()) + 0.0
