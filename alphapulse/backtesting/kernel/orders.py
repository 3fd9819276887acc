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
    load_strip,
    set_stop,
    write_fill,
)
from alphapulse.backtesting.kernel.state import (
    BAND,
    BLOCKED,
    BY_RISK,
    CASH,
    COMMISSION,
    DUE,
    EQUAL,
    KIND,
    LEVERAGE,
    LOT,
    MAX_BARS,
    MINIMUM,
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
    STRIP,
    TAKE,
    TAKE_FACTOR,
    TAKE_KIND,
    TIMED,
    UNITS,
    Fill,
    Moment,
    Tape,
    at,
)
from alphapulse.backtesting.params import ATR_LEVEL, STOP_LEVEL
from alphapulse.compiling import jit_borrowing
from alphapulse.typing import Float64Array1D, Float64Array2D


@jit_borrowing
def commission_of(x: float, price: float, lane: np.uint64, state: Float64Array1D) -> float:
    """Return the commission of an order of value `x` at `price` [quote] (4.3 Costs)."""
    rate = state[at(COMMISSION, lane)] + state[at(PER_UNIT, lane)] / price
    paid: float = state[at(PER_ORDER, lane)] + rate * x
    minimum: float = state[at(MINIMUM, lane)]
    return minimum if (minimum > 0.0) & (paid < minimum) else paid


@jit_borrowing
def _solved(a: float, v: float, equity: float, fixed: float, paid: float) -> float:
    """Return the v' of 4.3 Sizing [quote] where an order costs `fixed` and abs(`paid`) of its value."""
    return a * (equity - fixed + paid * v) / (1.0 + a * paid)


@jit_borrowing
def _sized_full(a: float, v: float, equity: float, price: float, lane: np.uint64, state: Float64Array1D) -> float:
    """Return the v' of 4.3 Sizing [quote]; `v` where there is none."""
    side = 1.0 if a * equity > v else -1.0
    slippage, minimum = state[at(SLIPPAGE, lane)], state[at(MINIMUM, lane)]
    commission = state[at(COMMISSION, lane)] + state[at(PER_UNIT, lane)] / price
    rate, per_order = commission + slippage, state[at(PER_ORDER, lane)]
    free = _solved(a, v, equity, per_order, side * rate)
    x = side * (free - v)
    binds = (minimum > 0.0) & (per_order + commission * x < minimum)
    bound = _solved(a, v, equity, minimum, side * slippage)
    found = bound if binds else free
    solved = (x > 0.0) & (side * (found - v) > 0.0) & (abs(a) * rate < 1.0)
    solved &= (abs(a) * slippage < 1.0) | (not binds)
    return found if solved else v


@jit_borrowing
def _rounded(units: float, lot: float) -> float:
    """Return `units` rounded toward zero to whole multiples of `lot` (4.3 Sizing); as they are where it is 0."""
    quotient = units / (lot if lot > 0.0 else 1.0)
    near = np.rint(quotient)
    whole = near if abs(quotient - near) <= EQUAL * max(abs(quotient), abs(near)) else np.trunc(quotient)
    return whole * lot if lot > 0.0 else units


@jit_borrowing
def _risked(a: float, v: float, reach: float, lane: np.uint64, state: Float64Array1D) -> float:
    """Return the allocation of a due target `a` by 4.3 Allocation, sizing risk.

    `reach` is the distance of a stop over its factor and the close of the decision [1].
    """
    fresh = state[at(RISK, lane)] / reach
    fresh = fresh if (fresh > 0.0) & (fresh < math.inf) else 0.0
    most = state[at(LEVERAGE, lane)]
    fresh = most if fresh > most else fresh
    fresh = -fresh if a < 0.0 else fresh
    fresh = fresh if abs(a) > EQUAL else 0.0
    risked = state[at(SIZED, lane)] if a * v > 0.0 else fresh
    return risked if state[at(BY_RISK, lane)] != 0.0 else a


