"""What the plain engine returns: curves, fills and round trips, and the metrics of docs/definitions.md, 4.4."""

import math
from dataclasses import dataclass, field

E = 2.0**-40
"""Relative size below which money counts as none (4.3)."""


@dataclass
class Trade:
    """A round trip (4.4); `exit_bar` is None while it is open."""

    direction: int
    entry_bar: int
    entry_price: float
    base: float
    equity: float
    exit_bar: int | None = None
    exit_price: float = math.nan
    reason: str = "end"
    profit: float = math.nan
    levels: tuple = (math.nan, math.nan)

    @property
    def bars(self):
        return self.exit_bar - self.entry_bar

    @property
    def wins(self):
        return self.profit > E * self.equity

    @property
    def loses(self):
        return self.profit < -E * self.equity


@dataclass
class ReferenceResult:
    """Curves by bar from `first` on, fills, trades, and what the metrics need beside returns."""

    equity: list = field(default_factory=list)
    units: list = field(default_factory=list)
    cash: list = field(default_factory=list)
    allocation: list = field(default_factory=list)
    returns: list = field(default_factory=list)
    fills: list = field(default_factory=list)
    trades: list = field(default_factory=list)
    n_exposed: int = 0
    turnover: float = 0.0
    costs: float = 0.0
    interest: float = 0.0
    n_both: int = 0
    ruined: bool = False

    @property
    def closed(self):
        return [trade for trade in self.trades if trade.exit_bar is not None]

    def trade_metrics(self):
        """The metrics of 4.4 that are made of closed trades."""
        closed = self.closed
        won = [t.profit for t in closed if t.wins]
        lost = [t.profit for t in closed if t.loses]
        n = len(closed)
        return {
            "n_trades": n,
            "win_rate": len(won) / n if n else math.nan,
            "profit_factor": sum(won) / -sum(lost) if lost else math.nan,
            "payoff": (sum(won) / len(won)) / (-sum(lost) / len(lost)) if won and lost else math.nan,
            "expectancy": sum(t.profit for t in closed) / n if n else math.nan,
            "average_trade": sum(t.bars for t in closed) / n if n else math.nan,
            "longest_trade": max(t.bars for t in closed) if n else math.nan,
        }
