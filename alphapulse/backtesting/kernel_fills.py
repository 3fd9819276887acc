"""What changes a position: orders, eight lanes at a time; stops and ruins, which are rare, one by one.

The rules are those of docs/definitions.md, section 4.3 Engine.

A strip in which any lane may trade runs through `order_strip` whole, without branches: whether a lane trades, and
which way, cannot be predicted, and a wrong guess costs more than the arithmetic of the other lanes.
"""

import math

import numpy as np

from alphapulse.backtesting.kernel_state import (
    ATR_ROW,
    BAND,
    BLOCKED,
    CASH,
    COST,
    COSTS,
    DISTANCE,
    DUE,
    EXPOSED,
    FACTOR,
    FILLS,
    KIND,
    RANGE,
    REENTRY,
    RUINED,
    STOP,
    STOP_COST,
    STOPPED,
    STRIP,
    TRADED,
    TRAILING,
    UNITS,
    Fill,
    Moment,
    at,
)
from alphapulse.backtesting.kernel_vector import copy_strip
from alphapulse.backtesting.models import stop_distance_python
from alphapulse.compiling import jit_borrowing
from alphapulse.typing import Float64Array1D, Float64Array2D

ORDER_FILL, STOP_FILL, RUIN_FILL = 0.0, 1.0, 2.0
stop_distance = jit_borrowing(stop_distance_python)

FILL_COLUMNS = (*Fill._fields, "equity", "position")


@jit_borrowing
def _sized(a: float, v: float, equity: float, cost_rate: float) -> float:
    """Return the v' of 4.3 Sizing [quote]: allocation `a`, net of the cost of getting there from a value of `v`."""
    paid = cost_rate if a * equity > v else -cost_rate
    return a * (equity + paid * v) / (1.0 + a * paid)


@jit_borrowing
def order_strip(
    moment: Moment,
    first: np.uint64,
    due: Float64Array1D,
    atr: Float64Array2D,
    trailing: bool,
    state: Float64Array1D,
) -> None:
    """Send the orders of a moment in lanes [first, first + STRIP).

    Which are sent says 4.3 Rebalancing, with the blocks of 4.3 After an exit; how large they are 4.3 Sizing; what they
    cost 4.3 Costs; where a position that opens or flips gets its stop 4.3 Stops.

    Parameters
    ----------
    moment : Moment
        Bar, decision and price of the orders.
    first : uint64
        The first lane of the strip.
    due : (LANES,) float64
        The targets that are due [1].
    atr : (n_windows, n_bars) float64
        Average true ranges [quote]; NaN sets no stop.
    trailing : bool
        Whether any lane has a trailing stop.
    state : (N_ROWS * LANES,) float64
        Changed.
    """
    t, decision, price = moment
    # A loop this short becomes vector instructions only if it needs no check whether arrays overlap.
    copy_strip(due, first, state, at(DUE, first))
    many_ranges = atr.shape[0] > 1
    if many_ranges:
        # A load whose place is data keeps a loop from becoming vector instructions, so it stands apart.
        for j in range(STRIP):
            lane = first + np.uint64(j)
            state[at(RANGE, lane)] = atr[np.uint64(state[at(ATR_ROW, lane)]), decision]
    only_range = atr[0, decision]
    for j in range(STRIP):
        lane = first + np.uint64(j)
        a = state[at(DUE, lane)]
        units = state[at(UNITS, lane)]
        cash = state[at(CASH, lane)]
        v = units * price
        equity = cash + v
        solvent = equity > 0.0
        divisor = equity if solvent else 1.0
        closes = (a == 0.0) & (v != 0.0)
        off_band = abs(a - v / divisor) > state[at(BAND, lane)]
        sends = (state[at(BLOCKED, lane)] == 0.0) & solvent & (closes | (a * v < 0.0) | off_band)

        cost_rate = state[at(COST, lane)]
        new_v = _sized(a, v, equity, cost_rate)
        traded = new_v - v if sends else 0.0
        cost = cost_rate * abs(traded)
        new_units = new_v / price if sends else units
        state[at(CASH, lane)] = cash - traded - cost
        state[at(UNITS, lane)] = new_units
        state[at(FILLS, lane)] += 1.0 if sends else 0.0
        state[at(COSTS, lane)] += cost
        state[at(TRADED, lane)] += abs(traded) / divisor

        # A position that a stop closed before in this bar has counted the bar.
        stopped = state[at(STOPPED, lane)]
        begin = stopped + 1.0 if stopped == t else np.float64(t)
        ends = (units != 0.0) & (new_units == 0.0)
        starts = (units == 0.0) & (new_units != 0.0)
        state[at(EXPOSED, lane)] += (t + 1.0 if ends else 0.0) - (begin if starts else 0.0)

        renews = sends & (units * new_units <= 0.0)
        average_range = state[at(RANGE, lane)] if many_ranges else only_range
        distance = stop_distance(state[at(KIND, lane)], state[at(FACTOR, lane)], price, average_range)
        distance = distance if (distance == distance) & (new_units != 0.0) else math.inf
        new_stop = (price if new_units > 0.0 else -price) - distance
        state[at(STOP, lane)] = new_stop if renews else state[at(STOP, lane)]
        if trailing:
            distance = distance if state[at(TRAILING, lane)] != 0.0 else math.inf
            state[at(DISTANCE, lane)] = distance if renews else state[at(DISTANCE, lane)]


