"""Orders of the full rules, eight lanes at a time: costs as brokers charge them, lots, time exits, sizing by risk.

The rules are those of docs/definitions.md, section 4.3 Engine. As in `fills` no lane branches.
"""

import math

import numpy as np

from alphapulse.backtesting.kernel.fills import (
    ORDER_FILL,
    TIME_FILL,
    book_order,
    level_distance,
    load_ranges,
    write_fill,
)
from alphapulse.backtesting.kernel.state import (
    BAND,
    BEFORE_ORDER,
    BLOCKED,
    CASH,
    COMMISSION,
    DUE,
    EQUAL,
    KIND,
    LEVERAGE,
    LOT,
    MAX_BARS,
    MINIMUM,
    NEW_UNITS,
    NEW_VALUE,
    OPENED,
    ORDER_COST,
    ORDERED,
    PER_ORDER,
    PER_UNIT,
    RANGE,
    REENTRY,
    RISK,
    SIZED,
    SLIPPAGE,
    STOP_DISTANCE,
    STRIP,
    TAKE,
    TAKE_FACTOR,
    TAKE_KIND,
    TIMED,
    TURNS,
    UNITS,
    WANTS,
    Fill,
    Moment,
    Rules,
    Tape,
    at,
)
from alphapulse.backtesting.kernel.vector import copy_strip
from alphapulse.backtesting.params import ATR_LEVEL, STOP_LEVEL
from alphapulse.compiling import jit_inside
from alphapulse.typing import Float64Array1D, Float64Array2D


@jit_inside
def commission_of(x: float, price: float, lane: np.uint64, state: Float64Array1D) -> float:
    """Return the commission of an order of value `x` at `price` [quote] (4.3 Costs)."""
    rate = state[at(COMMISSION, lane)] + state[at(PER_UNIT, lane)] / price
    paid: float = state[at(PER_ORDER, lane)] + rate * x
    minimum: float = state[at(MINIMUM, lane)]
    return minimum if (minimum > 0.0) & (paid < minimum) else paid


@jit_inside
def _solved(a: float, v: float, equity: float, fixed: float, paid: float) -> float:
    """Return the v' of 4.3 Sizing [quote] where an order costs `fixed` and abs(`paid`) of its value."""
    return a * (equity - fixed + paid * v) / (1.0 + a * paid)


@jit_inside
def _size_by_risk(decided_at: float, first: np.uint64, price: float, state: Float64Array1D) -> None:
    """Put allocations in place of directions where risk decides (4.3 Allocation); `decided_at` is the close [quote]."""
    for j in range(STRIP):
        lane = first + np.uint64(j)
        a, risk = state[at(DUE, lane)], state[at(RISK, lane)]
        average_range = state[at(RANGE, lane)]
        by_range = state[at(KIND, lane)] == ATR_LEVEL
        # The distance of a stop over its factor and the close of the decision.
        fresh = risk / (average_range / decided_at if by_range else 1.0)
        fresh = fresh if (fresh > 0.0) & (fresh < math.inf) & (abs(a) > EQUAL) else 0.0
        most = state[at(LEVERAGE, lane)]
        fresh = most if fresh > most else fresh
        fresh = -fresh if a < 0.0 else fresh
        risked = state[at(SIZED, lane)] if a * (state[at(UNITS, lane)] * price) > 0.0 else fresh
        state[at(DUE, lane)] = risked if risk == risk else a


@jit_inside
def _want(moment: Moment, first: np.uint64, state: Float64Array1D) -> None:
    """Decide which lanes of a strip trade (4.3 Rebalancing, 4.3 Time), and size their orders without a minimum."""
    t, price, may_order = np.float64(moment.bar), moment.price, moment.may_order
    per_price = 1.0 / price
    for j in range(STRIP):
        lane = first + np.uint64(j)
        units = state[at(UNITS, lane)]
        v = units * price
        equity = state[at(CASH, lane)] + v
        a = state[at(DUE, lane)]
        a = a if abs(a) > EQUAL else 0.0
        late = (units != 0.0) & (t >= state[at(OPENED, lane)] + state[at(MAX_BARS, lane)])
        timed = late & ((not may_order) | (a * v > 0.0))
        a = 0.0 if timed else a
        closes = (a == 0.0) & (v != 0.0)
        off_band = abs(a * equity - v) > state[at(BAND, lane)] * equity
        free = may_order & (state[at(BLOCKED, lane)] == 0.0)
        wants = (equity > 0.0) & (timed | (free & (closes | (a * v < 0.0) | off_band)))

        side = 1.0 if a * equity > v else -1.0
        rate = state[at(COMMISSION, lane)] + state[at(PER_UNIT, lane)] * per_price + state[at(SLIPPAGE, lane)]
        new_v = _solved(a, v, equity, state[at(PER_ORDER, lane)], side * rate)
        wants &= (side * (new_v - v) > 0.0) & (abs(a) * rate < 1.0)
        state[at(DUE, lane)] = a
        state[at(TIMED, lane)] = 1.0 if timed else 0.0
        state[at(WANTS, lane)] = 1.0 if wants else 0.0
        state[at(NEW_VALUE, lane)] = new_v
        state[at(NEW_UNITS, lane)] = new_v / price


