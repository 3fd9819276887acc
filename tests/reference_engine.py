"""The engine in the plainest Python, one bar at a time: the specification that the compiled kernel is held to.

It is written sentence by sentence from docs/definitions.md, section 4.3 and the trades of 4.4, and shares nothing with
the code that it judges. How sentences are read, where they leave a choice, stands on that page under Readings.

The compiled functions that it covers, by module of `alphapulse.backtesting`; each other one of the kernel has a plain
twin, NAME_python, beside it:

    loop: _exceeds _clip _load_targets _watch _watch_risk _watch_time _ruin_insolvent _trade
    loop: _leave_inside _mark run_tile
    fills: sized liquidation load_ranges book_order _set_trigger turn_strip close_trade order_strip
    fills: write_order write_fill leave ruin count_traded exit_position
    orders: commission_of _solved _size_by_risk _want _bind_minimum _round_to_lots order_strip_full turn_strip_full
    orders: write_order_full
    exits: _reaches _bad_exit_cost exit_inside _take_profit
    moments: _add _load _store add_returns close_block
    totals: sum_benchmark write_moments
"""

import math

import numpy as np
from reference_trades import E, ReferenceResult, Trade

DEFAULTS = {
    "initial_capital": 100_000.0,
    "execution": "next_open",
    "commission": 0.001,
    "commission_per_order": 0.0,
    "commission_per_unit": 0.0,
    "commission_minimum": 0.0,
    "slippage": 0.0005,
    "stop_slippage": 0.0,
    "lot": 0.0,
    "rebalance_band": 0.05,
    "rebalance_frequency": "bar",
    "short_borrow_rate": 0.0,
    "cash_rate": 0.0,
    "funding": None,
    "max_leverage": 1.0,
    "maintenance_margin": 0.0,
    "allow_short": True,
    "reentry": "new_signal",
    "max_bars": 0,
    "stop.kind": "atr",
    "stop.percent": 0.05,
    "stop.multiplier": 2.0,
    "stop.trailing": False,
    "take_profit.kind": "none",
    "take_profit.percent": 0.1,
    "take_profit.multiplier": 3.0,
    "sizing.kind": "target",
    "sizing.target_volatility": 0.15,
    "sizing.window": 63,
    "sizing.risk_per_trade": 0.01,
}
"""The fields of the page, by dotted name."""


def sign(x):
    return (x > 0) - (x < 0)


def equals(x, y):
    return abs(x - y) <= E * max(abs(x), abs(y))


def reaches(direction, price, level):
    """Whether `price` is beyond `level` (or equal) on the way that `direction` points: 1 up, -1 down."""
    return direction * (price - level) >= 0 or equals(price, level)


def realized_volatility(close, decision, window, periods_per_year):
    """Annualised standard deviation of the log returns of `window` bars to the decision [1]; NaN where undefined."""
    if decision - window < 0 or window < 2:
        return math.nan
    returns = [math.log(close[i] / close[i - 1]) for i in range(decision - window + 1, decision + 1)]
    mean = sum(returns) / window
    return math.sqrt(sum((r - mean) ** 2 for r in returns) / (window - 1) * periods_per_year)


