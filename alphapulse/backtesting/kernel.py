"""The engine's inner loop: lanes of trials side by side, tile by tile of bars, one state carried along.

The rules are those of docs/definitions.md, section 4.3 Engine; each function names the ones that it keeps. A group is
`LANES` trials that share an execution mode and a rebalance frequency; its state is one flat buffer of rows, one entry a
lane. A bar is passes over the lanes without branches, so that they become vector instructions, and
what few lanes need:

1. `_watch` finds the strips of lanes where an order may be due; it errs on the side of looking closer. In those
   `order_strip` decides to the letter and trades.
2. `_stop` closes the positions whose stop is reached, before the orders if these fill at the close.
3. `_mark` books interest and writes the equity at the close, from which `kernel_moments` takes its sums.

Nothing here depends on the other lanes of a group, on the size of a tile or on the width of a vector, so neither do the
bits of a trial. Readings of the definition that leave a choice are listed in `tests/reference_engine.py`.
"""

import math

import numpy as np

from alphapulse.backtesting.kernel_fills import order_strip, ruin, stop_out, write_order
from alphapulse.backtesting.kernel_moments import add_returns, close_block
from alphapulse.backtesting.kernel_state import (
    BAD,
    BEFORE,
    BLOCKED,
    BORROW,
    CASH,
    DISTANCE,
    FILLS,
    INTEREST,
    LANES,
    LAST_TARGET,
    LEVERAGE,
    RUINED,
    STOP,
    STRIP,
    UNITS,
    WATCH_BAND,
    Lanes,
    Mode,
    Moment,
    Outputs,
    Scratch,
    Tape,
    at,
)
from alphapulse.backtesting.kernel_vector import lowest_bit, turn_square
from alphapulse.compiling import jit_borrowing
from alphapulse.typing import Float64Array1D, Float64Array2D

NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE = 0, 1, 2


@jit_borrowing
def _exceeds(targets: Float64Array1D, limit: float) -> bool:
    """Return whether any of `targets` (n,) [1] is NaN or beyond +-`limit`."""
    n = 0
    for t in range(targets.shape[0]):
        n += 0 if abs(targets[t]) <= limit else 1
    return n > 0


@jit_borrowing
def _clip(lane: int, limit: float, due: Float64Array2D, state: Float64Array1D) -> None:
    """Clip a lane's targets from row 1 of `due` on (4.3 Allocation); remember one that is not finite."""
    for t in range(1, due.shape[0]):
        a = due[t, lane]
        if not abs(a) < math.inf:
            state[at(BAD, lane)] = 1.0
        due[t, lane] = min(max(a, -limit), limit)


@jit_borrowing
def _load_targets(targets: Float64Array2D, state: Float64Array1D, due: Float64Array2D) -> None:
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
        limit = state[at(LEVERAGE, lane)]
        for t in range(t_square if lane < n_square else 0, n):
            due[t + 1, lane] = targets[lane, t]
        if _exceeds(targets[lane], limit):
            _clip(lane, limit, due[: n + 1], state)
    # Lanes that nobody uses never trade.
    for t in range(n if n_lanes < LANES else 0):
        for lane in range(n_lanes, LANES):
            due[t + 1, np.uint64(lane)] = 0.0
    for lane in range(LANES):
        state[at(LAST_TARGET, lane)] = due[n, lane]


