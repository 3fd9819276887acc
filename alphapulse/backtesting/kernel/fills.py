"""What changes a position: orders, eight lanes at a time; stops, liquidations and ruins, which are rare, one by one.

The rules are those of docs/definitions.md, section 4.3 Engine. Orders of the full rules are in `orders`.

A strip in which any lane may trade runs through `order_strip` whole, without branches: whether a lane trades, and
which way, cannot be predicted, and a wrong guess costs more than the arithmetic of the other lanes.
"""

import math

import numpy as np

from alphapulse.backtesting.kernel.state import (
    ATR_ROW,
    BAND,
    BASE,
    BEFORE_ORDER,
    BLOCKED,
    CASH,
    COST,
    COSTS,
    DISTANCE,
    DUE,
    EARNED,
    EQUAL,
    EQUITY,
    EXITED,
    FACTOR,
    FILLS,
    HELD,
    KIND,
    LONG_EDGE,
    LONGEST,
    LOST,
    N_CLOSED,
    N_LOST,
    N_WINS,
    OPENED,
    ORDER_COST,
    ORDERED,
    RANGE,
    REENTRY,
    RUINED,
    SHORT_EDGE,
    SPELLS,
    STOP,
    STOP_DISTANCE,
    STRIP,
    TAKE,
    TRADED,
    TRAIL,
    TRIGGER,
    TURNS,
    UNITS,
    WON,
    Fill,
    Moment,
    Rules,
    at,
)
from alphapulse.backtesting.kernel.vector import copy_strip
from alphapulse.backtesting.params import level_distance_python
from alphapulse.compiling import jit_inside
from alphapulse.typing import Float64Array1D, Float64Array2D

ORDER_FILL, STOP_FILL, TAKE_PROFIT_FILL, TIME_FILL, LIQUIDATION_FILL, RUIN_FILL = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0
level_distance = jit_inside(level_distance_python)

FILL_COLUMNS = (*Fill._fields, "equity", "position")


@jit_inside
def sized(a: float, v: float, equity: float, cost_rate: float) -> float:
    """Return the v' of 4.3 Sizing [quote]: allocation `a`, net of the cost of getting there from a value of `v`."""
    paid = cost_rate if a * equity > v else -cost_rate
    return a * (equity + paid * v) / (1.0 + a * paid)


@jit_inside
def liquidation(cash: float, units: float, margin: float) -> float:
    """Return the price of 4.3 Liquidation times the direction of the position [quote]; -inf or NaN without units."""
    return -cash / (abs(units) - units * margin)


@jit_inside
def load_ranges(decision: int, first: np.uint64, atr: Float64Array2D, state: Float64Array1D) -> None:
    """Bring the average true ranges of a strip into `state`."""
    if atr.shape[0] == 1:
        for j in range(STRIP):
            state[at(RANGE, first + np.uint64(j))] = atr[0, decision]
        return
    # A load whose place is data keeps a loop from becoming vector instructions, so it stands apart.
    for j in range(STRIP):
        lane = first + np.uint64(j)
        state[at(RANGE, lane)] = atr[np.uint64(state[at(ATR_ROW, lane)]), decision]


@jit_inside
def book_order(
    lane: np.uint64, price: float, new_units: float, traded: float, cost: float, state: Float64Array1D
) -> None:
    """Book an order of value `traded` at its `cost` [quote]; what `turn_strip` needs is kept.

    Parameters
    ----------
    price : float
        Of the order [quote].
    new_units : float
        Units after it; those before it and a cost of 0 where none is sent.
    """
    units = state[at(UNITS, lane)]
    cash = state[at(CASH, lane)]
    equity = cash + units * price
    sends = new_units != units
    state[at(CASH, lane)] = cash - traded - cost
    state[at(UNITS, lane)] = new_units
    state[at(COSTS, lane)] += cost
    state[at(TRADED, lane)] += abs(traded) / (equity if equity > 0.0 else 1.0)
    state[at(TURNS, lane)] = 1.0 if sends & (units * new_units <= 0.0) else 0.0
    state[at(BEFORE_ORDER, lane)] = units
    state[at(EQUITY, lane)] = equity
    _set_trigger(price, new_units, sends, state[at(STOP, lane)], lane, state)


@jit_inside
def _set_trigger(price: float, units: float, sent: bool, stop: float, lane: np.uint64, state: Float64Array1D) -> None:
    """Set the row TRIGGER of a lane if an order was `sent` at `price` [quote]: the exact level costs a division."""
    # Loaded before it is chosen, or the loops that call this stay scalar.
    long, short, before = state[at(LONG_EDGE, lane)], state[at(SHORT_EDGE, lane)], state[at(TRIGGER, lane)]
    edge = price * (long if units > 0.0 else short)
    edge = edge if units != 0.0 else -math.inf
    level = edge if sent else before
    # Where none was sent it is not below the stop; a choice alone becomes a masked store, which later loads wait for.
    state[at(TRIGGER, lane)] = level if level > stop else stop


