"""What changes a position of an account: one fill at a time, with the round trips of its symbol, and ruin."""

import math

from alphapulse.backtesting.account.state import (
    BASE,
    BEST,
    BLOCKED,
    CASH,
    COMMISSION,
    COSTS,
    DISTANCE,
    FLOW,
    FORGIVEN,
    HELD,
    LONGEST,
    LOST,
    MINIMUM,
    N_CLOSED,
    N_FILLS,
    N_LOST,
    N_WINS,
    OPENED,
    PER_ORDER,
    PER_UNIT,
    PRICE,
    PROFIT,
    RICH,
    RUINED,
    SLIPPAGE,
    STOOD,
    STOP,
    TAKE,
    TRADED,
    UNITS,
    WON,
    Rules,
)
from alphapulse.backtesting.kernel.fills import RUIN_FILL, level_distance
from alphapulse.backtesting.kernel.state import EQUAL, Fill
from alphapulse.backtesting.params import ATR_LEVEL, STOP_LEVEL
from alphapulse.compiling import jit_inside, jit_inside_allocating
from alphapulse.typing import Float64Array1D, Float64Array2D


@jit_inside
def commission_of(x: float, price: float, s: int, costs: Float64Array2D) -> float:
    """Return the commission of an order of value `x` at `price` in symbol `s` [quote] (4.3 Costs)."""
    paid: float = costs[PER_ORDER, s] + (costs[COMMISSION, s] + costs[PER_UNIT, s] / price) * x
    minimum: float = costs[MINIMUM, s]
    return minimum if minimum > 0.0 and paid < minimum else paid


@jit_inside
def order_cost(x: float, price: float, s: int, costs: Float64Array2D) -> float:
    """Return what an order of value `x` at `price` in symbol `s` costs [quote] (4.3 Costs)."""
    cost: float = commission_of(x, price, s, costs) + costs[SLIPPAGE, s] * x
    return cost


@jit_inside
def set_prices(quotes: Float64Array1D, marks: Float64Array1D, prices: Float64Array1D) -> None:
    """Write the prices [quote] of a moment (n_symbols,): a symbol without a bar stands at its last close."""
    for s in range(prices.shape[0]):
        prices[s] = quotes[s] if quotes[s] == quotes[s] else marks[s]


@jit_inside
def equity_at(book: Float64Array2D, row: int, account: Float64Array1D) -> float:
    """Return the equity [quote] at the prices in a row of the book."""
    equity: float = account[CASH]
    for s in range(book.shape[1]):
        equity += book[UNITS, s] * book[row, s]
    return equity


@jit_inside_allocating
def fill(
    change: Fill, s: int, equity: float, book: Float64Array2D, account: Float64Array1D, fills: Float64Array2D
) -> bool:
    """Book a fill of symbol `s`; return whether it opens or flips a position.

    Parameters
    ----------
    change : Fill
        Its `units` and `value` are what is bought.
    equity : float
        Of the account before all fills of the moment [quote].
    """
    before, price, traded, cost = book[UNITS, s], change.price, change.value, change.cost
    units = before + change.units
    # What is left of a position that is closed is nothing, not what rounding leaves of it.
    units = 0.0 if abs(units) <= EQUAL * abs(before) else units
    v, x = before * price, abs(traded)
    worth = book[FLOW, s] + v
    account[CASH] -= traded + cost
    book[FLOW, s] -= traded + cost
    account[COSTS] += cost
    account[STOOD] = 1.0
    if equity > EQUAL * x:
        account[TRADED] += x / equity
    turns = before * units <= 0.0
    closes, opens = turns and before != 0.0, turns and units != 0.0
    # A flip's cost is shared by value between the trade that it closes and the one that it opens (4.4).
    left = worth - (cost * abs(v) / x if closes else 0.0)
    profit = math.nan
    if closes:
        profit = left + account[FORGIVEN] - book[BASE, s]
        account[FORGIVEN] = 0.0
        bars = change.bar - book[OPENED, s]
        account[N_CLOSED] += 1.0
        account[HELD] += bars
        account[LONGEST] = max(account[LONGEST], bars)
        account[PROFIT] += profit
        if profit > EQUAL * book[RICH, s]:
            account[N_WINS] += 1.0
            account[WON] += profit
        elif profit < -EQUAL * book[RICH, s]:
            account[N_LOST] += 1.0
            account[LOST] += profit
        book[STOP, s], book[TAKE, s] = -math.inf, math.inf
    if opens:
        book[BASE, s], book[RICH, s], book[OPENED, s] = left, equity, change.bar
    book[UNITS, s] = units
    place = int(account[N_FILLS])
    account[N_FILLS] += 1.0
    if place < fills.shape[0]:
        row = fills[place]
        row[0], row[1], row[2], row[3] = change.bar, change.reason, price, change.units
        row[4], row[5], row[6], row[7], row[8], row[9] = traded, cost, equity, units, s, profit
    return bool(opens)


@jit_inside
def set_levels(s: int, price: float, average_range: float, rules: Rules, book: Float64Array2D) -> None:
    """Set stop and take profit of a position that has opened at `price` (4.3 Stops, Take profit)."""
    d = 1.0 if book[UNITS, s] > 0.0 else -1.0
    distance = level_distance(rules.stop_kind, rules.stop_factor, price, average_range)
    distance = distance if distance > 0.0 else math.inf
    gain = level_distance(rules.take_kind, rules.take_factor, price, average_range)
    if rules.take_kind == STOP_LEVEL:
        gain = rules.take_factor * distance
    gain = gain if gain > 0.0 else math.inf
    book[STOP, s], book[TAKE, s] = d * price - distance, d * price + gain
    book[BEST, s] = -math.inf
    book[DISTANCE, s] = distance if rules.stop_kind == ATR_LEVEL else 0.0


@jit_inside
def block(s: int, direction: float, rules: Rules, book: Float64Array2D) -> None:
    """Block the direction of a position that an exit has closed (4.3 After an exit)."""
    if not rules.immediate:
        book[BLOCKED, s] = direction


@jit_inside_allocating
def ruin(t: int, book: Float64Array2D, account: Float64Array1D, fills: Float64Array2D) -> None:
    """Close what is held at the row PRICE of the book, for nothing, and leave an equity of 0 to the end (4.3 Ruin).

    What is missing is not owed: the trades that end with it bear it, by their values.
    """
    equity = equity_at(book, PRICE, account)
    gross = 0.0
    for s in range(book.shape[1]):
        gross += abs(book[UNITS, s] * book[PRICE, s])
    for s in range(book.shape[1]):
        units, price = book[UNITS, s], book[PRICE, s]
        if units != 0.0:
            account[FORGIVEN] = -equity * (abs(units * price) / gross)
            fill(Fill(t, RUIN_FILL, price, -units, -units * price, 0.0), s, equity, book, account, fills)
    account[CASH] = 0.0
    account[RUINED] = 1.0
