"""One account of many symbols in the plainest Python, one bar at a time: what `backtesting/account/` is held to.

It is written from docs/definitions.md, section An account, and shares nothing with the code that it judges. Where a
symbol has no bar its prices are None. What one symbol alone does is said as in `reference_engine`.
"""

import math

from reference_engine import DEFAULTS, equals, reaches, sign
from reference_trades import E, ReferenceResult, Trade

SYMBOL_FIELDS = (
    "commission", "commission_per_order", "commission_per_unit", "commission_minimum", "slippage", "stop_slippage",
    "lot", "short_borrow_rate",
)  # fmt: skip


class Symbol:
    """One symbol's prices, targets and position."""

    def __init__(self, name, rows, target, atr, rules, own):
        self.name, self.target, self.atr = name, target, atr
        self.open, self.high, self.low, self.close = rows
        self.rules = {field: own.get(field, rules[field]) for field in SYMBOL_FIELDS}
        self.units, self.mark = 0.0, 0.0
        self.stop = self.take = self.best = self.atr_distance = None
        self.entry_bar, self.blocked = None, 0
        self.flow, self.trade = 0.0, None
        self.last = None

    def has(self, t):
        return self.close[t] is not None

    def commission(self, x, price):
        r = self.rules
        paid = r["commission_per_order"] + (r["commission_per_unit"] / price + r["commission"]) * x
        return max(r["commission_minimum"], paid) if r["commission_minimum"] > 0 else paid

    def cost(self, x, price):
        return self.commission(x, price) + self.rules["slippage"] * x


