"""The engine's inner loop: lanes of trials side by side, tile by tile of bars, one state carried along.

A group is `LANES` trials that share an execution mode and a rebalance frequency; its state is one flat buffer of
rows, one entry a lane. Each bar is two passes over the lanes, without branches, so that they become vector
instructions, and a scalar step for the few lanes in which something may be filled:

1. `_watch` finds the lanes where an order may be due or a stop may be hit. It errs on the side of looking closer.
2. `_order` and `_check_stop` run such a lane, in the order of the definition, and decide to the letter.
3. `_mark` books interest and writes the equity at the close, from which `kernel_moments` takes its sums.

Nothing here depends on the other lanes of a group, on the size of a tile or on the width of a vector, so neither do the
bits of a trial. Readings of the definition that leave a choice are listed in `tests/reference_engine.py`.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from alphapulse.backtesting.kernel_moments import add_returns, close_block
from alphapulse.backtesting.kernel_state import (
    ATR_ROW,
    BAD,
    BAND,
    BEFORE,
    BLOCKED,
    BORROW,
    CASH,
    COST,
    COSTS,
    ENTERED,
    EXPOSED,
    FILLS,
    INTEREST,
    KIND,
    LANES,
    LAST_SEEN,
    LAST_TARGET,
    LEVERAGE,
    LONG_DISTANCE,
    LONG_STOP,
    MULTIPLIER,
    PERCENT,
    REENTRY,
    RUINED,
    SHORT_DISTANCE,
    SHORT_STOP,
    STOP_COST,
    TRADED,
    TRAILING,
    UNITS,
    WATCH_BAND,
)
from alphapulse.compiling import jit_borrowing
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Float64Array3D, Int64Array1D, Int64Array2D

NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE = 0, 1, 2
NO_STOP, PERCENT_STOP, ATR_STOP = 0.0, 1.0, 2.0
ORDER, STOP, RUIN = 0.0, 1.0, 2.0
FILL_COLUMNS = ("bar", "reason", "price", "units", "value", "cost", "equity", "position")
N_FILL_COLUMNS = len(FILL_COLUMNS)


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Return the place of the lowest set bit of a uint64 that is not 0."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), build


@jit_borrowing
def _clip(a: float, limit: float) -> float:
    a = a if a > -limit else -limit
    return a if a < limit else limit


@jit_borrowing
def _clip_targets(targets: Float64Array2D, first: int, state: Float64Array1D, due: Float64Array2D) -> None:
    """Write columns `first` on of `targets` to `due` from row 1 on, clipped to the leverage, and look for NaN."""
    n = targets.shape[0]
    # NaN and infinity times 0 are NaN, and stay so in the sum. Four bars at a time share the sum's way to memory.
    t = 0
    while t + 4 <= n:
        for lane in range(LANES):
            limit = state[LEVERAGE * LANES + lane]
            # Unsigned, or numba looks at each index for a negative one and the loop stays scalar.
            column = np.uint64(first) + np.uint64(lane)
            a0, a1, a2, a3 = targets[t, column], targets[t + 1, column], targets[t + 2, column], targets[t + 3, column]
            state[BAD * LANES + lane] += a0 * 0.0 + a1 * 0.0 + a2 * 0.0 + a3 * 0.0
            due[t + 1, lane] = _clip(a0, limit)
            due[t + 2, lane] = _clip(a1, limit)
            due[t + 3, lane] = _clip(a2, limit)
            due[t + 4, lane] = _clip(a3, limit)
        t += 4
    while t < n:
        for lane in range(LANES):
            a = targets[t, np.uint64(first) + np.uint64(lane)]
            state[BAD * LANES + lane] += a * 0.0
            due[t + 1, lane] = _clip(a, state[LEVERAGE * LANES + lane])
        t += 1


@jit_borrowing
def _load_targets(
    targets: Float64Array2D, trials: Int64Array1D, n_lanes: int, state: Float64Array1D, due: Float64Array2D
) -> None:
    """Copy the lanes' targets of a tile into `due` from row 1 on; row 0 is the last bar of the tile before."""
    n = targets.shape[0]
    for lane in range(LANES):
        due[0, lane] = state[LAST_TARGET * LANES + lane]
    if n_lanes == LANES and trials[LANES - 1] - trials[0] == LANES - 1:
        _clip_targets(targets, trials[0], state, due)
    else:
        for t in range(n):
            for lane in range(LANES):
                due[t + 1, lane] = targets[t, trials[lane]] if lane < n_lanes else 0.0
        _clip_targets(due[1 : n + 1], 0, state, due)
    for lane in range(LANES):
        state[LAST_TARGET * LANES + lane] = due[n, lane]