@jit_borrowing
def take_profit(
    price: float, average_range: float, distance: float, turns: bool, lane: np.uint64, state: Float64Array1D
) -> None:
    """Set the take profit of a position that opens or flips (4.3 Take profit); its stop is `distance` away [quote]."""
    units = state[at(UNITS, lane)]
    kind, factor = state[at(TAKE_KIND, lane)], state[at(TAKE_FACTOR, lane)]
    gain = factor * distance if kind == STOP_LEVEL else level_distance(kind, factor, price, average_range)
    gain = gain if (gain > 0.0) & (units != 0.0) else math.inf
    state[at(TAKE, lane)] = (price if units > 0.0 else -price) + gain if turns else state[at(TAKE, lane)]


@jit_borrowing
def order_strip_full(
    moment: Moment,
    first: np.uint64,
    due: Float64Array1D,
    tape: Tape,
    trailing: bool,
    state: Float64Array1D,
) -> None:
    """Send the orders and time exits of a moment in lanes [first, first + STRIP).

    As `order_strip`, with 4.3 Time, costs as brokers charge them and lots.
    """
    t, price, may_order = moment.bar, moment.price, moment.may_order
    decision = max(moment.decision, 0)
    many_ranges = load_strip(moment, first, due, tape.atr, state)
    only_range, decided_at = tape.atr[0, decision], tape.prices[3, decision]
    for j in range(STRIP):
        lane = first + np.uint64(j)
        units = state[at(UNITS, lane)]
        v = units * price
        equity = state[at(CASH, lane)] + v
        average_range = state[at(RANGE, lane)] if many_ranges else only_range
        by_range = state[at(KIND, lane)] == ATR_LEVEL
        a = _risked(state[at(DUE, lane)], v, average_range / decided_at if by_range else 1.0, lane, state)
        a = a if abs(a) > EQUAL else 0.0
        late = (units != 0.0) & (t >= state[at(OPENED, lane)] + state[at(MAX_BARS, lane)])
        timed = late & ((not may_order) | (a * v > 0.0))
        a = 0.0 if timed else a
        closes = (a == 0.0) & (v != 0.0)
        off_band = abs(a * equity - v) > state[at(BAND, lane)] * equity
        free = may_order & (state[at(BLOCKED, lane)] == 0.0)
        wants = (equity > 0.0) & (timed | (free & (closes | (a * v < 0.0) | off_band)))

        new_v = _sized_full(a, v, equity, price, lane, state)
        lot = state[at(LOT, lane)]
        new_units = _rounded(new_v / price, lot)
        traded = new_units * price - v if lot > 0.0 else new_v - v
        x = abs(traded)
        cost = commission_of(x, price, lane, state) + state[at(SLIPPAGE, lane)] * x
        sends = wants & (new_v != v) & (new_units != units) & (equity - cost > EQUAL * x)
        traded = traded if sends else 0.0
        cost = cost if sends else 0.0
        new_units = new_units if sends else units
        share = cost * abs(v) / (x if sends else 1.0)
        turns = book_order(t, lane, v, new_units, traded, cost, share, state)
        distance = set_stop(price, average_range, turns, trailing, lane, state)
        take_profit(price, average_range, distance, turns, lane, state)
        state[at(SIZED, lane)] = a if turns else state[at(SIZED, lane)]
        blocks = timed & sends & (state[at(REENTRY, lane)] == 0.0)
        direction = 1.0 if units > 0.0 else -1.0
        state[at(BLOCKED, lane)] = direction if blocks else state[at(BLOCKED, lane)]
        state[at(ORDERED, lane)] = traded
        state[at(ORDER_COST, lane)] = cost
        state[at(TIMED, lane)] = 1.0 if timed else 0.0


@jit_borrowing
def write_order_full(moment: Moment, units: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Write the order that lane 0 has filled, out of `units`, to `fills`; it is counted already."""
    reason = TIME_FILL if state[at(TIMED, 0)] != 0.0 else ORDER_FILL
    bought = state[at(UNITS, 0)] - units
    fill = Fill(moment.bar, reason, moment.price, bought, state[at(ORDERED, 0)], state[at(ORDER_COST, 0)])
    write_fill(fill, 0, state, fills)