class Account:
    """One run; `rules` are the engine's fields by dotted name."""

    def __init__(self, symbols, rules, periods, first, may_trade):
        self.symbols, self.rules, self.periods = symbols, rules, periods
        self.first, self.may_trade = first, may_trade
        self.cash = rules["initial_capital"]
        self.result = ReferenceResult()
        self.traded = False

    def equity(self, prices):
        return self.cash + sum(s.units * prices[s.name] for s in self.symbols)

    def fill(self, t, s, reason, price, units, cost, equity, forgiven=0.0):
        """Book a fill that leaves `units`; `equity` is the account's before the fills of the moment."""
        v, traded = s.units * price, (units - s.units) * price
        worth = s.flow + v
        self.cash -= traded + cost
        s.flow -= traded + cost
        result = self.result
        result.fills.append((t, s.name, reason, price, units - s.units, cost))
        result.costs += cost
        self.traded = True
        if equity > E * abs(traded):
            result.turnover += abs(traded) / equity
        changes = sign(units) != sign(s.units)
        share = cost * abs(v) / abs(traded) if changes and s.units != 0 else 0.0
        left = worth - share
        if changes and s.units != 0:
            s.trade.exit_bar, s.trade.exit_price = t, price
            s.trade.reason = {"order": "target", "ruin": "liquidation"}.get(reason, reason)
            s.trade.profit = left + forgiven - s.trade.base
            s.trade = s.stop = s.take = None
        if changes and units != 0:
            s.trade = Trade(sign(units), t, price, left, equity)
            s.trade.symbol = s.name
            result.trades.append(s.trade)
            s.entry_bar = t
        s.units = units
        return changes and units != 0

    def ruin(self, t, prices):
        equity = self.equity(prices)
        gross = sum(abs(s.units) * prices[s.name] for s in self.symbols)
        for s in self.symbols:
            if s.units != 0:
                part = abs(s.units) * prices[s.name] / gross
                self.fill(t, s, "ruin", prices[s.name], 0.0, 0.0, equity, forgiven=-equity * part)
        self.cash, self.result.ruined = 0.0, True

    def leave(self, t, s, reason, price, cost, prices):
        """An exit that want of equity never holds back; the others stand at `prices`."""
        prices = {**prices, s.name: price}
        equity = self.equity(prices)
        x, d = abs(s.units) * price, sign(s.units)
        if equity - cost <= E * x:
            cost = min(cost, max(equity, 0.0))
            alone = all(other is s or other.units == 0 for other in self.symbols)
            self.fill(t, s, reason, price, 0.0, cost, equity, forgiven=cost - equity if alone else 0.0)
            self.ruin(t, prices)
            return
        self.fill(t, s, reason, price, 0.0, cost, equity)
        if reason != "delisted" and self.rules["reentry"] == "new_signal":
            s.blocked = d

    # Orders.

    def allocations(self, t, decision, prices, equity, at_close):
        r = self.rules
        a = {}
        for s in self.symbols:
            due = s.target[decision]
            if not r["allow_short"]:
                due = max(due, 0.0)
            gone = s.last is not None and (t > s.last or (at_close and t == s.last))
            a[s.name] = 0.0 if abs(due) <= E or gone else due
        gross = sum(abs(x) for x in a.values())
        if gross > r["max_leverage"]:
            a = {name: x * (r["max_leverage"] / gross) for name, x in a.items()}
        cap = math.inf if r["max_net_leverage"] is None else r["max_net_leverage"]
        long = sum(x for x in a.values() if x > 0)
        short = -sum(x for x in a.values() if x < 0)
        if abs(long - short) > cap:
            smaller, larger = min(long, short), max(long, short)
            side = 1 if long > short else -1
            a = {name: x * ((smaller + cap) / larger) if sign(x) == side else x for name, x in a.items()}
        frozen = sum(abs(s.units) * prices[s.name] for s in self.symbols if not s.has(t))
        if frozen > 0:
            free = sum(abs(a[s.name]) for s in self.symbols if s.has(t))
            room = max(r["max_leverage"] - frozen / equity, 0.0)
            if free > room:
                a = {name: x * (room / free) for name, x in a.items()}
        return {name: 0.0 if abs(x) <= E else x for name, x in a.items()}

    def solve(self, wanted, equity, prices):
        """The values after the orders `wanted` {symbol: (allocation, value)}; those without a size are dropped."""
        wanted, minimum = dict(wanted), set()
        while wanted:
            terms = []
            for s, (a, v) in wanted.items():
                r, price = s.rules, prices[s.name]
                per_value = r["commission"] + r["commission_per_unit"] / price
                fixed, rate = r["commission_per_order"], per_value + r["slippage"]
                if s in minimum:
                    fixed, rate = r["commission_minimum"], r["slippage"]
                terms.append((s, a, v, sign(a * equity - v), fixed, rate, per_value))
            # E' = E - sum(fixed + rate*d*(a*E' - v))
            slope = sum(rate * d * a for _, a, _, d, _, rate, _ in terms)
            if sum(abs(a) * rate for _, a, _, _, _, rate, _ in terms) >= 1 or slope <= -1:
                closing = {s: av for s, av in wanted.items() if av[0] == 0}
                if len(closing) < len(wanted):
                    wanted = closing
                    continue
            left = (equity - sum(f - rate * d * v for _, _, v, d, f, rate, _ in terms)) / (1 + slope)
            kept = {s: (a, v) for s, a, v, d, *_ in terms if d * (a * left - v) > 0}
            if len(kept) < len(wanted):
                wanted = kept
                continue
            binds = {
                s
                for s, a, v, _, _, _, per_value in terms
                if s not in minimum
                and s.rules["commission_minimum"] > 0
                and s.rules["commission_per_order"] + per_value * abs(a * left - v) < s.rules["commission_minimum"]
            }
            if not binds:
                return {s: a * left for s, (a, _) in wanted.items()}
            minimum |= binds
        return {}

    def rounded(self, s, units):
        lot = s.rules["lot"]
        if lot == 0:
            return units
        whole = float(round(units / lot))
        return (whole if equals(units / lot, whole) else float(math.trunc(units / lot))) * lot

    def moment(self, t, at_close):
        r = self.rules
        prices = {s.name: (s.close if at_close else s.open)[t] if s.has(t) else s.mark for s in self.symbols}
        decision = t if r["execution"] == "same_close" else t - 1
        if decision >= 0:
            for s in self.symbols:
                due = 0.0 if abs(s.target[decision]) <= E else s.target[decision]
                if s.blocked != 0 and sign(due) != s.blocked:
                    s.blocked = 0
        may_order = decision >= 0 and self.may_trade[t]
        late = {
            s for s in self.symbols
            if r["max_bars"] > 0 and s.units != 0 and s.has(t) and t >= s.entry_bar + r["max_bars"]
        }  # fmt: skip
        if not may_order and not late:
            return
        equity = self.equity(prices)
        if equity <= 0:
            if any(s.units != 0 for s in self.symbols):
                self.ruin(t, prices)
            return
        a = self.allocations(t, decision, prices, equity, at_close) if may_order else {}
        wanted, timed = {}, set()
        for s in self.symbols:
            if not s.has(t):
                continue
            v = s.units * prices[s.name]
            if s in late and not (may_order and sign(a[s.name]) != sign(s.units)):
                timed.add(s)
                wanted[s] = (0.0, v)
            elif may_order and s.blocked == 0:
                one = a[s.name]
                off = abs(one * equity - v) > (r["rebalance_band"] + E) * equity
                if off or one * v < 0 or (one == 0 and v != 0):
                    wanted[s] = (one, v)
        orders = []
        for s, value in self.solve(wanted, equity, prices).items():
            units = self.rounded(s, value / prices[s.name])
            if units != s.units:
                x = abs(units - s.units) * prices[s.name]
                orders.append((s, units, x, s.cost(x, prices[s.name])))
        if not equity - sum(cost for *_, cost in orders) > E * sum(x for _, _, x, _ in orders):
            return
        for s, units, _, cost in orders:
            d = sign(s.units)
            if self.fill(t, s, "time" if s in timed else "order", prices[s.name], units, cost, equity):
                self.set_levels(s, decision, prices[s.name])
            if s in timed and r["reentry"] == "new_signal":
                s.blocked = d

    def distance(self, what, s, price, decision):
        r = self.rules
        kind = r[f"{what}.kind"]
        if kind not in ("percent", "atr"):
            return None
        found = r[f"{what}.percent"] * price if kind == "percent" else r[f"{what}.multiplier"] * s.atr[decision]
        return found if found > 0 else None

    def set_levels(self, s, decision, price):
        r, d = self.rules, sign(s.units)
        distance = self.distance("stop", s, price, decision)
        s.stop = None if distance is None else price - d * distance
        s.atr_distance, s.best = distance, None
        gain = self.distance("take_profit", s, price, decision)
        if r["take_profit.kind"] == "stop" and distance is not None:
            gain = r["take_profit.multiplier"] * distance
            gain = gain if gain > 0 else None
        s.take = None if gain is None else price + d * gain

    # Inside the bar and at its close.

    def inside(self, t):
        prices = {s.name: s.open[t] if s.has(t) else s.mark for s in self.symbols}
        for s in self.symbols:
            if s.units == 0 or not s.has(t) or self.result.ruined:
                continue
            d, u, open_ = sign(s.units), abs(s.units), s.open[t]
            worst, best = (s.low[t], s.high[t]) if d > 0 else (s.high[t], s.low[t])
            at_once = s.take is not None and reaches(d, open_, s.take)
            if not at_once and s.stop is not None and reaches(-d, worst, s.stop):
                if s.take is not None and reaches(d, best, s.take) and not reaches(-d, open_, s.stop):
                    self.result.n_both += 1
                price = min(open_, s.stop) if d > 0 else max(open_, s.stop)
                cost = s.cost(u * price, price) + s.rules["stop_slippage"] * u * price
                self.leave(t, s, "stop", price, cost, prices)
            elif at_once or (s.take is not None and reaches(d, best, s.take)):
                price = max(open_, s.take) if d > 0 else min(open_, s.take)
                self.leave(t, s, "take_profit", price, s.commission(u * price, price), prices)

    def end_of_bar(self, t):
        r = self.rules
        prices = {s.name: s.mark for s in self.symbols}
        for s in self.symbols:
            if s.last == t and s.units != 0 and not self.result.ruined:
                x = abs(s.units) * s.mark
                self.leave(t, s, "delisted", s.mark, s.cost(x, s.mark), prices)
        if self.result.ruined:
            return
        interest = self.cash * r["cash_rate"] / self.periods
        self.result.interest += interest
        self.cash += interest
        for s in self.symbols:
            paid = max(-s.units * s.mark, 0.0) * s.rules["short_borrow_rate"] / self.periods
            self.cash -= paid
            s.flow -= paid
        equity = self.equity(prices)
        gross = sum(abs(s.units) * s.mark for s in self.symbols)
        margin = r["maintenance_margin"] * gross
        if equity <= 0:
            self.ruin(t, prices)
        elif margin > 0 and reaches(-1, equity, margin):
            for s in self.symbols:
                if s.units != 0 and s.has(t) and not self.result.ruined:
                    x = abs(s.units) * s.mark
                    cost = s.cost(x, s.mark) + s.rules["stop_slippage"] * x
                    self.leave(t, s, "liquidation", s.mark, cost, prices)

    def trail(self, t):
        r = self.rules
        for s in self.symbols:
            if not r["stop.trailing"] or s.units == 0 or s.stop is None or not s.has(t):
                continue
            d, close = sign(s.units), s.close[t]
            s.best = close if s.best is None else d * max(d * s.best, d * close)
            distance = r["stop.percent"] * s.best if r["stop.kind"] == "percent" else s.atr_distance
            s.stop = d * max(d * s.stop, d * (s.best - d * distance))

    def run(self):
        result, before = self.result, self.rules["initial_capital"]
        at_open = self.rules["execution"] == "next_open"
        for t in range(self.first, len(self.may_trade)):
            stood = any(s.units != 0 for s in self.symbols)
            self.traded = False
            if not result.ruined and at_open:
                self.moment(t, False)
            if not result.ruined:
                self.inside(t)
            if not result.ruined and not at_open:
                self.moment(t, True)
            for s in self.symbols:
                s.mark = s.close[t] if s.has(t) else s.mark
            if not result.ruined:
                self.end_of_bar(t)
                self.trail(t)
            result.n_exposed += stood or self.traded
            equity = 0.0 if result.ruined else self.equity({s.name: s.mark for s in self.symbols})
            result.equity.append(equity)
            result.units.append([s.units for s in self.symbols])
            result.cash.append(self.cash)
            result.returns.append(equity / before - 1 if before > 0 else 0.0)
            before = equity
        for s in self.symbols:
            if s.trade is not None:
                s.trade.profit = s.flow + s.units * s.mark - s.trade.base
        return result