@jit_borrowing
def _watch(
    price: float, low: float, high: float, may_trade: bool, due: Float64Array2D, row: int, state: Float64Array1D
) -> np.uint64:
    """Lift blocks by the due targets; return the lanes, as bits, where an order may be sent or a stop may be hit."""
    mask = np.uint64(0)
    for lane in range(LANES):
        a = due[row, lane]
        blocked = state[BLOCKED * LANES + lane]
        # A product, for a select would become a masked store, which is slow.
        blocked = blocked * (1.0 if a * blocked > 0.0 else 0.0)
        state[BLOCKED * LANES + lane] = blocked
        v = state[UNITS * LANES + lane] * price
        equity = state[CASH * LANES + lane] + v
        off_band = abs(a * equity - v) > state[WATCH_BAND * LANES + lane] * equity
        # Equity at or below 0 is off the band, or of the other sign than the target.
        turns = (v != 0.0) & (a * v <= 0.0)
        order = may_trade & (blocked == 0.0) & (off_band | turns)
        hit = (low <= state[LONG_STOP * LANES + lane]) | (high >= state[SHORT_STOP * LANES + lane])
        mask |= np.uint64(order | hit) << np.uint64(lane)
    return mask


@jit_borrowing
def _book_fill(
    t: int,
    lane: int,
    reason: float,
    price: float,
    units: float,
    traded: float,
    cost: float,
    equity: float,
    state: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Count a fill of `units` worth `traded` at `price`; write it out if `fills` (n, 8) has room."""
    if state[FILLS * LANES + lane] < fills.shape[0]:
        place = int(state[FILLS * LANES + lane])
        after = state[CASH * LANES + lane] + state[UNITS * LANES + lane] * price
        fills[place, 0], fills[place, 1], fills[place, 2], fills[place, 3] = t, reason, price, units
        fills[place, 4], fills[place, 5], fills[place, 6] = traded, cost, after
        fills[place, 7] = state[UNITS * LANES + lane]
    state[FILLS * LANES + lane] += 1.0
    state[COSTS * LANES + lane] += cost
    state[TRADED * LANES + lane] += abs(traded) / equity if equity > 0.0 else 0.0


@jit_borrowing
def _leave(t: int, lane: int, state: Float64Array1D) -> None:
    """Count the bars of a position that ends in bar `t`, none twice, and take its stop away."""
    since = max(state[ENTERED * LANES + lane], state[LAST_SEEN * LANES + lane] + 1.0)
    state[EXPOSED * LANES + lane] += t - since + 1.0
    state[LAST_SEEN * LANES + lane] = t
    state[UNITS * LANES + lane] = 0.0
    state[LONG_STOP * LANES + lane] = -math.inf
    state[SHORT_STOP * LANES + lane] = math.inf
    state[LONG_DISTANCE * LANES + lane] = math.inf
    state[SHORT_DISTANCE * LANES + lane] = math.inf


@jit_borrowing
def _ruin(t: int, lane: int, price: float, state: Float64Array1D, fills: Float64Array2D) -> None:
    """Close what is held at `price`, for nothing, and leave an equity of 0."""
    units = state[UNITS * LANES + lane]
    if units != 0.0:
        _leave(t, lane, state)
        state[CASH * LANES + lane] = 0.0
        _book_fill(t, lane, RUIN, price, -units, -units * price, 0.0, 0.0, state, fills)
    state[CASH * LANES + lane] = 0.0
    state[RUINED * LANES + lane] = 1.0


@jit_borrowing
def _order(
    t: int,
    lane: int,
    price: float,
    decision: int,
    a: float,
    atr: Float64Array2D,
    state: Float64Array1D,
    fills: Float64Array2D,
) -> None:
    """Rebalance one lane to target `a` at `price` if the definition sends the order."""
    units = state[UNITS * LANES + lane]
    cash = state[CASH * LANES + lane]
    v = units * price
    equity = cash + v
    if equity <= 0.0:
        if units != 0.0:
            _ruin(t, lane, price, state, fills)
        return
    closes = (a == 0.0) & (v != 0.0)
    band = state[BAND * LANES + lane]
    clearly_off = abs(a * equity - v) > (band * (1.0 + 1e-9) + 1e-13) * equity
    if not (closes | (a * v < 0.0) | clearly_off) and not abs(a - v / equity) > band:
        return
    # From here on selects, not branches: which way an order goes cannot be predicted, and a wrong guess costs more.
    cost_rate = state[COST * LANES + lane]
    paid = cost_rate if a * equity > v else -cost_rate
    new_v = a * (equity + paid * v) / (1.0 + a * paid)
    traded = new_v - v
    cost = cost_rate * abs(traded)
    new_units = new_v / price
    state[CASH * LANES + lane] = cash - traded - cost
    state[UNITS * LANES + lane] = new_units
    ends = (units != 0.0) & (new_units == 0.0)
    starts = (units == 0.0) & (new_units != 0.0)
    renews = units * new_units <= 0.0
    is_long = new_units > 0.0
    is_short = new_units < 0.0

    entered = state[ENTERED * LANES + lane]
    seen = state[LAST_SEEN * LANES + lane]
    since = entered if entered > seen + 1.0 else seen + 1.0
    state[EXPOSED * LANES + lane] += t - since + 1.0 if ends else 0.0
    state[LAST_SEEN * LANES + lane] = t if ends else seen
    state[ENTERED * LANES + lane] = t if starts else entered

    kind = state[KIND * LANES + lane]
    wide = state[MULTIPLIER * LANES + lane] * atr[int(state[ATR_ROW * LANES + lane]), decision]
    distance = wide if kind == ATR_STOP else state[PERCENT * LANES + lane] * price
    distance = distance if (kind != NO_STOP) & (distance == distance) else math.inf
    trail = distance if state[TRAILING * LANES + lane] != 0.0 else math.inf
    long_stop = price - distance if is_long else -math.inf
    short_stop = price + distance if is_short else math.inf
    long_distance = trail if is_long else math.inf
    short_distance = trail if is_short else math.inf
    state[LONG_STOP * LANES + lane] = long_stop if renews else state[LONG_STOP * LANES + lane]
    state[SHORT_STOP * LANES + lane] = short_stop if renews else state[SHORT_STOP * LANES + lane]
    state[LONG_DISTANCE * LANES + lane] = long_distance if renews else state[LONG_DISTANCE * LANES + lane]
    state[SHORT_DISTANCE * LANES + lane] = short_distance if renews else state[SHORT_DISTANCE * LANES + lane]
    _book_fill(t, lane, ORDER, price, new_units - units, traded, cost, equity, state, fills)


@jit_borrowing
def _check_stop(
    t: int, lane: int, open_: float, high: float, low: float, state: Float64Array1D, fills: Float64Array2D
) -> None:
    """Close one lane's position if the bar reaches its stop."""
    units = state[UNITS * LANES + lane]
    if low <= state[LONG_STOP * LANES + lane]:
        price = min(open_, state[LONG_STOP * LANES + lane])
    elif high >= state[SHORT_STOP * LANES + lane]:
        price = max(open_, state[SHORT_STOP * LANES + lane])
    else:
        return
    v = units * price
    cash = state[CASH * LANES + lane]
    cost = state[STOP_COST * LANES + lane] * abs(v)
    state[CASH * LANES + lane] = cash + v - cost
    _leave(t, lane, state)
    if state[REENTRY * LANES + lane] == 0.0:
        state[BLOCKED * LANES + lane] = 1.0 if units > 0.0 else -1.0
    _book_fill(t, lane, STOP, price, -units, -v, cost, cash + v, state, fills)


@jit_borrowing
def _mark(
    close: float, carry: bool, trailing: bool, state: Float64Array1D, equity: Float64Array2D, row: int
) -> np.uint64:
    """Write each lane's equity at the close to `equity[row]`; return the lanes, as bits, that are newly ruined."""
    if carry:
        for lane in range(LANES):
            cash = state[CASH * LANES + lane]
            v = state[UNITS * LANES + lane] * close
            short = -v if v < 0.0 else 0.0
            cash = cash + cash * state[INTEREST * LANES + lane] - state[BORROW * LANES + lane] * short
            state[CASH * LANES + lane] = cash
    if trailing:
        for lane in range(LANES):
            nearer = close - state[LONG_DISTANCE * LANES + lane]
            stop = state[LONG_STOP * LANES + lane]
            state[LONG_STOP * LANES + lane] = nearer if nearer > stop else stop
        for lane in range(LANES):
            nearer = close + state[SHORT_DISTANCE * LANES + lane]
            stop = state[SHORT_STOP * LANES + lane]
            state[SHORT_STOP * LANES + lane] = nearer if nearer < stop else stop
    mask = np.uint64(0)
    for lane in range(LANES):
        e = state[CASH * LANES + lane] + state[UNITS * LANES + lane] * close
        equity[row, lane] = e
        mask |= np.uint64((e <= 0.0) & (state[RUINED * LANES + lane] == 0.0)) << np.uint64(lane)
    return mask


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
    trials: Int64Array2D,
    n_lanes: Int64Array1D,
    execution: int,
    carry: bool,
    trailing: bool,
    states: Float64Array2D,
    due: Float64Array2D,
    equity: Float64Array2D,
    blocks: Float64Array3D,
    curves: Float64Array2D,
    fills: Float64Array2D,
) -> None:
    """Carry groups of trials through one tile of bars.

    Parameters
    ----------
    start : int
        First bar of the tile, at least `first`.
    targets : (n_tile, n_trials) float64
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
    trials : (n_groups, LANES) int64
        Column of `targets` of each lane.
    n_lanes : (n_groups,) int64
        Lanes in use in each group.
    execution : {NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE}
    carry, trailing : bool
        Whether any lane has a rate other than 0, or a trailing stop.
    states : (n_groups, N_ROWS * LANES) float64
        Carried state; changed.
    due, equity : (n_tile + 1, LANES) float64
        Scratch.
    blocks : (n_groups, n_blocks, 2 * LANES) float64
        Output: the lanes' sums of returns in each calendar block, then those of their squares.
    curves : (n_bars - first, 3) float64
        Output for the first lane: equity, units, cash at each close. Nothing is written if it has no rows.
    fills : (n, 8) float64
        Output for the first lane, by `FILL_COLUMNS`; fills beyond its length are only counted.
    """
    n = targets.shape[0]
    no_fills = fills[:0]
    for group in range(states.shape[0]):
        state = states[group]
        _load_targets(targets, trials[group], n_lanes[group], state, due)
        for lane in range(LANES):
            equity[0, lane] = state[BEFORE * LANES + lane]
        done = 0
        for i in range(n):
            t = start + i
            open_, high, low, close = prices[0, t], prices[1, t], prices[2, t], prices[3, t]
            row = i + 1 if execution == SAME_CLOSE else i
            decision = t if execution == SAME_CLOSE else t - 1
            price = open_ if execution == NEXT_OPEN else close
            trades = may_trade[t] and decision >= 0
            mask = _watch(price, low, high, trades, due, row, state)
            while mask != np.uint64(0):
                lane = _lowest_bit(mask)
                mask &= mask - np.uint64(1)
                book = fills if lane == 0 else no_fills
                a = due[row, lane]
                if execution == NEXT_OPEN:
                    if trades and state[BLOCKED * LANES + lane] == 0.0:
                        _order(t, lane, price, decision, a, atr, state, book)
                    _check_stop(t, lane, open_, high, low, state, book)
                else:
                    _check_stop(t, lane, open_, high, low, state, book)
                    if a * state[BLOCKED * LANES + lane] <= 0.0:
                        state[BLOCKED * LANES + lane] = 0.0
                    if trades and state[BLOCKED * LANES + lane] == 0.0:
                        _order(t, lane, price, decision, a, atr, state, book)
            mask = _mark(close, carry, trailing, state, equity, i + 1)
            while mask != np.uint64(0):
                lane = _lowest_bit(mask)
                mask &= mask - np.uint64(1)
                _ruin(t, lane, close, state, fills if lane == 0 else no_fills)
                equity[i + 1, lane] = 0.0
            if group == 0 and curves.shape[0] > 0:
                curves[t - first, 0] = equity[i + 1, 0]
                curves[t - first, 1] = state[UNITS * LANES]
                curves[t - first, 2] = state[CASH * LANES]
            if block_of[t] >= 0 or i == n - 1:
                add_returns(done, i + 1, start, benchmark, equity, state)
                done = i + 1
            if block_of[t] >= 0:
                close_block(state, blocks[group, block_of[t]])
        for lane in range(LANES):
            state[BEFORE * LANES + lane] = equity[n, lane]
