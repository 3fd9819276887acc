"""The engine's inner loop: lanes of trials side by side, tile by tile of bars, one state carried along.

A group is `LANES` trials that share an execution mode and a rebalance frequency; its state is one flat buffer of
rows, one entry a lane. A bar is passes over the lanes without branches, so that they become vector instructions, and
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
    at,
)
from alphapulse.backtesting.kernel_vector import lowest_bit, turn_square
from alphapulse.compiling import jit_borrowing
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D

NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE = 0, 1, 2


@jit_borrowing
def _exceeds(targets: Float64Array1D, limit: float) -> bool:
    """Whether any of `targets` is NaN or beyond +-`limit`."""
    n = 0
    for t in range(targets.shape[0]):
        n += 0 if abs(targets[t]) <= limit else 1
    return n > 0


@jit_borrowing
def _clip(lane: int, limit: float, due: Float64Array2D, state: Float64Array1D) -> None:
    """Clip a lane's targets from row 1 of `due` on to +-`limit`; remember one that is not finite."""
    for t in range(1, due.shape[0]):
        a = due[t, lane]
        if not abs(a) < math.inf:
            state[at(BAD, lane)] = 1.0
        due[t, lane] = min(max(a, -limit), limit)


@jit_borrowing
def _load_targets(targets: Float64Array2D, state: Float64Array1D, due: Float64Array2D) -> None:
    """Write the rows of `targets` to columns of `due` from row 1 on; row 0 is the last bar of the tile before."""
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
    """Lift blocks by the due targets; return the strips, as bits, that may trade, and how many lanes are insolvent."""
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
def _ruin_insolvent(t: int, price: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close the positions of lanes that may trade but have no equity at `price`."""
    for lane in range(LANES):
        units = state[at(UNITS, lane)]
        if units != 0.0 and state[at(BLOCKED, lane)] == 0.0 and state[at(CASH, lane)] + units * price <= 0.0:
            ruin(t, lane, price, state, fills if lane == 0 else fills[:0])


@jit_borrowing
def _trade(
    t: int,
    price: float,
    decision: int,
    may_trade: bool,
    due: Float64Array1D,
    atr: Float64Array2D,
    trailing: bool,
    state: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Send the orders of a bar at `price`, strip by strip."""
    orders, n_insolvent = _watch(price, due, state)
    if not may_trade:
        return
    if n_insolvent > 0:
        _ruin_insolvent(t, price, state, fills)
    units, cash, n_fills = state[at(UNITS, 0)], state[at(CASH, 0)], state[at(FILLS, 0)]
    while orders != np.uint64(0):
        strip = lowest_bit(orders)
        orders &= orders - np.uint64(1)
        order_strip(t, strip * np.uint64(STRIP), price, decision, due, atr, trailing, state)
    if fills.shape[0] > 0 and state[at(FILLS, 0)] > n_fills:
        write_order(t, due[0], price, units, cash, state, fills)


@jit_borrowing
def _stop(t: int, open_: float, high: float, low: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close the positions whose stop the bar reaches."""
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
    """Write each lane's equity at the close to `equity[row]`; return how many are newly ruined."""
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
    start: int,
    targets: Float64Array2D,
    first: int,
    prices: Float64Array2D,
    benchmark: Float64Array1D,
    may_trade: BoolArray1D,
    block_of: Int64Array1D,
    atr: Float64Array2D,
    trials: Int64Array1D,
    execution: int,
    carry: bool,
    trailing: bool,
    states: Float64Array2D,
    due: Float64Array2D,
    equity: Float64Array2D,
    block_sums: Float64Array2D,
    block_squares: Float64Array2D,
    curves: Float64Array2D,
    fills: Float64Array2D,
) -> None:
    """Carry groups of trials through one tile of bars.

    Parameters
    ----------
    start : int
        First bar of the tile, at least `first`.
    targets : (n_trials, n_tile) float64
        Targets decided at the closes of bars `start` and on [1].
    first : int
        First scored bar; the run starts flat there.
    prices : (4, n_bars) float64
        Open, high, low and close [quote].
    benchmark : (n_bars,) float64
        Returns of the benchmark [1].
    may_trade : (n_bars,) bool
        Whether the rebalance frequency lets orders fill in a bar.
    block_of : (n_bars,) int64
        Calendar block that ends with this bar, or -1.
    atr : (n_windows, n_bars) float64
        Average true ranges [quote]; NaN where undefined.
    trials : (n_trials,) int64
        Rows of `block_sums` of the trials; each group has the next LANES of them, the last one what is left.
    execution : {NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE}
    carry, trailing : bool
        Whether any lane has a rate other than 0, or a trailing stop.
    states : (n_groups, N_ROWS * LANES) float64
        Carried state; changed.
    due, equity : (n_tile + 1, LANES) float64
        Scratch.
    block_sums, block_squares : (n_all_trials, n_blocks) float64
        Output: sums of returns and of their squares in each calendar block.
    curves : (n_bars - first, 3) float64
        Output for the first lane: equity, units, cash at each close. Nothing is written if it has no rows.
    fills : (n, 8) float64
        Output for the first lane, by `FILL_COLUMNS`; fills beyond its length are only counted.
    """
    n = targets.shape[1]
    for group in range(states.shape[0]):
        state = states[group]
        book = fills if group == 0 else fills[:0]
        begin = group * LANES
        n_lanes = min(LANES, trials.shape[0] - begin)
        _load_targets(targets[begin : begin + n_lanes], state, due)
        for lane in range(LANES):
            equity[0, lane] = state[at(BEFORE, lane)]
        done = 0
        for i in range(n):
            t = start + i
            open_, high, low, close = prices[0, t], prices[1, t], prices[2, t], prices[3, t]
            row = i + 1 if execution == SAME_CLOSE else i
            decision = t if execution == SAME_CLOSE else t - 1
            price = open_ if execution == NEXT_OPEN else close
            trades = may_trade[t] and decision >= 0
            if execution == NEXT_OPEN:
                _trade(t, price, decision, trades, due[row], atr, trailing, state, book)
            _stop(t, open_, high, low, state, book)
            if execution != NEXT_OPEN:
                _trade(t, price, decision, trades, due[row], atr, trailing, state, book)
            if _mark(close, carry, trailing, state, equity, i + 1) > 0:
                for lane in range(LANES):
                    if equity[i + 1, lane] <= 0.0 and state[at(RUINED, lane)] == 0.0:
                        ruin(t, lane, close, state, book if lane == 0 else book[:0])
                        equity[i + 1, lane] = 0.0
            if group == 0 and curves.shape[0] > 0:
                curves[t - first, 0] = equity[i + 1, 0]
                curves[t - first, 1] = state[at(UNITS, 0)]
                curves[t - first, 2] = state[at(CASH, 0)]
            if block_of[t] >= 0 or i == n - 1:
                add_returns(done, i + 1, start, benchmark, equity, state)
                done = i + 1
            if block_of[t] >= 0:
                close_block(block_of[t], trials[begin : begin + n_lanes], state, block_sums, block_squares)
        for lane in range(LANES):
            state[at(BEFORE, lane)] = equity[n, lane]
