"""The engine of one account, bar by bar: many symbols, one cash (docs/definitions.md, An account).

A moment of orders, exits inside the bar, what has ended, carry, liquidation, ruin and the mark, in the order that 4.3
gives under bar t. The rules of one symbol are those of 4.3; what symbols share is in `orders`.
"""

import math

from alphapulse.backtesting.account.fills import (
    block,
    commission_of,
    equity_at,
    fill,
    order_cost,
    ruin,
    set_prices,
)
from alphapulse.backtesting.account.orders import trade
from alphapulse.backtesting.account.state import (
    BEST,
    BORROW,
    BOTH,
    CASH,
    DELISTED_FILL,
    DISTANCE,
    EARNED,
    EXPOSED,
    FLOW,
    FORGIVEN,
    MARK,
    PRICE,
    RUINED,
    STOOD,
    STOP,
    STOP_SLIPPAGE,
    TAKE,
    UNITS,
    Record,
    Rules,
    Tape,
)
from alphapulse.backtesting.kernel.fills import LIQUIDATION_FILL, STOP_FILL, TAKE_PROFIT_FILL
from alphapulse.backtesting.kernel.loop import NEXT_OPEN, SAME_CLOSE
from alphapulse.backtesting.kernel.state import EQUAL, Fill, Moment
from alphapulse.backtesting.params import LEVEL_CODES
from alphapulse.compiling import jit_borrowing, jit_inside, jit_inside_allocating
from alphapulse.typing import Float64Array1D, Float64Array2D

PERCENT_LEVEL = LEVEL_CODES["percent"]


@jit_inside
def reaches(edge: float, level: float) -> bool:
    """Return whether `edge` is at or below `level`, or equal to it; a level may be infinite."""
    return edge - level <= EQUAL * abs(edge)


