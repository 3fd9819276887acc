"""What the engine of one account works on: rows of a trial's book and of its account, and what travels together.

A trial is run alone, its inner loops over the symbols: orders are sized together, so that trials have no lanes here.
"""

from typing import NamedTuple

import numpy as np

from alphapulse.backtesting.kernel.fills import RUIN_FILL
from alphapulse.typing import BoolArray1D, Float64Array2D, Int64Array1D

UNITS, MARK, STOP, TAKE, BEST, DISTANCE, BLOCKED, OPENED, FLOW, BASE, RICH = range(11)
"""Rows of a book, one column a symbol: units held; last close known [quote], 0 before the first; times the direction of
the position the stop (-inf: none), the take profit (inf: none) and the best close since the opening [quote]; what an
atr stop trails by [quote]; the direction that an exit has blocked; bar of the opening; what the symbol has brought in
and cost so far, and that and the position at the opening [quote]; equity of the account at the opening [quote]."""

PRICE, DUE, SIDE, FIXED, RATE, VALUE, LEFT, TIMED, BOUND = range(11, 20)
"""Rows that a moment works in: price [quote]; allocation that is due [1]; way of the order, 0 for none; what the order
costs, fixed [quote] and of its value [1]; value before it [quote] and units after it; whether it is a time exit, and
whether its commission is the minimum, 0 or 1."""

N_BOOK = 20

CASH, EARNED, COSTS, TRADED, EXPOSED, STOOD, N_CLOSED, HELD, LONGEST, N_WINS, WON, N_LOST, LOST, PROFIT = range(14)
"""Rows of an account: cash [quote]; interest on it so far [quote]; costs [quote]; traded value over equity; bars with a
position, and whether this one has one; closed trades, their bars and the longest; won and lost ones and their net
profits [quote]; net profit of all closed trades [quote]."""

RUINED, BOTH, N_FILLS, FORGIVEN = range(14, 18)
"""Whether ruined, 0 or 1; bars that reached stop and take profit of a symbol; fills written; of a ruin what is missing
and is not owed by the trade that ends next [quote]."""

N_ACCOUNT = 18

COMMISSION, PER_ORDER, PER_UNIT, MINIMUM, SLIPPAGE, STOP_SLIPPAGE, LOT, BORROW = range(8)
"""Rows of what trading costs, one column a symbol; `BORROW` is of a bar."""

N_COSTS = 8

DELISTED_FILL = RUIN_FILL + 1.0
"""A symbol that has ended is sold at its last close."""


class Tape(NamedTuple):
    """What every trial of an account sees, bar by bar; read only.

    Attributes
    ----------
    first : int
        First scored bar; the run starts flat there.
    open, high, low, close : (n_bars, n_symbols) float64
        Prices [quote]; NaN where a symbol has no bar.
    last : (n_symbols,) int64
        Last bar of a symbol that ends before the others; -1 of one that does not.
    """

    first: int
    open: Float64Array2D
    high: Float64Array2D
    low: Float64Array2D
    close: Float64Array2D
    last: Int64Array1D


class Rules(NamedTuple):
    """The engine's fields of one trial that all its symbols share; see `EngineParams`.

    Attributes
    ----------
    execution : {NEXT_OPEN, NEXT_CLOSE, SAME_CLOSE}
    may_trade : (n_bars,) bool
        Whether the rebalance frequency lets orders fill in a bar.
    band : float
        With what is equal to it [1].
    max_leverage, max_net : float
        Largest sum of the sizes of allocations, and of its absolute sum; infinite for none [1].
    """

    execution: int
    may_trade: BoolArray1D
    band: float
    max_leverage: float
    max_net: float
    allow_short: bool
    immediate: bool
    max_bars: float
    margin: float
    interest: float
    stop_kind: float
    stop_factor: float
    trailing: bool
    take_kind: float
    take_factor: float


class Record(NamedTuple):
    """Where a run leaves what it is asked for.

    Attributes
    ----------
    equity : (n_scored,) float64
        At each close [quote].
    curves : (n_scored, 2 + n_symbols) float64
        Cash, interest earned so far [quote] and units of each symbol at each close; nothing is written without rows.
    fills : (n, 10) float64
        By `batch.FILLS_OF_ACCOUNT`; fills beyond its length are only counted.
    """

    equity: np.ndarray
    curves: Float64Array2D
    fills: Float64Array2D