@jit_borrowing
def write_order(
    moment: Moment, a: float, units: float, cash: float, state: Float64Array1D, fills: Float64Array2D
) -> None:
    """Write the order that lane 0 has filled out of `units` and `cash` [quote] to `fills`; it is counted already.

    Its value and cost are those of 4.3 Sizing and 4.3 Costs again, for the target `a` [1].
    """
    v = units * moment.price
    traded = _sized(a, v, cash + v, state[at(COST, 0)]) - v
    bought = state[at(UNITS, 0)] - units
    _write(
        Fill(moment.bar, ORDER_FILL, moment.price, bought, traded, state[at(COST, 0)] * abs(traded)), 0, state, fills
    )


@jit_borrowing
def _write(fill: Fill, lane: int, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Write the last fill counted, and what it leaves, to its row of `fills` (n, 8), if that has room."""
    place = int(state[at(FILLS, lane)]) - 1
    if place < fills.shape[0]:
        position = state[at(UNITS, lane)]
        fills[place, 0], fills[place, 1], fills[place, 2] = fill.bar, fill.reason, fill.price
        fills[place, 3], fills[place, 4], fills[place, 5] = fill.units, fill.value, fill.cost
        fills[place, 6], fills[place, 7] = state[at(CASH, lane)] + position * fill.price, position


@jit_borrowing
def _leave(t: int, lane: int, state: Float64Array1D) -> None:
    """End a position in bar `t`: no units, no stop, one fill more, and the bar counted as exposed (4.4 exposure)."""
    state[at(EXPOSED, lane)] += t + 1.0
    state[at(UNITS, lane)] = 0.0
    state[at(STOP, lane)] = -math.inf
    state[at(DISTANCE, lane)] = math.inf
    state[at(FILLS, lane)] += 1.0


@jit_borrowing
def ruin(t: int, lane: int, price: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close what is held at `price`, for nothing, and leave an equity of 0 to the end (4.3 Ruin)."""
    units = state[at(UNITS, lane)]
    state[at(CASH, lane)] = 0.0
    state[at(RUINED, lane)] = 1.0
    if units != 0.0:
        _leave(t, lane, state)
        _write(Fill(t, RUIN_FILL, price, -units, -units * price, 0.0), lane, state, fills)


@jit_borrowing
def stop_out(t: int, lane: int, open_: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close one lane's position, whose stop bar `t` has reached.

    Where it fills says 4.3 Stops, what it costs 4.3 Costs, and which direction it blocks 4.3 After an exit.
    """
    units = state[at(UNITS, lane)]
    stop = state[at(STOP, lane)]
    price = min(open_, stop) if units > 0.0 else max(open_, -stop)
    v = units * price
    cash = state[at(CASH, lane)]
    cost = state[at(STOP_COST, lane)] * abs(v)
    equity = cash + v
    state[at(CASH, lane)] = equity - cost
    state[at(COSTS, lane)] += cost
    state[at(TRADED, lane)] += abs(v) / equity if equity > 0.0 else 0.0
    state[at(STOPPED, lane)] = t
    _leave(t, lane, state)
    if state[at(REENTRY, lane)] == 0.0:
        state[at(BLOCKED, lane)] = 1.0 if units > 0.0 else -1.0
    _write(Fill(t, STOP_FILL, price, -units, -v, cost), lane, state, fills)