@jit_inside
def _bind_minimum(price: float, first: np.uint64, state: Float64Array1D) -> None:
    """Size the orders of a strip again whose commission is below the minimum (4.3 Sizing)."""
    per_price = 1.0 / price
    for j in range(STRIP):
        lane = first + np.uint64(j)
        v = state[at(UNITS, lane)] * price
        equity = state[at(CASH, lane)] + v
        a, new_v = state[at(DUE, lane)], state[at(NEW_VALUE, lane)]
        slippage, minimum = state[at(SLIPPAGE, lane)], state[at(MINIMUM, lane)]
        rate = state[at(COMMISSION, lane)] + state[at(PER_UNIT, lane)] * per_price
        binds = (minimum > 0.0) & (state[at(PER_ORDER, lane)] + rate * abs(new_v - v) < minimum)
        side = 1.0 if a * equity > v else -1.0
        bound = _solved(a, v, equity, minimum, side * slippage)
        unsolved = binds & ((side * (bound - v) <= 0.0) | (abs(a) * slippage >= 1.0))
        new_v = bound if binds else new_v
        state[at(NEW_VALUE, lane)] = new_v
        state[at(NEW_UNITS, lane)] = new_v / price
        state[at(WANTS, lane)] = 0.0 if unsolved else state[at(WANTS, lane)]


@jit_inside
def _round_to_lots(price: float, first: np.uint64, state: Float64Array1D) -> None:
    """Round new positions of a strip toward zero to whole multiples of their lots (4.3 Sizing)."""
    for j in range(STRIP):
        lane = first + np.uint64(j)
        lot = state[at(LOT, lane)]
        quotient = state[at(NEW_UNITS, lane)] / (lot if lot > 0.0 else 1.0)
        near = np.rint(quotient)
        whole = near if abs(quotient - near) <= EQUAL * abs(near) else np.trunc(quotient)
        units = whole * lot
        state[at(NEW_UNITS, lane)] = units if lot > 0.0 else state[at(NEW_UNITS, lane)]
        state[at(NEW_VALUE, lane)] = units * price if lot > 0.0 else state[at(NEW_VALUE, lane)]


@jit_inside
def order_strip_full(
    moment: Moment,
    first: np.uint64,
    due: Float64Array1D,
    tape: Tape,
    state: Float64Array1D,
    rules: Rules,
) -> tuple[int, int]:
    """Send the orders and time exits of a moment in lanes [first, first + STRIP).

    As `order_strip`, with 4.3 Time, costs as brokers charge them and lots.
    """
    price, decision = moment.price, max(moment.decision, 0)
    copy_strip(due, first, state, at(DUE, first))
    if rules.by_risk:
        load_ranges(decision, first, tape.atr, state)
        _size_by_risk(tape.prices[3, decision], first, price, state)
    _want(moment, first, state)
    if rules.has_minimum:
        _bind_minimum(price, first, state)
    if rules.has_lot:
        _round_to_lots(price, first, state)
    per_price = 1.0 / price
    n_turns = n_insolvent = 0
    for j in range(STRIP):
        lane = first + np.uint64(j)
        units = state[at(UNITS, lane)]
        v = units * price
        new_units = state[at(NEW_UNITS, lane)]
        traded = state[at(NEW_VALUE, lane)] - v
        x = abs(traded)
        commission = state[at(COMMISSION, lane)] + state[at(PER_UNIT, lane)] * per_price
        paid = state[at(PER_ORDER, lane)] + commission * x
        minimum = state[at(MINIMUM, lane)]
        paid = minimum if (minimum > 0.0) & (paid < minimum) else paid
        cost = paid + state[at(SLIPPAGE, lane)] * x
        equity = state[at(CASH, lane)] + v
        n_insolvent += 1 if (v != 0.0) & (equity <= 0.0) else 0
        wants = (state[at(WANTS, lane)] != 0.0) & (new_units != units)
        sends = wants & (equity - cost > EQUAL * x)
        traded = traded if sends else 0.0
        cost = cost if sends else 0.0
        book_order(lane, price, new_units if sends else units, traded, cost, state)
        state[at(ORDERED, lane)] = traded
        state[at(ORDER_COST, lane)] = cost
        n_turns += 1 if wants & (units * new_units <= 0.0) else 0
    return n_turns, n_insolvent


@jit_inside
def turn_strip_full(price: float, first: np.uint64, state: Float64Array1D) -> None:
    """Set the take profits of positions that have opened or flipped (4.3 Take profit), and block after time exits."""
    for j in range(STRIP):
        lane = first + np.uint64(j)
        turns, units = state[at(TURNS, lane)] != 0.0, state[at(UNITS, lane)]
        kind, factor = state[at(TAKE_KIND, lane)], state[at(TAKE_FACTOR, lane)]
        gain = level_distance(kind, factor, price, state[at(RANGE, lane)])
        gain = factor * state[at(STOP_DISTANCE, lane)] if kind == STOP_LEVEL else gain
        gain = gain if (gain > 0.0) & (units != 0.0) else math.inf
        state[at(TAKE, lane)] = (price if units > 0.0 else -price) + gain if turns else state[at(TAKE, lane)]
        state[at(SIZED, lane)] = state[at(DUE, lane)] if turns else state[at(SIZED, lane)]
        blocks = turns & (state[at(TIMED, lane)] != 0.0) & (state[at(REENTRY, lane)] == 0.0)
        direction = 1.0 if state[at(BEFORE_ORDER, lane)] > 0.0 else -1.0
        state[at(BLOCKED, lane)] = direction if blocks else state[at(BLOCKED, lane)]


@jit_inside
def write_order_full(moment: Moment, units: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Write the order that lane 0 has filled, out of `units`, to `fills`."""
    reason = TIME_FILL if state[at(TIMED, 0)] != 0.0 else ORDER_FILL
    bought = state[at(UNITS, 0)] - units
    fill = Fill(moment.bar, reason, moment.price, bought, state[at(ORDERED, 0)], state[at(ORDER_COST, 0)])
    write_fill(fill, 0, state, fills)
