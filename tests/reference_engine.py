"""The engine in the plainest Python, one bar at a time: the specification that the compiled kernel is held to.

How the sentences of the definition are read, where they leave a choice:

- The run starts flat at bar `first`. The due target of bar t is target[t-1] (same_close: target[t]), clipped to the
  leverage; at bar 0 of the data, next_open and next_close have none. Bar `first` begins a week and a month.
- An order may be sent at one price of each bar, the open (next_open) or the close, if the frequency lets this bar
  trade. "Changes sign" compares the target with the position: a flip is sent inside the band too, an entry is not.
- A flip is one fill. A fill that makes the position exactly 0 leaves no stop behind.
- The block of a stopped direction is lifted by the due target at the order's place in the bar, on every bar, traded
  or not. After a stop in bar t that is the open of t+1 (next_open), or the close of the same bar (next_close,
  same_close), where the position may be opened the other way at once.
- The distance of a stop is fixed when the position opens, from the fill price (percent) or the ATR of the bar whose
  target is filled (atr). Trailing moves the stop to close - d*distance if that is nearer, at every close at which
  the position is held, the close of its first bar included; the moved stop works from the next bar on.
- A stop of a position carried over a gap fills at the open; one opened at this open is compared with the same
  low and high. A position opened at a close is first checked in the next bar.
- Equity at or below 0 at the price of an order that may be sent (position held), or at a close after interest, is
  ruin: the position is closed as a fill of its own without costs, for nobody is left to pay them; equity is 0 and
  returns are -1 in that bar and 0 after it. A stop's own price is not an order's: the close of its bar decides.
- Interest: cash earns cash_rate/periods_per_year of itself, a short pays short_borrow_rate/periods_per_year of its
  value, both on what stands at the close before either is booked.

The compiled functions that it covers, by module of `alphapulse.backtesting`; each other one of the kernel has a plain
twin, NAME_python, beside it:

    kernel: _exceeds _clip _load_targets _watch _ruin_insolvent _trade _stop _mark run_tile
    kernel_fills: _sized order_strip write_order _write _leave ruin stop_out
    kernel_moments: _add _load _store add_returns close_block
    kernel_state: at
    kernel_totals: sum_benchmark
"""

import math
from dataclasses import dataclass, field

import numpy as np

SAME_CLOSE, NEXT_OPEN = "same_close", "next_open"


@dataclass
class ReferenceResult:
    """Curves by bar from `first` on, fills, and what the metrics need beside returns."""

    equity: list = field(default_factory=list)
    units: list = field(default_factory=list)
    cash: list = field(default_factory=list)
    allocation: list = field(default_factory=list)
    returns: list = field(default_factory=list)
    fills: list = field(default_factory=list)
    n_exposed: int = 0
    turnover: float = 0.0
    costs: float = 0.0
    ruined: bool = False


def sign(x):
    return (x > 0) - (x < 0)