def run_reference_account(market, target, atr, engine):
    """Simulate `engine` (EngineParams) on an account; targets and average true ranges are (n_bars, n_symbols)."""
    rules = DEFAULTS | engine.values
    bars = market.bars
    n = len(bars)
    starts = {"bar": [True] * n, "week": market.week_start, "month": market.month_start}[rules["rebalance_frequency"]]
    symbols = []
    for column, name in enumerate(bars.symbols):
        rows = [
            [None if math.isnan(x) else x for x in bars.column(f"{name}.{part}").tolist()]
            for part in ("open", "high", "low", "close")
        ]
        s = Symbol(
            name, rows, target[:, column].tolist(), atr[:, column].tolist(), rules, engine.by_symbol.get(name, {})
        )
        there = [t for t in range(n) if s.has(t)]
        if bars.timestamp[-1] - bars.timestamp[there[-1]] > 7 * 86_400 * 10**9:
            s.last = there[-1]
        earlier = [t for t in there if t < market.first]
        s.mark = s.close[earlier[-1]] if earlier else 0.0
        symbols.append(s)
    periods = engine.periods_per_year or bars.periods_per_year
    may_trade = [t == market.first or bool(starts[t]) for t in range(n)]
    return Account(symbols, rules, periods, market.first, may_trade).run()