@jit_inside
def turn_strip(moment: Moment, first: np.uint64, trailing: bool, state: Float64Array1D, rules: Rules | None) -> None:
    """End and begin the trades of a strip in which an order may have closed, opened or flipped a position (4.4 trades).

    What stops begin at says 4.3 Stops; the average true ranges are in `state`.
    """
    t, price = moment.bar, moment.price
    now = np.float64(t)
    for j in range(STRIP):
        lane = first + np.uint64(j)
        turns = state[at(TURNS, lane)] != 0.0
        units, new_units = state[at(BEFORE_ORDER, lane)], state[at(UNITS, lane)]
        # The cost is borne by what an order closes in proportion to its value.
        if rules is None:
            share = state[at(COST, lane)] * abs(units * price)
        else:
            x = abs(state[at(ORDERED, lane)])
            share = state[at(ORDER_COST, lane)] * abs(units * price) / (x if x > 0.0 else 1.0)
        left = state[at(EQUITY, lane)] - share - state[at(EARNED, lane)]
        closes, opens = turns & (units != 0.0), turns & (new_units != 0.0)
        # A position that an exit closed before in this bar has counted the bar.
        starts = opens & (units == 0.0) & (state[at(EXITED, lane)] != now)
        state[at(SPELLS, lane)] += 1.0 if starts else 0.0
        close_trade(now, left, closes, lane, state)
        state[at(BASE, lane)] = left if opens else state[at(BASE, lane)]
        state[at(OPENED, lane)] = now if opens else state[at(OPENED, lane)]

        distance = level_distance(state[at(KIND, lane)], state[at(FACTOR, lane)], price, state[at(RANGE, lane)])
        distance = distance if (distance > 0.0) & (new_units != 0.0) else math.inf
        new_stop = (price if new_units > 0.0 else -price) - distance
        stop = new_stop if turns else state[at(STOP, lane)]
        state[at(STOP, lane)] = stop
        state[at(STOP_DISTANCE, lane)] = distance
        if trailing:
            state[at(DISTANCE, lane)] = distance * state[at(TRAIL, lane)] if turns else state[at(DISTANCE, lane)]
        _set_trigger(price, new_units, turns, stop, lane, state)


@jit_inside
def close_trade(now: float, left: float, closes: bool, lane: np.uint64, state: Float64Array1D) -> None:
    """Count a trade that ends in bar `now` with an equity less interest of `left` [quote], if it `closes` (4.4)."""
    base = state[at(BASE, lane)]
    profit = left - base
    least = EQUAL * abs(base)
    wins, loses = closes & (profit > least), closes & (profit < -least)
    bars = now - state[at(OPENED, lane)]
    longest = state[at(LONGEST, lane)]
    state[at(N_CLOSED, lane)] += 1.0 if closes else 0.0
    state[at(HELD, lane)] += bars if closes else 0.0
    state[at(LONGEST, lane)] = bars if closes & (bars > longest) else longest
    state[at(N_WINS, lane)] += 1.0 if wins else 0.0
    state[at(WON, lane)] += profit if wins else 0.0
    state[at(N_LOST, lane)] += 1.0 if loses else 0.0
    state[at(LOST, lane)] += profit if loses else 0.0


@jit_inside
def order_strip(moment: Moment, first: np.uint64, due: Float64Array1D, state: Float64Array1D) -> tuple[int, int]:
    """Send the orders of a moment in lanes [first, first + STRIP), by the plain rules.

    Which are sent says 4.3 Rebalancing, with the blocks of 4.3 After an exit; how large they are 4.3 Sizing; what they
    cost 4.3 Costs.

    Parameters
    ----------
    moment : Moment
        Bar, decision and price of the orders.
    first : uint64
        The first lane of the strip.
    due : (LANES,) float64
        The targets that are due [1].
    state : (N_ROWS * LANES,) float64
        Changed.

    Returns
    -------
    n_turns : int
        Not 0 if an order may have closed, opened or flipped a position, which `turn_strip` ends and begins.
    n_insolvent : int
        Lanes with a position and no equity (4.3 Ruin), which the caller closes.
    """
    price = moment.price
    # A loop this short becomes vector instructions only if it needs no check whether arrays overlap.
    copy_strip(due, first, state, at(DUE, first))
    n_turns = n_insolvent = 0
    for j in range(STRIP):
        lane = first + np.uint64(j)
        a = state[at(DUE, lane)]
        units = state[at(UNITS, lane)]
        v = units * price
        equity = state[at(CASH, lane)] + v
        closes = (a == 0.0) & (v != 0.0)
        off_band = abs(a * equity - v) > state[at(BAND, lane)] * equity
        wants = (state[at(BLOCKED, lane)] == 0.0) & (equity > 0.0) & (closes | (a * v < 0.0) | off_band)
        n_insolvent += 1 if (v != 0.0) & (equity <= 0.0) else 0

        cost_rate = state[at(COST, lane)]
        new_v = sized(a, v, equity, cost_rate)
        traded = new_v - v
        cost = cost_rate * abs(traded)
        sends = wants & (equity - cost > EQUAL * abs(traded))
        traded = traded if sends else 0.0
        cost = cost if sends else 0.0
        new_units = new_v / price if sends else units
        book_order(lane, price, new_units, traded, cost, state)
        # Some more than turn, but known before the divisions.
        n_turns += 1 if wants & (a * v <= 0.0) else 0
    return n_turns, n_insolvent