def run_reference(
    open_, high, low, close, target, atr, engine, periods_per_year, first=0, week_start=None, month_start=None
):
    """Simulate `engine` (EngineParams) over bars [first, n) and return a ReferenceResult."""
    result = ReferenceResult()
    cost_rate = engine.commission + engine.slippage
    borrow = engine.short_borrow_rate / periods_per_year
    interest = engine.cash_rate / periods_per_year
    cash, units = engine.initial_capital, 0.0
    stop, distance = math.nan, math.nan
    blocked = 0
    before = engine.initial_capital

    def fill(t, reason, price, new_units, cost_rate_here, equity_before):
        nonlocal cash, units
        traded = abs(new_units * price - units * price)
        cost = cost_rate_here * traded
        cash = cash - (new_units * price - units * price) - cost
        result.fills.append((t, reason, price, new_units - units, cost))
        result.costs += cost
        if reason != "ruin" and equity_before > 0:
            result.turnover += traded / equity_before
        units = new_units

    for t in range(first, len(close)):
        held_in_bar = units != 0

        def ruin(price):
            nonlocal cash, units
            if units != 0:
                fill(t, "ruin", price, 0.0, 0.0, 0.0)  # noqa: B023
            cash, units = 0.0, 0.0
            result.ruined = True

        def order(price):
            nonlocal cash, units, stop, distance, blocked
            decision = t if engine.execution == SAME_CLOSE else t - 1  # noqa: B023
            if decision < 0:
                return
            a = min(max(target[decision], -engine.max_leverage), engine.max_leverage)
            if blocked != 0 and sign(a) != blocked:
                blocked = 0
            starts = {"bar": None, "week": week_start, "month": month_start}[engine.rebalance_frequency]
            if starts is not None and not (starts[t] or t == first):  # noqa: B023
                return
            if blocked != 0:
                return
            v = units * price
            equity = cash + v
            if units != 0 and equity <= 0:
                ruin(price)
                return
            if equity <= 0:
                return
            off_band = abs(a - v / equity) > engine.rebalance_band
            flips = a * v < 0
            closes = a == 0 and v != 0
            if not (off_band or flips or closes):
                return
            if a * equity > v:
                new_v = a * (equity + cost_rate * v) / (1 + a * cost_rate)
            else:
                new_v = a * (equity - cost_rate * v) / (1 - a * cost_rate)
            opens = new_v != 0 and sign(new_v) != sign(v)
            traded = new_v - v
            cost = cost_rate * abs(traded)
            cash = cash - traded - cost
            new_units = new_v / price
            result.fills.append((t, "order", price, new_units - units, cost))  # noqa: B023
            result.costs += cost
            result.turnover += abs(traded) / equity
            units = new_units
            if opens:
                if engine.stop.kind == "percent":
                    distance = engine.stop.percent * price
                elif engine.stop.kind == "atr":
                    distance = engine.stop.multiplier * atr[decision]
                else:
                    distance = math.nan
                stop = price - sign(units) * distance

        def check_stop():
            nonlocal blocked
            if units > 0 and low[t] <= stop:  # noqa: B023
                price = min(open_[t], stop)  # noqa: B023
            elif units < 0 and high[t] >= stop:  # noqa: B023
                price = max(open_[t], stop)  # noqa: B023
            else:
                return
            if engine.reentry == "new_signal":
                blocked = sign(units)
            fill(t, "stop", price, 0.0, cost_rate + engine.stop_slippage, cash + units * price)  # noqa: B023

        if not result.ruined and engine.execution == NEXT_OPEN:
            order(open_[t])
            held_in_bar = held_in_bar or units != 0
        if not result.ruined:
            check_stop()
        if not result.ruined and engine.execution != NEXT_OPEN:
            order(close[t])

        borrowed = abs(units * close[t]) if units < 0 else 0.0
        cash = cash + cash * interest - borrow * borrowed
        equity = cash + units * close[t]
        held_in_bar = held_in_bar or units != 0
        if not result.ruined and equity <= 0:
            ruin(close[t])
        if result.ruined:
            equity = 0.0
        if engine.stop.trailing and units > 0:
            stop = max(stop, close[t] - distance) if stop == stop else stop
        if engine.stop.trailing and units < 0:
            stop = min(stop, close[t] + distance) if stop == stop else stop

        result.n_exposed += held_in_bar
        result.equity.append(equity)
        result.units.append(units)
        result.cash.append(cash)
        result.allocation.append(units * close[t] / equity if equity > 0 else 0.0)
        result.returns.append(equity / before - 1 if before > 0 else 0.0)
        before = equity
    return result


def week_and_month_starts(timestamp):
    """Return whether each bar (n,) datetime64[ns] is the first of an ISO week and of a month."""
    days = timestamp.astype("datetime64[D]")
    weeks = (days.astype(np.int64) + 3) // 7
    months = days.astype("datetime64[M]").astype(np.int64)
    return np.r_[True, np.diff(weeks) != 0], np.r_[True, np.diff(months) != 0]