class Engine:
    """One run; `rules` are the engine's fields by dotted name."""

    def __init__(self, prices, target, atr, rules, periods_per_year, first, may_trade, borrow, funding):
        self.open, self.high, self.low, self.close = prices
        self.target, self.atr, self.rules = target, atr, rules
        self.periods_per_year, self.first, self.may_trade = periods_per_year, first, may_trade
        self.borrow, self.funding = borrow, funding
        self.cash, self.units = rules["initial_capital"], 0.0
        self.stop = self.take = None
        self.entry_bar = self.allocated = self.best = None
        self.atr_distance = None
        self.blocked = 0
        self.trade = None
        self.stood = False
        self.result = ReferenceResult()

    # What things cost.

    def commission(self, x, price):
        r = self.rules
        paid = r["commission_per_order"] + r["commission_per_unit"] * x / price + r["commission"] * x
        # A minimum of 0 is none, or no commission could be a rebate.
        return max(r["commission_minimum"], paid) if r["commission_minimum"] > 0 else paid

    def costs(self, x, price):
        return self.commission(x, price) + self.rules["slippage"] * x

    # How much is asked for.

    def allocation(self, due, decision):
        r, a = self.rules, due
        if not r["allow_short"]:
            a = max(a, 0.0)
        if abs(a) <= E:
            return 0.0
        kind = r["sizing.kind"]
        if kind == "volatility":
            volatility = realized_volatility(self.close, decision, r["sizing.window"], self.periods_per_year)
            a = a * r["sizing.target_volatility"] / volatility if volatility > 0 else 0.0
        if kind == "risk":
            if self.units != 0 and sign(a) == sign(self.units):
                a = self.allocated
            else:
                distance = self.distance(r, "stop", self.close[decision], decision)
                a = (
                    0.0
                    if distance is None
                    else sign(a) * r["sizing.risk_per_trade"] / (distance / self.close[decision])
                )
        a = min(max(a, -r["max_leverage"]), r["max_leverage"])
        return 0.0 if abs(a) <= E else a

    def distance(self, r, what, price, decision):
        """Distance of a stop or take profit from a fill at `price`; None where there is none."""
        kind = r[f"{what}.kind"]
        if kind == "percent":
            found = r[f"{what}.percent"] * price
        elif kind == "atr":
            found = r[f"{what}.multiplier"] * self.atr[decision]
        else:
            return None
        return found if found > 0 else None

    def sized(self, a, v, equity, price):
        """The v' of Sizing; None where there is none in the direction of a*E - v."""
        r = self.rules
        s = sign(a * equity - v)

        def solve(fixed, rate):
            # v' = a*(E - fixed - rate*s*(v' - v))
            if abs(a) * rate >= 1:
                return None
            found = a * (equity - fixed + s * rate * v) / (1 + s * a * rate)
            return found if s * (found - v) > 0 else None

        per_value = r["commission_per_unit"] / price + r["commission"]
        found = solve(r["commission_per_order"], per_value + r["slippage"])
        minimum = r["commission_minimum"]
        if found is not None and minimum > 0 and r["commission_per_order"] + per_value * abs(found - v) < minimum:
            found = solve(minimum, r["slippage"])
        return found

    def rounded(self, units):
        lot = self.rules["lot"]
        if lot == 0:
            return units
        quotient = units / lot
        whole = float(round(quotient))
        return (whole if equals(quotient, whole) else float(math.trunc(quotient))) * lot

    # What changes a position.

    def fill(self, t, reason, price, units, cost, equity):
        """Book a fill that leaves `units`; `equity` is the one before it, `cost` what is paid."""
        v, traded = self.units * price, (units - self.units) * price
        self.cash -= traded + cost
        self.result.fills.append((t, reason, price, units - self.units, cost))
        self.result.costs += cost
        if equity > E * abs(traded):
            self.result.turnover += abs(traded) / equity
        closes = self.units != 0 and sign(units) != sign(self.units)
        opens = units != 0 and sign(units) != sign(self.units)
        share = cost * abs(v) / abs(traded) if closes else 0.0
        # Interest at cash_rate is outside of trades.
        base = equity - share - self.result.interest
        if closes:
            trade = self.trade
            trade.exit_bar, trade.exit_price, trade.reason = t, price, "target" if reason == "order" else reason
            trade.profit = base - trade.base
            self.trade = self.stop = self.take = self.allocated = None
        if opens:
            self.trade = Trade(sign(units), t, price, base, equity)
            self.result.trades.append(self.trade)
            self.entry_bar = t
        self.units = units
        self.stood = True
        return opens

    def ruin(self, t, price):
        """Close what is held for nothing; equity is 0 to the end."""
        if self.units != 0:
            equity = self.cash + self.units * price
            self.close_ruined(t, "ruin", price, 0.0, equity)
        self.cash, self.result.ruined = 0.0, True

    def close_ruined(self, t, reason, price, cost, equity):
        # What is missing is not owed: the trade ends with an equity of 0.
        self.fill(t, reason, price, 0.0, cost, equity)
        trade = self.result.trades[-1]
        trade.profit = 0.0 - self.result.interest - trade.base
        trade.reason = "liquidation" if reason == "ruin" else reason
        self.cash, self.result.ruined = 0.0, True

    def order(self, t, decision, price, a):
        """Send the order of a moment for allocation `a`, if one is sent; return whether it was."""
        r = self.rules
        v = self.units * price
        equity = self.cash + v
        off = abs(a * equity - v) > (r["rebalance_band"] + E) * equity
        if not (off or a * v < 0 or (a == 0 and v != 0)):
            return False
        value = self.sized(a, v, equity, price)
        if value is None:
            return False
        units = self.rounded(value / price)
        if units == self.units:
            return False
        traded = abs(units - self.units) * price
        cost = self.costs(traded, price)
        if equity - cost <= E * traded:
            return False
        if self.fill(t, "order", price, units, cost, equity):
            self.set_levels(decision, price, a)
        return True

    def set_levels(self, decision, price, a):
        r, d = self.rules, sign(self.units)
        self.allocated, self.best = a, None
        distance = self.distance(r, "stop", price, decision)
        self.stop = None if distance is None else price - d * distance
        self.atr_distance = distance
        if r["take_profit.kind"] == "stop":
            gain = None if distance is None else r["take_profit.multiplier"] * distance
            gain = gain if gain else None
        else:
            gain = self.distance(r, "take_profit", price, decision)
        self.take = None if gain is None else price + d * gain

    def exit(self, t, reason, price, cost):
        """Close a position by stop, take profit or liquidation, which want of equity never holds back."""
        v = self.units * price
        equity = self.cash + v
        d = sign(self.units)
        if equity - cost <= E * abs(v):
            self.close_ruined(t, reason, price, min(cost, max(equity, 0.0)), equity)
            return
        self.fill(t, reason, price, 0.0, cost, equity)
        self.block(d)

    def block(self, direction):
        if self.rules["reentry"] == "new_signal":
            self.blocked = direction

    # What happens in a bar.

    def moment(self, t, price):
        """The moment of bar t at which orders fill: a time exit or an order."""
        r = self.rules
        decision = t if r["execution"] == "same_close" else t - 1
        if decision >= 0:
            due = 0.0 if abs(self.target[decision]) <= E else self.target[decision]
            if self.blocked != 0 and sign(due) != self.blocked:
                self.blocked = 0
        may_order = decision >= 0 and self.may_trade[t]
        timed = r["max_bars"] > 0 and self.units != 0 and t >= self.entry_bar + r["max_bars"]
        equity = self.cash + self.units * price
        if self.units != 0 and equity <= 0 and (may_order or timed):
            self.ruin(t, price)
            return
        if equity <= 0:
            return
        a = self.allocation(due, decision) if may_order else None
        d = sign(self.units)
        if timed:
            if may_order and sign(a) != d:
                self.order(t, decision, price, a)
                return
            x = abs(self.units) * price
            cost = self.costs(x, price)
            if equity - cost > E * x:
                self.fill(t, "time", price, 0.0, cost, equity)
                self.block(d)
            return
        if may_order and self.blocked == 0:
            self.order(t, decision, price, a)

    def inside(self, t):
        """Liquidation, stop or take profit of the position as it now stands."""
        if self.units == 0:
            return
        r, d, u, m = self.rules, sign(self.units), abs(self.units), self.rules["maintenance_margin"]
        open_, worst, best = (
            self.open[t],
            self.low[t] if d > 0 else self.high[t],
            self.high[t] if d > 0 else self.low[t],
        )
        x_of = lambda price: u * price  # noqa: E731
        if self.take is not None and reaches(d, open_, self.take):
            price = max(open_, self.take) if d > 0 else min(open_, self.take)
            self.exit(t, "take_profit", price, self.commission(x_of(price), price))
            return
        # cash + units*p = m*|units|*p; a long without debt has no such price.
        margin = None if d > 0 and self.cash >= 0 else self.cash / (m * u - self.units)
        level, reason = self.stop, "stop"
        if margin is not None and (level is None or (d * (margin - level) > 0 and not equals(margin, level))):
            level, reason = margin, "liquidation"
        if level is not None and reaches(-d, worst, level):
            if self.take is not None and reaches(d, best, self.take) and not reaches(-d, open_, level):
                self.result.n_both += 1
            price = min(open_, level) if d > 0 else max(open_, level)
            x = x_of(price)
            self.exit(t, reason, price, self.costs(x, price) + r["stop_slippage"] * x)
        elif self.take is not None and reaches(d, best, self.take):
            price = max(open_, self.take) if d > 0 else min(open_, self.take)
            self.exit(t, "take_profit", price, self.commission(x_of(price), price))

    def carry(self, t):
        v = self.units * self.close[t]
        interest = self.cash * self.rules["cash_rate"] / self.periods_per_year
        borrow = abs(v) * self.borrow[t] / self.periods_per_year if v < 0 else 0.0
        self.cash += interest - borrow - self.funding[t] * v
        self.result.interest += interest

    def trail(self, t):
        if not self.rules["stop.trailing"] or self.stop is None or self.units == 0:
            return
        d = sign(self.units)
        close = self.close[t]
        self.best = close if self.best is None else d * max(d * self.best, d * close)
        percent = self.rules["stop.kind"] == "percent"
        distance = self.rules["stop.percent"] * self.best if percent else self.atr_distance
        self.stop = d * max(d * self.stop, d * (self.best - d * distance))

    def run(self):
        at_open = self.rules["execution"] == "next_open"
        result, before = self.result, self.rules["initial_capital"]
        for t in range(self.first, len(self.close)):
            self.stood = self.units != 0
            if not result.ruined and at_open:
                self.moment(t, self.open[t])
            if not result.ruined:
                self.inside(t)
            if not result.ruined and not at_open:
                self.moment(t, self.close[t])
            if not result.ruined:
                self.carry(t)
            equity = self.cash + self.units * self.close[t]
            if not result.ruined and equity <= 0:
                self.ruin(t, self.close[t])
            equity = 0.0 if result.ruined else equity
            self.trail(t)
            result.n_exposed += self.stood or self.units != 0
            result.equity.append(equity)
            result.units.append(self.units)
            result.cash.append(self.cash)
            result.allocation.append(self.units * self.close[t] / equity if equity > 0 else 0.0)
            result.returns.append(equity / before - 1 if before > 0 else 0.0)
            before = equity
        if self.trade is not None:
            self.trade.levels = (self.stop, self.take)
            self.trade.profit = result.equity[-1] - result.interest - self.trade.base
        return result


def run_reference(
    open_, high, low, close, target, atr, engine, periods_per_year, first=0, week_start=None, month_start=None,
    borrow=None, funding=None,
):  # fmt: skip
    """Simulate `engine` (EngineParams) over bars [first, n) and return a ReferenceResult.

    `borrow` and `funding` are what the joined series say in each bar: an annual rate, and a rate of the value.
    """
    rules = DEFAULTS | engine.values
    n = len(close)
    starts = {"bar": [True] * n, "week": week_start, "month": month_start}[rules["rebalance_frequency"]]
    return Engine(
        (open_, high, low, close), target, atr, rules, periods_per_year, first,
        [t == first or bool(starts[t]) for t in range(n)],
        [rules["short_borrow_rate"]] * n if borrow is None else borrow,
        [0.0] * n if funding is None else funding,
    ).run()  # fmt: skip


def week_and_month_starts(timestamp):
    """Return whether each bar (n,) datetime64[ns] is the first of an ISO week and of a month."""
    days = timestamp.astype("datetime64[D]")
    weeks = (days.astype(np.int64) + 3) // 7
    months = days.astype("datetime64[M]").astype(np.int64)
    return np.r_[True, np.diff(weeks) != 0], np.r_[True, np.diff(months) != 0]
