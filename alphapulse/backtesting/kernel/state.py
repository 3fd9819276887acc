"""What the kernel works on: rows of a group's state, and arrays of one origin and one length of life as named tuples.

The entry of a lane in the one flat buffer of a group's state is `at(row, lane)`.

One buffer with constant distances between its rows lets the compiler prove that rows do not overlap, which it must know
to turn a loop over the lanes into vector instructions.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alphapulse.typing import (
    BoolArray1D,
    Float64Array1D,
    Float64Array2D,
    Float64Array3D,
    Int64Array1D,
    Int64Array2D,
)

LANES = 64
"""Trials in a group: their state just fits a first-level cache, and what a bar costs beside its lanes is small."""

STRIP = 8
"""Lanes that are traded together: as many as fit the widest vector. A group has a bit of a mask for each strip."""

EQUAL = 2.0**-40
"""Numbers are equal that differ by no more than this part of what is compared (4.3)."""

TINY = 1e-300
"""A target of this size has a direction and no allocation: its size is unknown (4.3 Allocation)."""

CASH, UNITS, STOP, TRIGGER, DISTANCE, BLOCKED, RUINED = range(7)
"""Cash [quote], units held; times the direction of the position the stop, and a level that neither it nor the
liquidation is above (-inf: none); the distance at which the stop trails (+inf or NaN: it does not) [quote]; the
direction that an exit has blocked, -1, 0 or 1; whether ruined, 0 or 1."""

BEFORE, LAST_TARGET, BAD = 7, 8, 9
"""Equity at the last close [quote]; the last bar's target, clipped [1]; 1 once a target was not finite."""

FILLS, TRADED, COSTS, SPELLS, EXITED, EARNED = range(10, 16)
"""Fills written; traded value over equity; costs [quote]; times that a position began in a bar in which none had stood
before; last bar of an exit inside it; interest on cash [quote]."""

OPENED, BASE, N_CLOSED, HELD, LONGEST, N_WINS, WON, N_LOST, LOST = range(16, 25)
"""Of the open trade its first bar, and equity less interest before it [quote]; of closed trades their number, the sum
of their bars, and the longest; of won and of lost ones their numbers and net
profits [quote]."""

BLOCK_SUM, BLOCK_SQUARE, SUM, SQUARE, CUBE, FOURTH, ACTIVE, DOWNSIDE = range(25, 33)
"""Sums of r and r^2 in the running block; of r to r^4; of (r - b)^2; of min(r - rf, 0)^2."""

LOWEST, HIGHEST, PEAK, LOW, HIGH = range(33, 38)
"""Extremes of r; highest equity; equity at the deepest drawdown, and its peak [quote]."""

BAND, COST, STOP_COST, LEVERAGE, SHORTEST, INTEREST, BORROW, RISK_FREE, MARGIN = range(38, 47)
"""Parameters: band, and what is equal to it; costs of orders and of stops; the largest and the smallest allocation;
rates of a bar; maintenance margin [1]."""

LONG_EDGE, SHORT_EDGE = 47, 48
"""Times the price of an order: a level that the liquidation of a long and of a short is not above (TRIGGER) [1]."""

KIND, FACTOR, ATR_ROW, TRAIL, TRAIL_RATE, REENTRY = range(49, 55)
"""Parameters of the stop: its kind and factor (inf: no stop), see `params.level_distance_python`; row of `atr`; what it
trails by, in parts of its first distance (inf: it does not trail) and of the close; 1 if re-entry is immediate."""

DUE, RANGE, TURNS, BEFORE_ORDER, EQUITY, STOP_DISTANCE = range(55, 61)
"""Of a strip that trades: due targets [1]; average true ranges [quote]; whether an order closes, opens or flips, 0 or
1; units before it; equity before it, distance of a new stop [quote]."""

PER_ORDER, PER_UNIT, MINIMUM, COMMISSION, SLIPPAGE, STOP_SLIPPAGE, LOT = range(61, 68)
"""Parameters of the full rules: commissions [quote] and rates [1] apart, and the lot [units], 0 for none."""

TAKE_KIND, TAKE_FACTOR, MAX_BARS, RISK = range(68, 72)
"""Parameters of the full rules: kind and factor (inf: none) of the take profit; bars after which a position is closed
(inf: never); the risk over the factor of the stop [1], NaN where risk decides no size."""

TAKE, SIZED, BOTH = 72, 73, 74
"""Of the full rules: the take profit times the direction (+inf: none) [quote]; allocation at the opening [1]; bars that
reached stop and take profit."""

WANTS, TIMED, NEW_VALUE, NEW_UNITS, ORDERED, ORDER_COST = range(75, 81)
"""Of a strip that trades by the full rules: whether an order is due, and whether it is a time exit, 0 or 1; value
[quote] and units that it is to reach; its value and its cost [quote]."""

N_ROWS = 81


