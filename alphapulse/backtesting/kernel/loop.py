"""The engine's inner loop: lanes of trials side by side, tile by tile of bars, one state carried along.

The rules are those of docs/definitions.md, section 4.3 Engine; each function names the ones that it keeps. A group is
`LANES` trials that share an execution mode and a rebalance frequency; its state is one flat buffer of rows, one entry a
lane. A bar is passes over the lanes without branches, so that they become vector instructions, and
what few lanes need:

1. `_watch` finds the strips of lanes where an order is due. In those `order_strip` decides and trades.
2. `_leave_inside` closes the positions whose stop, liquidation or take profit is reached, before the orders if these
   fill at the close.
3. `_mark` books interest and writes the equity at the close, from which `moments` takes its sums.

There are two loops of one source. Where `rules` is None the compiler leaves out all that the plain rules do not have
(costs of an order or a unit, minima, lots, take profits, time exits, sizing by risk, joined rates); a trial takes the
smaller loop by its own fields alone, see `batch.needs_full_rules`.

Nothing here depends on the other lanes of a group, on the size of a tile or on the width of a vector, so neither do the
bits of a trial.
"""

import math

import numpy as np

from alphapulse.backtesting.kernel.exits import exit_inside
from alphapulse.backtesting.kernel.fills import liquidation, load_ranges, order_strip, ruin, turn_strip, write_order
from alphapulse.backtesting.kernel.moments import add_returns, close_block
from alphapulse.backtesting.kernel.orders import order_strip_full, turn_strip_full, write_order_full
from alphapulse.backtesting.kernel.state import (
    BAD,
    BAND,
    BEFORE,
    BLOCKED,
    BORROW,
    CASH,
    DISTANCE,
    EARNED,
    EQUAL,
    INTEREST,
    LANES,
    LAST_TARGET,
    LEVERAGE,
    MARGIN,
    MAX_BARS,
    OPENED,
    RISK,
    RUINED,
    SHORTEST,
    SIZED,
    STOP,
    STRIP,
    TAKE,
    TINY,
    TRAIL_RATE,
    TRIGGER,
    UNITS,
    Lanes,
    Mode,
    Moment,
    Outputs,
    Prices,
    Rules,
    Scratch,
    Tape,
    at,
)
from alphapulse.backtesting.kernel.vector import lowest_bit, turn_square
from alphapulse.compiling import jit_borrowing, jit_inside
from alphapulse.typing import Float64Array1D, Float64Array2D

NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE = 0, 1, 2

NO_VALUE = 1e-150
"""A target times a value is no more than this [quote] if the target is 0 or `TINY`; the value of a position is more."""


@jit_inside
def _exceeds(targets: Float64Array1D, least: float, most: float) -> bool:
    """Return whether any of `targets` (n,) [1] is NaN, below `least`, above `most`, or 0 but for rounding."""
    n = 0
    for t in range(targets.shape[0]):
        a = targets[t]
        n += 0 if (a >= least) & (a <= most) & ((abs(a) > EQUAL) | (a == 0.0)) else 1
    return n > 0


@jit_inside
def _clip(
    lane: int, least: float, most: float, due: Float64Array2D, state: Float64Array1D, rules: Rules | None
) -> None:
    """Clip a lane's targets from row 1 of `due` on (4.3 Allocation); remember one that is not finite."""
    # A size that is unknown keeps its direction, see TINY.
    tiny = 0.0 if rules is None else TINY
    for t in range(1, due.shape[0]):
        a = due[t, lane]
        if not abs(a) < math.inf:
            state[at(BAD, lane)] = 1.0
        a = 0.0 if (abs(a) <= EQUAL) & (abs(a) != tiny) else a
        due[t, lane] = min(max(a, least), most)


