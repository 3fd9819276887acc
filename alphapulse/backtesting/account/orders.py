"""The orders of a moment in one account: allocations within its caps, sized together net of what all of them cost."""

import math

import numpy as np

from alphapulse.backtesting.account.fills import block, equity_at, fill, order_cost, ruin, set_levels
from alphapulse.backtesting.account.state import (
    BLOCKED,
    BOUND,
    COMMISSION,
    DUE,
    FIXED,
    LEFT,
    LOT,
    MINIMUM,
    OPENED,
    PER_ORDER,
    PER_UNIT,
    PRICE,
    RATE,
    SIDE,
    SLIPPAGE,
    TIMED,
    UNITS,
    VALUE,
    Rules,
    Tape,
)
from alphapulse.backtesting.kernel.fills import ORDER_FILL, TIME_FILL
from alphapulse.backtesting.kernel.state import EQUAL, Fill, Moment
from alphapulse.compiling import jit_inside
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


@jit_inside
def lift_blocks(due: Float64Array1D, book: Float64Array2D) -> None:
    """Lift the blocks of symbols whose due target is 0 or of the other sign (4.3 After an exit)."""
    for s in range(due.shape[0]):
        a = due[s] if abs(due[s]) > EQUAL else 0.0
        if a * book[BLOCKED, s] <= 0.0:
            book[BLOCKED, s] = 0.0


@jit_inside
def allocate(
    due: Float64Array1D,
    quotes: Float64Array1D,
    equity: float,
    rules: Rules,
    book: Float64Array2D,
    last: Int64Array1D,
    ends: int,
) -> None:
    """Write the allocations of a moment to the row DUE of the book: the due targets within the caps of the account.

    Parameters
    ----------
    due, quotes : (n_symbols,) float64
        Targets [1], and prices [quote], NaN where a symbol has no bar.
    equity : float
        Above 0 [quote].
    last : (n_symbols,) int64
        As in `Tape`.
    ends : int
        Symbols whose last bar is before this have ended, and are not wanted any more.
    """
    n = due.shape[0]
    long = short = 0.0
    for s in range(n):
        a = due[s] if rules.allow_short or due[s] > 0.0 else 0.0
        a = a if abs(a) > EQUAL and not 0 <= last[s] < ends else 0.0
        book[DUE, s] = a
        long += max(a, 0.0)
        short -= min(a, 0.0)
    if long + short > rules.max_leverage:
        scale = rules.max_leverage / (long + short)
        long, short = long * scale, short * scale
        for s in range(n):
            book[DUE, s] *= scale
    if abs(long - short) > rules.max_net:
        # The larger side gives way.
        side = 1.0 if long > short else -1.0
        scale = (min(long, short) + rules.max_net) / max(long, short)
        for s in range(n):
            book[DUE, s] *= scale if side * book[DUE, s] > 0.0 else 1.0
    # What cannot be sold for want of a bar takes its room from the others.
    frozen = 0.0
    for s in range(n):
        frozen += abs(book[UNITS, s] * book[PRICE, s]) if quotes[s] != quotes[s] else 0.0
    if frozen > 0.0:
        free = 0.0
        for s in range(n):
            free += abs(book[DUE, s]) if quotes[s] == quotes[s] else 0.0
        room = max(rules.max_leverage - frozen / equity, 0.0)
        scale = room / free if free > room else 1.0
        for s in range(n):
            book[DUE, s] *= scale
    for s in range(n):
        if abs(book[DUE, s]) <= EQUAL:
            book[DUE, s] = 0.0


@jit_inside
def want(moment: Moment, quotes: Float64Array1D, equity: float, rules: Rules, book: Float64Array2D) -> int:
    """Decide which symbols trade and which way (4.3 Rebalancing, 4.3 Time); return how many."""
    n_wanted = 0
    for s in range(quotes.shape[0]):
        book[SIDE, s] = book[TIMED, s] = book[BOUND, s] = 0.0
        units, a = book[UNITS, s], book[DUE, s] if moment.may_order else 0.0
        if quotes[s] != quotes[s] or (units == 0.0 and a == 0.0):
            continue
        v = units * book[PRICE, s]
        late = units != 0.0 and moment.bar >= book[OPENED, s] + rules.max_bars
        timed = late and (not moment.may_order or a * v > 0.0)
        a = 0.0 if timed else a
        off = abs(a * equity - v) > rules.band * equity
        turns = a * v < 0.0 or (a == 0.0 and v != 0.0)
        if timed or (moment.may_order and book[BLOCKED, s] == 0.0 and (off or turns)):
            book[SIDE, s] = 1.0 if a * equity > v else -1.0
            book[TIMED, s] = 1.0 if timed else 0.0
            book[DUE, s], book[VALUE, s] = a, v
            n_wanted += 1
    return n_wanted


