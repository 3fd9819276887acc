"""Rows of a group's state: entry `row * LANES + lane` of one flat buffer.

One buffer with constant distances between its rows lets the compiler prove that rows do not overlap, which it must know
to turn a loop over the lanes into vector instructions.
"""

LANES = 64
"""Trials in a group; one bit each in a 64-bit mask."""

CASH, UNITS, LONG_STOP, SHORT_STOP, LONG_DISTANCE, SHORT_DISTANCE, BLOCKED, RUINED = range(8)
"""Cash [quote], units held; the stop of a long (-inf: none) and of a short (+inf: none) [quote]; the distance at which
each trails (+inf: it does not) [quote]; the direction that a stop has blocked, -1, 0 or 1; whether ruined, 0 or 1."""

BEFORE, LAST_TARGET, BAD = 8, 9, 10
"""Equity at the last close [quote]; the last bar's target, clipped [1]; 0, or NaN once a target was not finite."""

FILLS, TRADED, COSTS, EXPOSED, ENTERED, LAST_SEEN = range(11, 17)
"""Fills; traded value over equity; costs [quote]; bars with a closed position; bar of entry; last bar counted."""

BLOCK_SUM, BLOCK_SQUARE, SUM, SQUARE, CUBE, FOURTH, ACTIVE, DOWNSIDE = range(17, 25)
"""Sums of r and r^2 in the running block; of r to r^4; of (r - b)^2; of min(r - rf, 0)^2."""

LOSSES, N_GAINS, N_LOSSES, LOWEST, HIGHEST, PEAK, LOW, HIGH = range(25, 33)
"""Sum of negative r; bars with r > 0 and with r < 0; extremes of r; highest equity; equity at the deepest
drawdown, and its peak [quote]."""

BAND, WATCH_BAND, COST, STOP_COST, LEVERAGE, INTEREST, BORROW, RISK_FREE = range(33, 41)
"""Parameters: band, and a little less of it; costs of orders and of stops; leverage; rates of a bar [1]."""

KIND, PERCENT, MULTIPLIER, ATR_ROW, TRAILING, REENTRY = range(41, 47)
"""Parameters of the stop: kind, distances, row of `atr`, 1 if trailing, 1 if re-entry is immediate."""

N_ROWS = 47