@jit_inside
def _load_targets(targets: Float64Array2D, state: Float64Array1D, due: Float64Array2D, rules: Rules | None) -> None:
    """Write the rows of `targets` to columns of `due` from row 1 on, clipped (4.3 Allocation).

    Row 0 is the last bar of the tile before, which next_open and next_close still fill (4.3 Execution).
    """
    n_lanes, n = targets.shape
    n_square, t_square = n_lanes - n_lanes % STRIP, n - n % STRIP
    for lane in range(LANES):
        due[0, lane] = state[at(LAST_TARGET, lane)]
    for lane in range(0, n_square, STRIP):
        for t in range(0, t_square, STRIP):
            turn_square(targets, lane, t, due, t + 1)
    for lane in range(n_lanes):
        least, most = state[at(SHORTEST, lane)], state[at(LEVERAGE, lane)]
        for t in range(t_square if lane < n_square else 0, n):
            due[t + 1, lane] = targets[lane, t]
        if _exceeds(targets[lane], least, most):
            _clip(lane, least, most, due[: n + 1], state, rules)
    # Lanes that nobody uses never trade.
    for t in range(n if n_lanes < LANES else 0):
        for lane in range(n_lanes, LANES):
            due[t + 1, np.uint64(lane)] = 0.0
    for lane in range(LANES):
        state[at(LAST_TARGET, lane)] = due[n, lane]


