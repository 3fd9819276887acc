"""Dividends put back into prices, so that returns are what a holder earned."""

import numpy as np

from alphapulse.market.timeframes import DAY, HOUR
from alphapulse.typing import Float64Array1D, Int64Array1D

# No exchange closes for lunch this long; every one closes longer overnight.
SESSION_GAP = 4 * HOUR
LONGEST_SESSION = 12 * HOUR


def dividend_factors(
    timestamp: Int64Array1D, close: Float64Array1D, ex_date: Int64Array1D, amount: Float64Array1D, length: int
) -> Float64Array1D:
    """Return what each bar's prices are multiplied by so that they count dividends as earned (n_bars,) [1].

    The factor of a dividend is 1 - amount/previous close, over all bars before its ex-date. Dividends on or before the
    first bar and after the last one change nothing, so that what is to come never changes what was loaded. One that is
    not below the previous close is no dividend and is left out.

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC], increasing.
    close : (n_bars,) float64
        Closes that are adjusted for splits and not for dividends [quote].
    ex_date : (n_dividends,) int64
        The exchange's date at 00:00Z [ns]. An intraday session that holds this moment belongs to the date: Sydney's
        opens on the evening before.
    amount : (n_dividends,) float64
        Of the share as it is counted today [quote].
    length : int
        Of a bar [ns]; a bar of more than a day that holds an ex-date is ex.
    """
    places = _first_ex(timestamp, ex_date, length)
    inside = (places > 0) & (places < len(timestamp))
    paid = np.bincount(places[inside], weights=amount[inside], minlength=len(timestamp))
    own = np.ones(len(timestamp))
    own[:-1] = 1.0 - paid[1:] / close[:-1]
    own[~((own > 0.0) & (own < np.inf))] = 1.0
    factors: Float64Array1D = np.multiply.accumulate(own[::-1])[::-1]
    return factors


def _first_ex(timestamp: Int64Array1D, ex_date: Int64Array1D, length: int) -> Int64Array1D:
    """Return the place of the first bar without each dividend; n_bars where that is still to come."""
    if length > DAY:
        inside = np.searchsorted(timestamp, ex_date, side="right") - 1
        late = (inside >= 0) & (ex_date < timestamp[np.maximum(inside, 0)] + length)
        return np.where(late, inside, inside + 1)
    places = np.searchsorted(timestamp, ex_date)
    if length == DAY or len(timestamp) == 0:
        return places
    starts = np.r_[0, np.flatnonzero(np.diff(timestamp) > SESSION_GAP) + 1]
    opening = starts[np.searchsorted(starts, places, side="right") - 1]
    known = np.minimum(places, len(timestamp) - 1)
    same = (places < len(timestamp)) & (timestamp[known] - timestamp[opening] <= LONGEST_SESSION)
    return np.where(same, opening, places)
