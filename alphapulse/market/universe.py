"""The market of many symbols: each over its own bars, together on one calendar, as equal parts of one account.

Every symbol has an account of its own. Together they are a portfolio: at the start of each calendar month what there is
is shared out equally among the symbols that have a scored bar in it; until the next month the parts go their own ways.
A symbol without a bar stands still; one that has ended stays as cash until its month ends.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.bars import Bars
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.market import Market
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Float64Array3D, Int64Array1D

SIDE_BY_SIDE = 64
"""Portfolios that lie side by side in memory: what is added to them together is written in one stretch."""


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
        parts.add(place, member.bars.close[max(member.first - 1, 0)], member.bars.close[member.first :])
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
        self._n_portfolios = n_portfolios
        self._total = np.zeros((-(-n_portfolios // SIDE_BY_SIDE), market.n_scored, SIDE_BY_SIDE))
        self._n_symbols = np.zeros(len(self._month_end), dtype=np.int64)

    def open(self, symbol: int) -> "Part":
        """Return where the accounts of the symbol at place `symbol` go; symbols come in order."""
        member = self._market.members[symbol]
        stamps = self._market.bars.timestamp[self._market.first :]
        place = np.searchsorted(stamps, member.bars.timestamp[member.first :])
        month = np.searchsorted(self._month_end, place, side="right")
        self._n_symbols[np.unique(month)] += 1
        return Part(Stretches.of(place, month, self._month_end), self._total)

    def add(self, symbol: int, before: float, equity: Float64Array1D) -> None:
        """Add to the one portfolio the account of the symbol at place `symbol`.

        Parameters
        ----------
        symbol : int
        before : float
            Equity before its first scored bar [quote].
        equity : (n_scored,) float64
            Equity at the close of each of its scored bars [quote].
        """
        part, first = self.open(symbol), np.zeros(1, dtype=np.int64)
        part.begin(first, np.full(1, before))
        part.take(0, equity[:, None], first)

    def worth(self) -> Float64Array2D:
        """Return the worth of each portfolio at each scored bar (n_scored, n_portfolios), 1 before the first [1]."""
        return _chain(self._total, self._n_symbols, self._month_end, self._n_portfolios)


class Stretches(NamedTuple):
    """Where on the common calendar the equity of each scored bar of a symbol holds, each (n_bars,).

    Attributes
    ----------
    is_first : bool
        Whether the bar is the symbol's first one in its calendar month.
    since : int64
        Where its month begins if it is, else its own place: until there the equity before it holds.
    place : int64
        Its own place.
    until : int64
        The place of the next bar, at most the end of the month.
    """

    is_first: BoolArray1D
    since: Int64Array1D
    place: Int64Array1D
    until: Int64Array1D

    @classmethod
    def of(cls, place: Int64Array1D, month: Int64Array1D, month_end: Int64Array1D) -> "Stretches":
        """Return the stretches of bars at `place` (n_bars,), in the calendar months `month` (n_bars,)."""
        is_first = np.diff(month, prepend=-1) > 0
        begins = np.append(0, month_end[:-1])
        end = month_end[month]
        return cls(
            is_first,
            np.where(is_first, begins[month], place),
            place,
            np.minimum(np.append(place[1:], end[-1:]), end),
        )


class Part:
    """Accounts of one symbol on their way into portfolios, a stretch of bars at a time.

    Parameters
    ----------
    stretches : Stretches
    total : (n_groups, n_scored, SIDE_BY_SIDE) float64
        What the parts are worth together, each 1 when a month begins; added to.
    """

    def __init__(self, stretches: Stretches, total: Float64Array3D) -> None:
        self._stretches, self._total = stretches, total
        # Equity at the last bar, what it is multiplied by, and cash beside it.
        self._states = np.zeros((3, total.shape[0] * SIDE_BY_SIDE))

    def begin(self, portfolios: Int64Array1D, equity: Float64Array1D) -> None:
        """Take in the equity (k,) of accounts before their first scored bar [quote]; their portfolios as in `take`."""
        self._states[0, portfolios] = equity

    def take(self, row: int, equity: Float64Array2D, portfolios: Int64Array1D) -> None:
        """Add some accounts over some bars; those of an account come in order.

        Parameters
        ----------
        row : int
            The scored bar that `equity` begins with.
        equity : (n_bars, k) float64
            At the close of each bar [quote]; an account at 0 is ruined, and stands still.
        portfolios : (k,) int64
            The portfolio that each column is of; it costs less where they follow one another.
        """
        _take(equity, row, portfolios, self._stretches, self._states, self._total)


def _take_python(
    equity: Float64Array2D,
    row: int,
    portfolios: Int64Array1D,
    stretches: Stretches,
    states: Float64Array2D,
    total: Float64Array3D,
) -> None:
    """Add accounts, each worth 1 when a month begins, to `total`.

    One that begins the month ruined takes its part and keeps it as cash.
    """
    n, k = equity.shape
    group, base = portfolios[0] // SIDE_BY_SIDE, portfolios[0] % SIDE_BY_SIDE
    in_line = base + k <= SIDE_BY_SIDE
    last, scale, idle, worth = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    for j in range(k):
        in_line = in_line and portfolios[j] == portfolios[0] + j
        last[j], scale[j], idle[j] = states[0, portfolios[j]], states[1, portfolios[j]], states[2, portfolios[j]]
    for i in range(n):
        r = row + i
        if stretches.is_first[r]:
            for j in range(k):
                scale[j] = 1.0 / last[j] if last[j] > 0.0 else 0.0
                idle[j] = 0.0 if last[j] > 0.0 else 1.0
                worth[j] = last[j] * scale[j] + idle[j]
            for t in range(stretches.since[r], stretches.place[r]):
                for j in range(k):
                    total[portfolios[j] // SIDE_BY_SIDE, t, portfolios[j] % SIDE_BY_SIDE] += worth[j]
        for j in range(k):
            last[j] = equity[i, j]
            worth[j] = last[j] * scale[j] + idle[j]
        for t in range(stretches.place[r], stretches.until[r]):
            if in_line:
                for j in range(k):
                    total[group, t, base + j] += worth[j]
            else:
                for j in range(k):
                    total[portfolios[j] // SIDE_BY_SIDE, t, portfolios[j] % SIDE_BY_SIDE] += worth[j]
    for j in range(k):
        states[0, portfolios[j]], states[1, portfolios[j]], states[2, portfolios[j]] = last[j], scale[j], idle[j]


_take = jit(_take_python)


def _chain_python(
    total: Float64Array3D, n_symbols: Int64Array1D, month_end: Int64Array1D, n_portfolios: int
) -> Float64Array2D:
    """Return the worth (n_scored, n_portfolios) of portfolios whose parts, worth 1 as a month begins, are `total`."""
    worth = np.empty((total.shape[1], n_portfolios))
    for group in range(total.shape[0]):
        first = group * SIDE_BY_SIDE
        k = min(SIDE_BY_SIDE, n_portfolios - first)
        level = np.ones(k)
        start = 0
        for month in range(month_end.size):
            end = month_end[month]
            for t in range(start, end):
                for j in range(k):
                    held = level[j] * (total[group, t, j] / n_symbols[month]) if n_symbols[month] > 0 else level[j]
                    worth[t, first + j] = held
            for j in range(k):
                level[j] = worth[end - 1, first + j]
            start = end
    return worth


_chain = jit(_chain_python)


def _read_only(array: Float64Array1D) -> Float64Array1D:
    array.flags.writeable = False
    return array