@jit_inside
def _watch(price: float, due: Float64Array1D, state: Float64Array1D) -> np.uint64:
    """Lift blocks by the due targets (4.3 After an exit) and find the orders that are due (4.3 Rebalancing).

    Returns a bit for each strip in which a lane may trade; a position without equity is always off its band.
    """
    orders = np.uint64(0)
    for lane in range(LANES):
        a = due[lane]
        blocked = state[at(BLOCKED, lane)]
        stays = a * blocked > 0.0
        state[at(BLOCKED, lane)] = blocked if stays else 0.0
        v = state[at(UNITS, lane)] * price
        equity = state[at(CASH, lane)] + v
        off_band = abs(a * equity - v) > state[at(BAND, lane)] * equity
        turns = (v != 0.0) & (a * v <= NO_VALUE)
        orders |= np.uint64((not stays) & (off_band | turns)) << np.uint64(lane // STRIP)
    return orders


@jit_inside
def _watch_risk(price: float, due: Float64Array1D, state: Float64Array1D) -> np.uint64:
    """Watch as `_watch` does where risk may size: an open position keeps its allocation."""
    orders = np.uint64(0)
    for lane in range(LANES):
        a = due[lane]
        blocked = state[at(BLOCKED, lane)]
        stays = a * blocked > 0.0
        state[at(BLOCKED, lane)] = blocked if stays else 0.0
        v = state[at(UNITS, lane)] * price
        equity = state[at(CASH, lane)] + v
        risk = state[at(RISK, lane)]
        a = state[at(SIZED, lane)] if (risk == risk) & (a * v > NO_VALUE) else a
        off_band = abs(a * equity - v) > state[at(BAND, lane)] * equity
        turns = (v != 0.0) & (a * v <= NO_VALUE)
        orders |= np.uint64((not stays) & (off_band | turns)) << np.uint64(lane // STRIP)
    return orders


@jit_inside
def _watch_time(t: int, state: Float64Array1D) -> np.uint64:
    """Return a bit for each strip in which a position has stood for as long as it may (4.3 Time)."""
    now = np.float64(t)
    late = np.uint64(0)
    for lane in range(LANES):
        is_late = (state[at(UNITS, lane)] != 0.0) & (now >= state[at(OPENED, lane)] + state[at(MAX_BARS, lane)])
        late |= np.uint64(is_late) << np.uint64(lane // STRIP)
    return late


@jit_inside
def _ruin_insolvent(
    moment: Moment, first: np.uint64, state: Float64Array1D, fills: Float64Array2D, rules: Rules | None
) -> None:
    """Close the positions of a strip without equity at the price of orders (4.3 Ruin)."""
    for j in range(STRIP):
        lane = first + np.uint64(j)
        units = state[at(UNITS, lane)]
        asked = True
        if rules is not None:
            late = moment.bar >= state[at(OPENED, lane)] + state[at(MAX_BARS, lane)]
            asked = moment.may_order or late
        if asked and units != 0.0 and state[at(CASH, lane)] + units * moment.price <= 0.0:
            ruin(moment.bar, lane, moment.price, state, fills if lane == 0 else fills[:0])


@jit_inside
def _trade(
    moment: Moment,
    tape: Tape,
    mode: Mode,
    due: Float64Array1D,
    state: Float64Array1D,
    fills: Float64Array2D,
    rules: Rules | None,
) -> None:
    """Send the orders of a moment, strip by strip (4.3 Execution, 4.3 Rebalancing, 4.3 Time)."""
    if rules is None:
        orders = _watch(moment.price, due, state)
        if not moment.may_order:
            return
    else:
        orders = _watch_risk(moment.price, due, state) if rules.by_risk else _watch(moment.price, due, state)
        orders = orders if moment.may_order else np.uint64(0)
        if rules.has_time:
            orders |= _watch_time(moment.bar, state)
    units, cash = state[at(UNITS, 0)], state[at(CASH, 0)]
    turns = np.uint64(0)
    while orders != np.uint64(0):
        first = lowest_bit(orders) * np.uint64(STRIP)
        orders &= orders - np.uint64(1)
        if rules is None:
            n_turns, n_insolvent = order_strip(moment, first, due, state)
        else:
            n_turns, n_insolvent = order_strip_full(moment, first, due, tape, state, rules)
        turns |= np.uint64(n_turns > 0) << (first // np.uint64(STRIP))
        if n_insolvent > 0:
            _ruin_insolvent(moment, first, state, fills, rules)
    # Apart, since no processor can guess whether the orders of a strip turn.
    while turns != np.uint64(0):
        first = lowest_bit(turns) * np.uint64(STRIP)
        turns &= turns - np.uint64(1)
        load_ranges(max(moment.decision, 0), first, tape.atr, state)
        turn_strip(moment, first, mode.trailing, state, rules)
        if rules is not None:
            turn_strip_full(moment.price, first, state)
    if fills.shape[0] > 0 and state[at(UNITS, 0)] != units and state[at(RUINED, 0)] == 0.0:
        if rules is None:
            write_order(moment, due[0], units, cash, state, fills)
        else:
            write_order_full(moment, units, state, fills)


@jit_inside
def _leave_inside(t: int, prices: Prices, state: Float64Array1D, fills: Float64Array2D, rules: Rules | None) -> None:
    """Close the positions whose stop, liquidation or take profit bar `t` reaches (4.3 Stops, Take profit, Liquidation).

    What is equal to a level has reached it.
    """
    lowest, highest = prices.low * (1.0 - EQUAL), prices.high * (1.0 + EQUAL)
    hits = np.uint64(0)
    for lane in range(LANES):
        long = state[at(UNITS, lane)] > 0.0
        reached = (lowest if long else -highest) <= state[at(TRIGGER, lane)]
        if rules is not None:
            reached |= (highest if long else -lowest) >= state[at(TAKE, lane)]
        hits |= np.uint64(reached) << np.uint64(lane // STRIP)
    while hits != np.uint64(0):
        strip = lowest_bit(hits)
        hits &= hits - np.uint64(1)
        for j in range(STRIP):
            lane = strip * np.uint64(STRIP) + np.uint64(j)
            if state[at(UNITS, lane)] != 0.0:
                exit_inside(t, lane, prices, state, fills if lane == 0 else fills[:0], rules)


@jit_inside
def _mark(t: int, close: float, mode: Mode, state: Float64Array1D, equity: Float64Array1D, rules: Rules | None) -> int:
    """End a bar at its close: carry (4.3 Carry), trailing stops (4.3 Stops), equity.

    Each lane's equity [quote] is written to `equity`. Returns how many lanes it newly ruins (4.3 Ruin), which the
    caller closes.
    """
    if mode.carry:
        borrow, funding = 1.0, 0.0
        if rules is not None:
            borrow, funding = rules.borrow[t], rules.funding[t]
        for lane in range(LANES):
            cash, units = state[at(CASH, lane)], state[at(UNITS, lane)]
            v = units * close
            short = -v if v < 0.0 else 0.0
            interest = cash * state[at(INTEREST, lane)]
            cash = cash + interest - state[at(BORROW, lane)] * borrow * short
            if rules is not None:
                cash -= funding * v
            state[at(CASH, lane)] = cash
            state[at(EARNED, lane)] += interest
            margin = liquidation(cash, units, state[at(MARGIN, lane)])
            stop = state[at(STOP, lane)]
            state[at(TRIGGER, lane)] = margin if margin > stop else stop
    if mode.trailing:
        for lane in range(LANES):
            edge = close if state[at(UNITS, lane)] > 0.0 else -close
            nearer = edge - (state[at(DISTANCE, lane)] + state[at(TRAIL_RATE, lane)] * close)
            stop = state[at(STOP, lane)]
            stop = nearer if nearer > stop else stop
            trigger = state[at(TRIGGER, lane)]
            state[at(STOP, lane)] = stop
            state[at(TRIGGER, lane)] = stop if stop > trigger else trigger
    n_ruined = 0
    for lane in range(LANES):
        e = state[at(CASH, lane)] + state[at(UNITS, lane)] * close
        equity[lane] = e
        n_ruined += 1 if (e <= 0.0) & (state[at(RUINED, lane)] == 0.0) else 0
    return n_ruined


@jit_borrowing
def run_tile(
    tape: Tape,
    mode: Mode,
    start: int,
    targets: Float64Array2D,
    lanes: Lanes,
    scratch: Scratch,
    outputs: Outputs,
    rules: Rules | None,
) -> None:
    """Carry groups of trials through one tile of bars, each in the order that 4.3 gives under bar t.

    Parameters
    ----------
    tape : Tape
        What all trials see.
    mode : Mode
        What these trials share.
    start : int
        First bar of the tile, at least `tape.first`.
    targets : (n_trials, n_tile) float64
        Targets decided at the closes of bars `start` and on [1], trial by trial in the order of `lanes`.
    lanes : Lanes
        The trials; their states are changed.
    scratch : Scratch
        Of at least n_tile + 1 rows.
    outputs : Outputs
        Filled. Curves and fills are those of the first lane of the first group.
    rules : Rules, optional
        None for trials of the plain rules.
    """
    first, prices, benchmark, block_of, _ = tape
    due, equity = scratch
    n = targets.shape[1]
    begin = 0
    for group in range(lanes.states.shape[0]):
        state = lanes.states[group]
        fills = outputs.fills if group == 0 else outputs.fills[:0]
        _load_targets(targets[begin : begin + lanes.n_lanes[group]], state, due, rules)
        begin += LANES
        for lane in range(LANES):
            equity[0, lane] = state[at(BEFORE, lane)]
        done = 0
        for i in range(n):
            t = start + i
            bar = Prices(prices[0, t], prices[1, t], prices[2, t], prices[3, t])
            row = i + 1 if mode.execution == SAME_CLOSE else i
            decision = t if mode.execution == SAME_CLOSE else t - 1
            may_order = mode.may_trade[t] and decision >= 0
            moment = Moment(t, decision, bar.open if mode.execution == NEXT_OPEN else bar.close, may_order)
            if mode.execution == NEXT_OPEN:
                _trade(moment, tape, mode, due[row], state, fills, rules)
            _leave_inside(t, bar, state, fills, rules)
            if mode.execution != NEXT_OPEN:
                _trade(moment, tape, mode, due[row], state, fills, rules)
            if _mark(t, bar.close, mode, state, equity[i + 1], rules) > 0:
                for lane in range(LANES):
                    if equity[i + 1, lane] <= 0.0 and state[at(RUINED, lane)] == 0.0:
                        ruin(t, lane, bar.close, state, fills if lane == 0 else fills[:0])
                        equity[i + 1, lane] = 0.0
            if group == 0 and outputs.curves.shape[0] > 0:
                outputs.curves[t - first, 0] = equity[i + 1, 0]
                outputs.curves[t - first, 1] = state[at(UNITS, 0)]
                outputs.curves[t - first, 2] = state[at(CASH, 0)]
                outputs.curves[t - first, 3] = state[at(EARNED, 0)]
            if block_of[t] >= 0 or i == n - 1:
                add_returns(done, i + 1, start, benchmark, equity, state)
                done = i + 1
            if block_of[t] >= 0:
                close_block(block_of[t], state, outputs.block_sums[group], outputs.block_squares[group])
        for lane in range(LANES):
            state[at(BEFORE, lane)] = equity[n, lane]