@jit_inside
def solve(equity: float, book: Float64Array2D, costs: Float64Array2D) -> float:
    """Return the equity [quote] that all orders together leave, each of them dropped that has no size (4.3 Sizing).

    With directions d and rates r it solves E' = E - sum of (fixed + r*d*(a*E' - v)), which is linear. What would turn
    its direction, or costs what it moves, is dropped and it is solved again; then whoever pays a minimum pays that.
    """
    n = book.shape[1]
    for s in range(n):
        if book[SIDE, s] != 0.0:
            book[FIXED, s] = costs[PER_ORDER, s]
            book[RATE, s] = costs[COMMISSION, s] + costs[PER_UNIT, s] / book[PRICE, s] + costs[SLIPPAGE, s]
    while True:
        fixed = back = weight = load = 0.0
        for s in range(n):
            side = book[SIDE, s]
            if side != 0.0:
                rate, a = book[RATE, s], book[DUE, s]
                fixed += book[FIXED, s]
                back += rate * side * book[VALUE, s]
                weight += rate * side * a
                load += abs(a) * rate
        impossible = load >= 1.0 or weight <= -1.0
        left = equity - fixed + back if impossible else (equity - fixed + back) / (1.0 + weight)
        n_dropped = n_bound = 0
        for s in range(n):
            side = book[SIDE, s]
            if side == 0.0:
                continue
            drops = book[DUE, s] != 0.0 if impossible else side * (book[DUE, s] * left - book[VALUE, s]) <= 0.0
            if drops:
                book[SIDE, s] = 0.0
                n_dropped += 1
        if n_dropped > 0:
            continue
        for s in range(n):
            if book[SIDE, s] == 0.0 or book[BOUND, s] != 0.0 or not costs[MINIMUM, s] > 0.0:
                continue
            x = abs(book[DUE, s] * left - book[VALUE, s])
            if (
                costs[PER_ORDER, s] + (costs[COMMISSION, s] + costs[PER_UNIT, s] / book[PRICE, s]) * x
                < costs[MINIMUM, s]
            ):
                book[FIXED, s], book[RATE, s], book[BOUND, s] = costs[MINIMUM, s], costs[SLIPPAGE, s], 1.0
                n_bound += 1
        if n_bound == 0:
            return left


@jit_inside
def send(
    moment: Moment,
    equity: float,
    average_range: Float64Array1D,
    rules: Rules,
    book: Float64Array2D,
    costs: Float64Array2D,
    account: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Size the orders that are wanted, round them to lots, and book them (4.3 Sizing)."""
    left = solve(equity, book, costs)
    n = book.shape[1]
    paid = moved = 0.0
    for s in range(n):
        if book[SIDE, s] == 0.0:
            continue
        price, lot = book[PRICE, s], costs[LOT, s]
        units = book[DUE, s] * left / price if book[DUE, s] != 0.0 else 0.0
        if lot > 0.0:
            quotient = units / lot
            near = np.rint(quotient)
            units = (near if abs(quotient - near) <= EQUAL * abs(near) else math.trunc(quotient)) * lot
        book[LEFT, s] = units
        if units == book[UNITS, s]:
            book[SIDE, s] = 0.0
            continue
        x = abs((units - book[UNITS, s]) * price)
        paid += order_cost(x, price, s, costs)
        moved += x
    if not equity - paid > EQUAL * moved:
        return
    for s in range(n):
        if book[SIDE, s] == 0.0:
            continue
        price, before, timed = book[PRICE, s], book[UNITS, s], book[TIMED, s] != 0.0
        bought = book[LEFT, s] - before
        cost = order_cost(abs(bought * price), price, s, costs)
        change = Fill(moment.bar, TIME_FILL if timed else ORDER_FILL, price, bought, bought * price, cost)
        if fill(change, s, equity, book, account, fills):
            set_levels(s, price, average_range[s], rules, book)
        if timed:
            block(s, 1.0 if before > 0.0 else -1.0, rules, book)


@jit_inside
def trade(
    moment: Moment,
    tape: Tape,
    target: Float64Array2D,
    atr: Float64Array2D,
    rules: Rules,
    book: Float64Array2D,
    costs: Float64Array2D,
    account: Float64Array1D,
    fills: Float64Array2D,
    at_close: bool,
) -> None:
    """Fill what is due at a moment whose prices are in the row PRICE of the book (4.3 Execution)."""
    t = moment.bar
    quotes = tape.close[t] if at_close else tape.open[t]
    due = target[max(moment.decision, 0)]
    if moment.decision >= 0:
        lift_blocks(due, book)
    holds = late = False
    for s in range(quotes.shape[0]):
        if book[UNITS, s] != 0.0:
            holds = True
            late |= quotes[s] == quotes[s] and t >= book[OPENED, s] + rules.max_bars
    if not (moment.may_order or late):
        return
    equity = equity_at(book, PRICE, account)
    if equity <= 0.0:
        if holds:
            ruin(t, book, account, fills)
        return
    if moment.may_order:
        allocate(due, quotes, equity, rules, book, tape.last, t + 1 if at_close else t)
    if want(moment, quotes, equity, rules, book) > 0:
        send(moment, equity, atr[max(moment.decision, 0)], rules, book, costs, account, fills)
