"""Rows of a group's state: the entry of a lane in one flat buffer is `at(row, lane)`.

One buffer with constant distances between its rows lets the compiler prove that rows do not overlap, which it must know
to turn a loop over the lanes into vector instructions.
"""

import numpy as np

from alphapulse.compiling import jit_borrowing

LANES = 64
"""Trials in a group: their state just fits a first-level cache, and what a bar costs beside its lanes is small."""

STRIP = 8
"""Lanes that are traded together: as many as fit the widest vector. A group has a bit of a mask for each strip."""

NO_STOP, PERCENT_STOP, ATR_STOP = range(3)
"""Codes of the kinds of stop."""

CASH, UNITS, STOP, DISTANCE, BLOCKED, RUINED = range(6)
"""Cash [quote], units held; the stop times the direction of the position (-inf: none) and the distance at which it
trails (+inf: it does not) [quote]; the direction that a stop has blocked, -1, 0 or 1; whether ruined, 0 or 1."""

BEFORE, LAST_TARGET, BAD = 6, 7, 8
"""Equity at the last close [quote]; the last bar's target, clipped [1]; 1 once a target was not finite."""

FILLS, TRADED, COSTS, EXPOSED, STOPPED = range(9, 14)
"""Fills; traded value over equity; costs [quote]; bars with a position, less the bar in which an open one began;
last bar of a stop."""

BLOCK_SUM, BLOCK_SQUARE, SUM, SQUARE, CUBE, FOURTH, ACTIVE, DOWNSIDE = range(14, 22)
"""Sums of r and r^2 in the running block; of r to r^4; of (r - b)^2; of min(r - rf, 0)^2."""

LOSSES, N_GAINS, N_LOSSES, LOWEST, HIGHEST, PEAK, LOW, HIGH = range(22, 30)
"""Sum of negative r; bars with r > 0 and with r < 0; extremes of r; highest equity; equity at the deepest
drawdown, and its peak [quote]."""

BAND, WATCH_BAND, COST, STOP_COST, LEVERAGE, INTEREST, BORROW, RISK_FREE = range(30, 38)
"""Parameters: band, and a little less of it; costs of orders and of stops; leverage; rates of a bar [1]."""

BY_RANGE, PERCENT, MULTIPLIER, ATR_ROW, TRAILING, REENTRY = range(38, 44)
"""Parameters of the stop: 1 if its distance comes from the average true range; distances (inf: no stop); row of `atr`;
1 if trailing; 1 if re-entry is immediate."""

DUE, RANGE = 44, 45
"""Of a strip that trades: due targets [1] and average true ranges [quote]."""

N_ROWS = 46


@jit_borrowing
def at(row: int, lane: int | np.uint64) -> np.uint64:
    """Return the place of an entry. Unsigned, or numba looks at each index for a negative one and loops stay scalar."""
    return np.uint64(row * LANES) + np.uint64(lane)