@jit_inside
def write_order(
    moment: Moment, a: float, units: float, cash: float, state: Float64Array1D, fills: Float64Array2D
) -> None:
    """Write the order that lane 0 has filled out of `units` and `cash` [quote] to `fills`.

    Its value and cost are those of 4.3 Sizing and 4.3 Costs again, for the target `a` [1].
    """
    v = units * moment.price
    traded = sized(a, v, cash + v, state[at(COST, 0)]) - v
    bought = state[at(UNITS, 0)] - units
    write_fill(
        Fill(moment.bar, ORDER_FILL, moment.price, bought, traded, state[at(COST, 0)] * abs(traded)), 0, state, fills
    )


@jit_inside
def write_fill(fill: Fill, lane: int | np.uint64, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Count a fill, and write it and what it leaves to its row of `fills` (n, 8), if that has room."""
    place = int(state[at(FILLS, lane)])
    if place < fills.shape[0]:
        state[at(FILLS, lane)] += 1.0
        position = state[at(UNITS, lane)]
        fills[place, 0], fills[place, 1], fills[place, 2] = fill.bar, fill.reason, fill.price
        fills[place, 3], fills[place, 4], fills[place, 5] = fill.units, fill.value, fill.cost
        fills[place, 6], fills[place, 7] = state[at(CASH, lane)] + position * fill.price, position


@jit_inside
def leave(t: int, lane: int | np.uint64, state: Float64Array1D) -> None:
    """End a position in bar `t`, its cash being what is left of it: no units, no levels, one trade more."""
    close_trade(np.float64(t), state[at(CASH, lane)] - state[at(EARNED, lane)], True, np.uint64(lane), state)
    state[at(UNITS, lane)] = 0.0
    state[at(STOP, lane)] = -math.inf
    state[at(TRIGGER, lane)] = -math.inf
    state[at(DISTANCE, lane)] = math.inf
    state[at(TAKE, lane)] = math.inf


@jit_inside
def ruin(t: int, lane: int | np.uint64, price: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close what is held at `price`, for nothing, and leave an equity of 0 to the end (4.3 Ruin)."""
    units = state[at(UNITS, lane)]
    v = units * price
    count_traded(abs(v), state[at(CASH, lane)] + v, lane, state)
    state[at(CASH, lane)] = 0.0
    state[at(RUINED, lane)] = 1.0
    if units != 0.0:
        leave(t, lane, state)
        write_fill(Fill(t, RUIN_FILL, price, -units, -v, 0.0), lane, state, fills)


@jit_inside
def count_traded(x: float, equity: float, lane: int | np.uint64, state: Float64Array1D) -> None:
    """Add a fill of value `x` to the turnover (4.4), unless what is left before it is 0 but for rounding [quote]."""
    state[at(TRADED, lane)] += x / equity if equity > EQUAL * x else 0.0


@jit_inside
def exit_position(
    t: int,
    lane: int | np.uint64,
    reason: float,
    price: float,
    cost: float,
    state: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Close one lane's position inside bar `t` at `price` and `cost` [quote], which want of equity never holds back.

    What blocks says 4.3 After an exit, when nothing is left 4.3 Ruin.
    """
    units = state[at(UNITS, lane)]
    v = units * price
    equity = state[at(CASH, lane)] + v
    ruined = equity - cost <= EQUAL * abs(v)
    if ruined:
        cost = min(cost, max(equity, 0.0))
        state[at(RUINED, lane)] = 1.0
    state[at(CASH, lane)] = 0.0 if ruined else equity - cost
    state[at(COSTS, lane)] += cost
    count_traded(abs(v), equity, lane, state)
    state[at(EXITED, lane)] = t
    leave(t, lane, state)
    if state[at(REENTRY, lane)] == 0.0:
        state[at(BLOCKED, lane)] = 1.0 if units > 0.0 else -1.0
    write_fill(Fill(t, reason, price, -units, -v, cost), lane, state, fills)