def at_python(row: int, lane: int | np.uint64) -> np.uint64:
    """Return the place of an entry. Unsigned, or numba looks at each index for a negative one and loops stay scalar."""
    return np.uint64(row * LANES) + np.uint64(lane)


@intrinsic  # type: ignore[untyped-decorator]
def at(typing_context: Any, row: Any, lane: Any) -> Any:
    """Return the place of an entry, in two instructions: a function would be compiled for each row, and inlined."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, lane = arguments
        return builder.add(builder.mul(row, ir.Constant(row.type, LANES)), lane)

    return types.uint64(types.uint64, types.uint64), build


class Tape(NamedTuple):
    """What every trial of a batch sees, bar by bar; read only.

    Attributes
    ----------
    first : int
        First scored bar; the run starts flat there.
    prices : (4, n_bars) float64
        Open, high, low and close [quote].
    benchmark : (n_bars,) float64
        Returns of the benchmark [1].
    block_of : (n_bars,) int64
        Calendar block that ends with a bar, or -1.
    atr : (n_windows, n_bars) float64
        Average true ranges [quote]; NaN where undefined.
    """

    first: int
    prices: Float64Array2D
    benchmark: Float64Array1D
    block_of: Int64Array1D
    atr: Float64Array2D


class Mode(NamedTuple):
    """What the trials of a group share.

    Attributes
    ----------
    execution : {NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE}
    may_trade : (n_bars,) bool
        Whether the rebalance frequency lets orders fill in a bar.
    carry, trailing : bool
        Whether any trial has a rate other than 0, or a trailing stop.
    """

    execution: int
    may_trade: BoolArray1D
    carry: bool
    trailing: bool


class Rules(NamedTuple):
    """What the full rules take beside the state; plain trials are given None instead, which compiles a smaller loop.

    Attributes
    ----------
    borrow : (n_bars,) float64
        What the row `BORROW` is multiplied with in each bar [1].
    funding : (n_bars,) float64
        Paid on the value of a position in each bar [1].
    by_risk, has_minimum, has_lot, has_time : bool
        Whether any trial of the group is sized by risk, has a least commission, a lot, or a time exit: what no trial
        has costs nothing.
    """

    borrow: Float64Array1D
    funding: Float64Array1D
    by_risk: bool
    has_minimum: bool
    has_lot: bool
    has_time: bool


class Lanes(NamedTuple):
    """Trials laid out in groups of `LANES`, and their states.

    Attributes
    ----------
    trials : (n_groups, LANES) int64
        Trial of each lane; unused lanes repeat the first of the mode.
    n_lanes : (n_groups,) int64
        Lanes in use.
    states : (n_groups, N_ROWS * LANES) float64
        By the rows of `state`; changed from tile to tile.
    """

    trials: Int64Array2D
    n_lanes: Int64Array1D
    states: Float64Array2D


class Scratch(NamedTuple):
    """Room that one group after the other works in.

    Attributes
    ----------
    due : (n_tile + 1, LANES) float64
        Targets of a tile, clipped, a row a bar; row 0 is the last bar of the tile before [1].
    equity : (n_tile + 1, LANES) float64
        Equity at the closes of a tile; row 0 is the last close of the tile before [quote].
    """

    due: Float64Array2D
    equity: Float64Array2D


class Outputs(NamedTuple):
    """Where a run leaves what it is asked for.

    Attributes
    ----------
    block_sums, block_squares : (n_groups, n_blocks, LANES) float64
        Sums of the returns [1] of each calendar block and of their squares, lane by lane: written trial by trial they
        would touch a cache line a number.
    curves : (n_bars - first, 4) float64
        Of the first lane: equity, units, cash and interest earned so far at each close. Nothing is written if it has
        no rows.
    fills : (n, 8) float64
        Of the first lane, by `FILL_COLUMNS`; fills beyond its length are only counted.
    """

    block_sums: Float64Array3D
    block_squares: Float64Array3D
    curves: Float64Array2D
    fills: Float64Array2D


class Moment(NamedTuple):
    """A moment at which orders fill.

    Attributes
    ----------
    bar : int
        The bar of the moment.
    decision : int
        The bar whose target is due; -1 if there is none.
    price : float
        At which all orders fill [quote].
    may_order : bool
        Whether a target is due and the frequency lets it be traded.
    """

    bar: int
    decision: int
    price: float
    may_order: bool


class Prices(NamedTuple):
    """Open, high, low and close of a bar [quote]."""

    open: float
    high: float
    low: float
    close: float


class Fill(NamedTuple):
    """One change of a position.

    Attributes
    ----------
    bar : int
    reason : float
        One of the *_FILL of `fills`.
    price : float
        Before costs [quote].
    units, value : float
        Bought, negative where sold: in units, and at the price before costs [quote].
    cost : float
        Paid [quote].
    """

    bar: int
    reason: float
    price: float
    units: float
    value: float
    cost: float