@jit_inside_allocating
def leave(
    t: int,
    s: int,
    reason: float,
    price: float,
    cost: float,
    rules: Rules,
    book: Float64Array2D,
    account: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Close a position at `price` and `cost` [quote], which want of equity never holds back; the others stand at PRICE.

    What blocks says 4.3 After an exit, when nothing is left 4.3 Ruin.
    """
    units, before = book[UNITS, s], book[PRICE, s]
    book[PRICE, s] = price
    v = units * price
    equity = equity_at(book, PRICE, account)
    ruined = equity - cost <= EQUAL * abs(v)
    if ruined:
        cost = min(cost, max(equity, 0.0))
        others = False
        for other in range(book.shape[1]):
            others |= other != s and book[UNITS, other] != 0.0
        account[FORGIVEN] = 0.0 if others else cost - equity
    fill(Fill(t, reason, price, -units, -v, cost), s, equity, book, account, fills)
    if ruined:
        ruin(t, book, account, fills)
        return
    if reason != DELISTED_FILL:
        block(s, 1.0 if units > 0.0 else -1.0, rules, book)
    # What a later exit of this bar is seen at: a symbol without units is worth nothing at any price.
    book[PRICE, s] = before


@jit_inside
def leave_inside(
    t: int,
    tape: Tape,
    rules: Rules,
    book: Float64Array2D,
    costs: Float64Array2D,
    account: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Close what reaches its stop or take profit in bar `t`, symbol by symbol (4.3 Stops, Take profit).

    The others stand at the row PRICE of the book: their opens.
    """
    for s in range(book.shape[1]):
        units = book[UNITS, s]
        if units == 0.0 or tape.close[t, s] != tape.close[t, s]:
            continue
        d = 1.0 if units > 0.0 else -1.0
        stop, take = book[STOP, s], book[TAKE, s]
        open_ = d * tape.open[t, s]
        worst = tape.low[t, s] if d > 0.0 else -tape.high[t, s]
        best = tape.high[t, s] if d > 0.0 else -tape.low[t, s]
        gains = reaches(-open_, -take)
        if not gains and stop > -math.inf and reaches(worst, stop):
            if reaches(-best, -take) and not reaches(open_, stop):
                account[BOTH] += 1.0
            price = d * min(open_, stop)
            x = abs(units * price)
            cost = order_cost(x, price, s, costs) + costs[STOP_SLIPPAGE, s] * x
            leave(t, s, STOP_FILL, price, cost, rules, book, account, fills)
        elif gains or reaches(-best, -take):
            price = d * max(open_, take)
            cost = commission_of(abs(units * price), price, s, costs)
            leave(t, s, TAKE_PROFIT_FILL, price, cost, rules, book, account, fills)
        if account[RUINED] != 0.0:
            return


@jit_inside
def sell_ended(
    t: int,
    tape: Tape,
    rules: Rules,
    book: Float64Array2D,
    costs: Float64Array2D,
    account: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Sell, at the close of its last bar, what a symbol that has ended leaves; the row PRICE has the closes."""
    for s in range(book.shape[1]):
        if tape.last[s] == t and book[UNITS, s] != 0.0 and account[RUINED] == 0.0:
            price = book[PRICE, s]
            cost = order_cost(abs(book[UNITS, s] * price), price, s, costs)
            leave(t, s, DELISTED_FILL, price, cost, rules, book, account, fills)


@jit_inside
def liquidate(
    t: int,
    tape: Tape,
    rules: Rules,
    book: Float64Array2D,
    costs: Float64Array2D,
    account: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Close the whole account where its equity is at most the margin of all it holds, at the closes; or ruin it."""
    equity, gross = equity_at(book, PRICE, account), 0.0
    if equity <= 0.0:
        ruin(t, book, account, fills)
        return
    if not rules.margin > 0.0:
        return
    for s in range(book.shape[1]):
        gross += abs(book[UNITS, s] * book[PRICE, s])
    if not (gross > 0.0 and reaches(equity, rules.margin * gross)):
        return
    for s in range(book.shape[1]):
        price = book[PRICE, s]
        if book[UNITS, s] != 0.0 and tape.close[t, s] == tape.close[t, s] and account[RUINED] == 0.0:
            x = abs(book[UNITS, s] * price)
            cost = order_cost(x, price, s, costs) + costs[STOP_SLIPPAGE, s] * x
            leave(t, s, LIQUIDATION_FILL, price, cost, rules, book, account, fills)


@jit_inside
def carry(rules: Rules, book: Float64Array2D, costs: Float64Array2D, account: Float64Array1D) -> None:
    """Book interest on cash and what shorts cost, at the row PRICE of the book (4.3 Carry)."""
    interest = account[CASH] * rules.interest
    account[EARNED] += interest
    account[CASH] += interest
    for s in range(book.shape[1]):
        v = book[UNITS, s] * book[PRICE, s]
        paid = -v * costs[BORROW, s] if v < 0.0 else 0.0
        account[CASH] -= paid
        book[FLOW, s] -= paid


@jit_inside
def trail(t: int, tape: Tape, rules: Rules, book: Float64Array2D) -> None:
    """Let the stops of what has a bar follow its close (4.3 Stops)."""
    for s in range(book.shape[1]):
        close = tape.close[t, s]
        if book[UNITS, s] == 0.0 or close != close or not book[STOP, s] > -math.inf:
            continue
        best = max(book[BEST, s], close if book[UNITS, s] > 0.0 else -close)
        book[BEST, s] = best
        distance = rules.stop_factor * abs(best) if rules.stop_kind == PERCENT_LEVEL else book[DISTANCE, s]
        book[STOP, s] = max(book[STOP, s], best - distance)


@jit_borrowing
def run_account(
    tape: Tape,
    rules: Rules,
    target: Float64Array2D,
    atr: Float64Array2D,
    costs: Float64Array2D,
    book: Float64Array2D,
    account: Float64Array1D,
    record: Record,
) -> None:
    """Carry one trial through all scored bars.

    Parameters
    ----------
    tape : Tape
        What all trials see.
    rules : Rules
    target : (n_bars, n_symbols) float64
        Decided at the close of each bar, finite where it is needed [1].
    atr : (n_bars, n_symbols) float64
        Average true range of each symbol [quote]; NaN where undefined.
    costs : (N_COSTS, n_symbols) float64
    book : (N_BOOK, n_symbols) float64
        As before the first bar; changed.
    account : (N_ACCOUNT,) float64
        The same.
    record : Record
        Filled.
    """
    fills = record.fills
    carries, some_end = rules.interest != 0.0, False
    for s in range(book.shape[1]):
        carries |= costs[BORROW, s] != 0.0
        some_end |= tape.last[s] >= 0
    has_levels = rules.stop_factor < math.inf or rules.take_factor < math.inf
    for t in range(tape.first, tape.close.shape[0]):
        if account[RUINED] == 0.0:
            account[STOOD] = 0.0
            for s in range(book.shape[1]):
                if book[UNITS, s] != 0.0:
                    account[STOOD] = 1.0
            decision = t if rules.execution == SAME_CLOSE else t - 1
            may_order = rules.may_trade[t] and decision >= 0
            for at_close in (False, True):
                set_prices(tape.close[t] if at_close else tape.open[t], book[MARK], book[PRICE])
                if account[RUINED] == 0.0 and at_close == (rules.execution != NEXT_OPEN):
                    moment = Moment(t, decision, 0.0, may_order)
                    trade(moment, tape, target, atr, rules, book, costs, account, fills, at_close)
                if account[RUINED] == 0.0 and has_levels and not at_close:
                    leave_inside(t, tape, rules, book, costs, account, fills)
            for s in range(book.shape[1]):
                book[MARK, s] = book[PRICE, s]
            if account[RUINED] == 0.0 and some_end:
                sell_ended(t, tape, rules, book, costs, account, fills)
            if account[RUINED] == 0.0 and carries:
                carry(rules, book, costs, account)
            if account[RUINED] == 0.0:
                liquidate(t, tape, rules, book, costs, account, fills)
            if rules.trailing:
                trail(t, tape, rules, book)
            account[EXPOSED] += account[STOOD]
        row = t - tape.first
        record.equity[row] = 0.0 if account[RUINED] != 0.0 else equity_at(book, MARK, account)
        if record.curves.shape[0] > 0:
            record.curves[row, 0], record.curves[row, 1] = account[CASH], account[EARNED]
            for s in range(book.shape[1]):
                record.curves[row, 2 + s] = book[UNITS, s]
