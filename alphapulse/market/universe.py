"""The market of many symbols: each over its own bars, together on one calendar, as equal parts of one account.

Every symbol has an account of its own. Together they are a portfolio: at the start of each calendar month what there is
is shared out equally among the symbols that have a scored bar in it; until the next month the parts go their own ways.
A symbol without a bar stands still; one that has ended stays as cash until its month ends.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.bars import Bars
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.market import Market
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


def universe_market(members: Sequence[Market], periods_per_year: float | None = None) -> Market:
    """Return the market of several symbols, whose own bars are those of holding them all in equal parts.

    Parameters
    ----------
    members : sequence of Market
        One a symbol, each with its own warm-up; at least one.
    periods_per_year : float, optional
        Bars in a year of the common calendar [1]; None counts them.

    Returns
    -------
    Market
        Its bars are one for each moment at which any symbol has one; open, high, low and close are the worth of the
        symbols held in equal parts, 1 before the first scored bar. What strategies look at are the bars of `members`.
    """
    timestamp = np.unique(np.concatenate([member.bars.timestamp for member in members]))
    first = int(np.searchsorted(timestamp, min(int(m.bars.timestamp[m.first]) for m in members)))
    timeframe = members[0].bars.timeframe
    one, unknown = _read_only(np.ones(len(timestamp))), _read_only(np.full(len(timestamp), np.nan))
    timestamp.flags.writeable = False
    blank = Bars(
        symbol=f"{len(members)} symbols",
        timeframe=timeframe,
        timestamp=timestamp,
        open=one,
        high=one,
        low=one,
        close=one,
        volume=unknown,
        volatility=unknown,
        periods_per_year=periods_per_year or count_periods_per_year(timestamp, timeframe),
    )
    digest = hashlib.sha256(b"universe")
    for member in members:
        digest.update(f"{member.bars.symbol} {member.fingerprint} ".encode())
    market = replace(Market.of(blank, first, digest.hexdigest()), members=tuple(members))
    parts = Parts(market, 1)
    for place, member in enumerate(members):
        before = member.bars.close[max(member.first - 1, 0)]
        parts.add(place, np.full(1, before), member.bars.close[member.first :, None])
    close = np.ones(len(timestamp))
    close[first:] = parts.worth()[:, 0]
    close = _read_only(close)
    return replace(market, bars=replace(blank, open=close, high=close, low=close, close=close))


@dataclass(frozen=True)
class Calendar:
    """The months of a universe's scored bars.

    Attributes
    ----------
    month_end : (n_months,) int64
        Place among the scored bars one past the last bar of each calendar month.
    """

    month_end: Int64Array1D

    @classmethod
    def of(cls, market: Market) -> "Calendar":
        """Return the months of `market`."""
        starts = np.flatnonzero(market.month_start[market.first :])
        return cls(np.append(starts[starts > 0], market.n_scored).astype(np.int64))


class Parts:
    """The worth of many portfolios, one a trial, put together symbol by symbol.

    Parameters
    ----------
    market : Market
        Of a universe.
    n_portfolios : int
    """

    def __init__(self, market: Market, n_portfolios: int) -> None:
        self._market = market
        self._month_end = Calendar.of(market).month_end
        self._total = np.zeros((market.n_scored, n_portfolios))
        self._n_symbols = np.zeros(len(self._month_end), dtype=np.int64)

    def add(
        self, symbol: int, before: Float64Array1D, equity: Float64Array2D, portfolios: Int64Array1D | None = None
    ) -> None:
        """Add the accounts of one symbol.

        Parameters
        ----------
        symbol : int
            Its place in the universe.
        before : (n_portfolios,) float64
            Equity before its first scored bar [quote].
        equity : (n_scored, n_portfolios) float64
            Equity at the close of each of its scored bars [quote]; an account at 0 is ruined, and stands still.
        portfolios : (n_portfolios,) int64, optional
            The portfolio that each column of `equity` is of; by default they are in order.
        """
        market = self._market
        member = market.members[symbol]
        place = np.searchsorted(market.bars.timestamp[market.first :], member.bars.timestamp[member.first :])
        column = np.arange(equity.shape[1]) if portfolios is None else portfolios
        _add_part(before[column], equity, column, place, self._month_end, self._total, self._n_symbols)

    def worth(self) -> Float64Array2D:
        """Return the worth of each portfolio at each scored bar (n_scored, n_portfolios), 1 before the first [1]."""
        return _chain(self._total, self._n_symbols, self._month_end)


def _add_part_python(
    before: Float64Array1D,
    equity: Float64Array2D,
    column: Int64Array1D,
    place: Int64Array1D,
    month_end: Int64Array1D,
    total: Float64Array2D,
    n_symbols: Int64Array1D,
) -> None:
    """Add one symbol's accounts, each worth 1 when a month begins, to `total`, and the symbol to `n_symbols`.

    Account j is a part of portfolio `column[j]`. One that begins the month ruined takes its part and keeps it as cash.
    """
    n, k = equity.shape
    row, start = 0, 0
    last, scale, idle = before.copy(), np.empty(k), np.empty(k)
    for month in range(month_end.size):
        end = month_end[month]
        if row < n and place[row] < end:
            n_symbols[month] += 1
            for j in range(k):
                scale[j] = 1.0 / last[j] if last[j] > 0.0 else 0.0
                idle[j] = 0.0 if last[j] > 0.0 else 1.0
            for t in range(start, end):
                if row < n and place[row] == t:
                    for j in range(k):
                        last[j] = equity[row, j]
                    row += 1
                for j in range(k):
                    total[t, column[j]] += last[j] * scale[j] + idle[j]
        start = end


_add_part = jit(_add_part_python)


def _chain_python(total: Float64Array2D, n_symbols: Int64Array1D, month_end: Int64Array1D) -> Float64Array2D:
    """Return the worth of portfolios whose parts are worth `total` together, 1 each when a month begins."""
    worth = np.empty_like(total)
    k = total.shape[1]
    level = np.ones(k)
    start = 0
    for month in range(month_end.size):
        end = month_end[month]
        for t in range(start, end):
            for j in range(k):
                worth[t, j] = level[j] * (total[t, j] / n_symbols[month]) if n_symbols[month] > 0 else level[j]
        for j in range(k):
            level[j] = worth[end - 1, j]
        start = end
    return worth


_chain = jit(_chain_python)


def _read_only(array: Float64Array1D) -> Float64Array1D:
    array.flags.writeable = False
    return array