@jit_borrowing
def _watch(price: float, due: Float64Array1D, state: Float64Array1D) -> tuple[np.uint64, int]:
    """Lift blocks by the due targets (4.3 After an exit) and find the orders that may be due (4.3 Rebalancing).

    Returns
    -------
    orders : uint64
        A bit for each strip in which a lane may trade.
    n_insolvent : int
        Lanes with a position and no equity at `price` (4.3 Ruin).
    """
    orders = np.uint64(0)
    n_insolvent = 0
    for lane in range(LANES):
        a = due[lane]
        blocked = state[at(BLOCKED, lane)]
        stays = a * blocked > 0.0
        state[at(BLOCKED, lane)] = blocked if stays else 0.0
        v = state[at(UNITS, lane)] * price
        equity = state[at(CASH, lane)] + v
        off_band = abs(a * equity - v) > state[at(WATCH_BAND, lane)] * equity
        turns = (v != 0.0) & (a * v <= 0.0)
        orders |= np.uint64((not stays) & (off_band | turns)) << np.uint64(lane // STRIP)
        n_insolvent += 1 if (v != 0.0) & (equity <= 0.0) else 0
    return orders, n_insolvent


@jit_borrowing
def _ruin_insolvent(moment: Moment, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close the positions of lanes without a block and without equity at the price of orders (4.3 Ruin)."""
    for lane in range(LANES):
        units = state[at(UNITS, lane)]
        if units != 0.0 and state[at(BLOCKED, lane)] == 0.0 and state[at(CASH, lane)] + units * moment.price <= 0.0:
            ruin(moment.bar, lane, moment.price, state, fills if lane == 0 else fills[:0])


@jit_borrowing
def _trade(
    moment: Moment,
    tape: Tape,
    mode: Mode,
    due: Float64Array1D,
    state: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Send the orders of a moment, strip by strip (4.3 Execution, 4.3 Rebalancing)."""
    orders, n_insolvent = _watch(moment.price, due, state)
    if not (mode.may_trade[moment.bar] and moment.decision >= 0):
        return
    if n_insolvent > 0:
        _ruin_insolvent(moment, state, fills)
    units, cash, n_fills = state[at(UNITS, 0)], state[at(CASH, 0)], state[at(FILLS, 0)]
    while orders != np.uint64(0):
        strip = lowest_bit(orders)
        orders &= orders - np.uint64(1)
        order_strip(moment, strip * np.uint64(STRIP), due, tape.atr, mode.trailing, state)
    if fills.shape[0] > 0 and state[at(FILLS, 0)] > n_fills:
        write_order(moment, due[0], units, cash, state, fills)


@jit_borrowing
def _stop(t: int, open_: float, high: float, low: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close the positions whose stop bar `t` reaches (4.3 Stops)."""
    hits = np.uint64(0)
    for lane in range(LANES):
        edge = low if state[at(UNITS, lane)] > 0.0 else -high
        hits |= np.uint64(edge <= state[at(STOP, lane)]) << np.uint64(lane // STRIP)
    while hits != np.uint64(0):
        strip = lowest_bit(hits)
        hits &= hits - np.uint64(1)
        for j in range(STRIP):
            lane = strip * np.uint64(STRIP) + np.uint64(j)
            if (low if state[at(UNITS, lane)] > 0.0 else -high) <= state[at(STOP, lane)]:
                stop_out(t, lane, open_, state, fills if lane == 0 else fills[:0])


@jit_borrowing
def _mark(close: float, carry: bool, trailing: bool, state: Float64Array1D, equity: Float64Array2D, row: int) -> int:
    """End a bar at its close: carry (4.3 Carry), trailing stops (4.3 Stops), equity.

    Each lane's equity [quote] is written to `equity[row]`. Returns how many lanes it newly ruins (4.3 Ruin), which the
    caller closes.
    """
    if carry:
        for lane in range(LANES):
            cash = state[at(CASH, lane)]
            v = state[at(UNITS, lane)] * close
            short = -v if v < 0.0 else 0.0
            cash = cash + cash * state[at(INTEREST, lane)] - state[at(BORROW, lane)] * short
            state[at(CASH, lane)] = cash
    if trailing:
        for lane in range(LANES):
            edge = close if state[at(UNITS, lane)] > 0.0 else -close
            nearer = edge - state[at(DISTANCE, lane)]
            stop = state[at(STOP, lane)]
            state[at(STOP, lane)] = nearer if nearer > stop else stop
    n_ruined = 0
    for lane in range(LANES):
        e = state[at(CASH, lane)] + state[at(UNITS, lane)] * close
        equity[row, lane] = e
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
    """
    first, prices, benchmark, block_of, _ = tape
    due, equity = scratch
    n = targets.shape[1]
    begin = 0
    for group in range(lanes.states.shape[0]):
        state = lanes.states[group]
        trials = lanes.trials[group, : lanes.n_lanes[group]]
        fills = outputs.fills if group == 0 else outputs.fills[:0]
        _load_targets(targets[begin : begin + trials.shape[0]], state, due)
        begin += LANES
        for lane in range(LANES):
            equity[0, lane] = state[at(BEFORE, lane)]
        done = 0
        for i in range(n):
            t = start + i
            open_, high, low, close = prices[0, t], prices[1, t], prices[2, t], prices[3, t]
            row = i + 1 if mode.execution == SAME_CLOSE else i
            decision = t if mode.execution == SAME_CLOSE else t - 1
            moment = Moment(t, decision, open_ if mode.execution == NEXT_OPEN else close)
            if mode.execution == NEXT_OPEN:
                _trade(moment, tape, mode, due[row], state, fills)
            _stop(t, open_, high, low, state, fills)
            if mode.execution != NEXT_OPEN:
                _trade(moment, tape, mode, due[row], state, fills)
            if _mark(close, mode.carry, mode.trailing, state, equity, i + 1) > 0:
                for lane in range(LANES):
                    if equity[i + 1, lane] <= 0.0 and state[at(RUINED, lane)] == 0.0:
                        ruin(t, lane, close, state, fills if lane == 0 else fills[:0])
                        equity[i + 1, lane] = 0.0
            if group == 0 and outputs.curves.shape[0] > 0:
                outputs.curves[t - first, 0] = equity[i + 1, 0]
                outputs.curves[t - first, 1] = state[at(UNITS, 0)]
                outputs.curves[t - first, 2] = state[at(CASH, 0)]
            if block_of[t] >= 0 or i == n - 1:
                add_returns(done, i + 1, start, benchmark, equity, state)
                done = i + 1
            if block_of[t] >= 0:
                close_block(block_of[t], trials, state, outputs.block_sums, outputs.block_squares)
        for lane in range(LANES):
            state[at(BEFORE, lane)] = equity[n, lane]
