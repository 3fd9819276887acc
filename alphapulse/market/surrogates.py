"""Surrogate markets: the same moves in another order, so that nothing is left that timing could use.

A surrogate keeps what a market gives to everybody (its drift to the last bar, its tails, the ties between symbols and
between a day's move and the volatility index) and destroys the order, as the permutation tests of [1]_ do.

References
----------
.. [1] Masters, Permutation and Randomization Tests for Trading System Development, 2018, on permuting price bars.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.account import account_bars, member_bars
from alphapulse.market.bars import Bars
from alphapulse.market.calendar import opens_session
from alphapulse.market.market import Market
from alphapulse.market.universe import universe_market
from alphapulse.numerics import exp, log, log_array
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

# Moves that exist at one time [bars].
TILE = 1_024


def surrogate_market(market: Market, s: int, block: int = 1, *, first: int = 1) -> Market:
    """Return surrogate `s` of a market: a pure function of its fingerprint, `block`, `s` and `first`.

    Parameters
    ----------
    market : Market
        Warm-up and scored bars.
    s : int
        Number of the surrogate, from 0.
    block : int
        Length of the pieces that stay together [bars].
    first : int
        First bar that changes places: 1 for a search, whose warm-up is permuted too; for a hold-out
        `market.first`, so that its warm-up stays and its prices continue from the last close before it.

    Returns
    -------
    Market
        On the same calendar; its fingerprint is its own. Of a universe see `permute_universe`.
    """
    rng = surrogate_generator(market.fingerprint, block, s)
    fingerprint = f"{market.fingerprint} surrogate {block} {s}"
    if market.members:
        return replace(permute_universe(market, rng, block, first=first), fingerprint=fingerprint)
    if market.is_account:
        return replace(permute_account(market, rng, block, first=first), fingerprint=fingerprint)
    return replace(market, bars=permute_bars(market.bars, rng, block, first=first), fingerprint=fingerprint)


def surrogate_generator(fingerprint: str, block: int, s: int) -> np.random.Generator:
    """Return the source of all randomness of surrogate `s` of the data with this fingerprint."""
    digest = hashlib.sha256(f"surrogate {fingerprint} {block} {s}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def permute_bars(bars: Bars, rng: np.random.Generator, block: int = 1, *, first: int = 1) -> Bars:
    """Return the bars with their moves in random order.

    A bar's moves are ln(open/previous close), ln(high/open), ln(low/open) and ln(close/open). They change places
    together, and prices are put together again from the close before `first`; timestamps and volume stay in their
    places. The close of another symbol has one move a bar, ln(close/previous close), its open, high and low their
    distance from it, and the volatility index one innovation of a first-order autoregression of its logarithm
    (`autoregression`), since its level persists and would make a jagged path where levels changed places; all follow
    the order of the bars. Intraday, bars that open a session (`opens_session`) change places among themselves and the
    other bars among themselves, so that nights stay where nights are.

    Parameters
    ----------
    bars : Bars
        Not changed.
    rng : Generator
        Only its uniform numbers are drawn.
    block : int
        Bars are cut into pieces of this length, the first one of a random length up to it, and the pieces change
        places; 1 shuffles bar by bar. Where sessions open, the openers of that order take the openers' places and
        the other bars the other places.
    first : int
        First bar that changes places; the bars before it stay as they are, to the bit.

    Returns
    -------
    Bars
        Read-only. A series is unknown (NaN) where it was unknown: a value that is unknown counts as the one that
        was to be expected from the last known value, which is a move of 0. Before its first known value a series
        has no level, and its path begins there.

    Raises
    ------
    ValueError
        If `first >= 1` or `block >= 1` does not hold.
    """
    if first < 1 or block < 1:
        raise ValueError(f"`first >= 1` and `block >= 1` must hold, but got first={first}, block={block}.")
    opens = opens_session(bars.timestamp, bars.timeframe)
    laid = first + _lay(rng, max(len(bars) - first, 0), block)
    order = np.arange(len(bars))
    places, opens_place = order[first:], opens[first:]
    places[opens_place] = laid[opens[laid]]
    places[~opens_place] = laid[~opens[laid]]
    return reorder_bars(bars, order, first)


def permute_universe(market: Market, rng: np.random.Generator, block: int = 1, *, first: int = 1) -> Market:
    """Return a universe whose moments change places in one order for all symbols, so that ties between symbols survive.

    The common calendar is cut into epochs, within which the same symbols are there: where one lists, after the bar of
    its listing and after its last bar; and where scoring starts. Moments change places within their epoch, as bars do
    in `permute_bars`; a symbol that has no bar at a moment has none where that moment goes.

    Parameters
    ----------
    market : Market
        Of a universe; not changed.
    rng : Generator
    block : int
        Length of the pieces that stay together, within an epoch.
    first : int
        First place of the common calendar that changes.
    """
    timestamp = market.bars.timestamp
    places = [np.searchsorted(timestamp, member.bars.timestamp) for member in market.members]
    order = _order_epochs(market, places, rng, block, first)
    members = [
        Market.of(_permute_own(m.bars, p, order, timestamp, first), m.first, m.fingerprint)
        for m, p in zip(market.members, places, strict=True)
    ]
    return universe_market(members, market.bars.periods_per_year)


def permute_account(market: Market, rng: np.random.Generator, block: int = 1, *, first: int = 1) -> Market:
    """Return the market of an account whose moments change places as in `permute_universe`; see there."""
    bars = market.bars
    own = [member_bars(bars, symbol) for symbol in bars.symbols]
    places = [np.searchsorted(bars.timestamp, member.timestamp) for member in own]
    order = _order_epochs(market, places, rng, block, first)
    moved = [
        _permute_own(replace(member, others={}, parts={}), place, order, bars.timestamp, first)
        for member, place in zip(own, places, strict=True)
    ]
    # What all symbols see follows the order of the common calendar, not that of the bars of any one.
    beside = [name for name in bars.others if name not in bars.symbols]
    seen = {name: part for name, part in bars.parts.items() if name.rpartition(".")[0] in beside}
    joined = reorder_bars(replace(bars, others={name: bars.others[name] for name in beside}, parts=seen), order, first)
    together = account_bars(moved, bars.periods_per_year)
    return replace(
        market,
        bars=replace(
            together,
            volatility=joined.volatility,
            others={**together.others, **joined.others},
            parts={**together.parts, **joined.parts},
        ),
    )


def _order_epochs(
    market: Market, places: Sequence[Int64Array1D], rng: np.random.Generator, block: int, first: int
) -> Int64Array1D:
    """Return the order (n_bars,) in which the moments of a calendar lie, within epochs of the same symbols.

    `places` has where on it the bars of each symbol are.
    """
    timestamp = market.bars.timestamp
    cuts = {first, market.first, len(timestamp)}
    for place in filter(len, places):
        cuts |= {int(place[0]), int(place[0]) + 1, int(place[-1]) + 1}
    bounds = sorted(cut for cut in cuts if first <= cut <= len(timestamp))
    opens = opens_session(timestamp, market.bars.timeframe)
    order = np.arange(len(timestamp))
    for start, stop in pairwise(bounds):
        laid = start + _lay(rng, stop - start, block)
        part, opens_place = order[start:stop], opens[start:stop]
        part[opens_place] = laid[opens[laid]]
        part[~opens_place] = laid[~opens[laid]]
    return order


def _permute_own(bars: Bars, place: Int64Array1D, order: Int64Array1D, timestamp: Int64Array1D, first: int) -> Bars:
    """Return the bars of one symbol, which lie at `place` (n_bars,) of the common calendar, in another order."""
    bar_at = np.full(len(timestamp), -1)
    bar_at[place] = np.arange(len(place))
    moved = bar_at[order]
    stays = int(np.searchsorted(place, first))
    stamps = timestamp[moved >= 0]
    stamps.flags.writeable = False
    return replace(reorder_bars(bars, moved[moved >= 0], max(stays, 1)), timestamp=stamps)


def reorder_bars(bars: Bars, order: Int64Array1D, first: int = 1) -> Bars:
    """Return the bars with the moves of bar `order[t]` in place t, from place `first` on; see `permute_bars`.

    Parameters
    ----------
    bars : Bars
    order : (n_bars,) int64
        A permutation that leaves the places before `first` alone.
    first : int
    """
    open_, high, low, close = map(_read_only, (bars.open, bars.high, bars.low, bars.close))
    prices = _rebuild_prices(open_, high, low, close, order, first)
    open_, high, low, close = (_read_only(column) for column in prices)
    volatility = bars.volatility
    if not np.isnan(volatility).all():
        volatility = _rebuild_series(volatility, order, first, True)
    others = {name: _rebuild_series(other, order, first, False) for name, other in bars.others.items()}
    parts = {name: _rebuild_part(bars, name, others, order, first) for name in bars.parts}
    return replace(
        bars,
        open=open_,
        high=high,
        low=low,
        close=close,
        volatility=_read_only(volatility),
        others={name: _read_only(other) for name, other in others.items()},
        parts={name: _read_only(part) for name, part in parts.items()},
        cache=None,
    )


def _rebuild_part(
    bars: Bars, name: str, closes: Mapping[str, Float64Array1D], order: Int64Array1D, first: int
) -> Float64Array1D:
    """Return open, high or low of another symbol as far from its rebuilt close as in bar `order[t]`.

    Where that bar is not known it is the close; volume stays in its place.
    """
    symbol, _, part = name.rpartition(".")
    values = bars.parts[name]
    if part == "volume":
        return values
    with np.errstate(all="ignore"):
        distance = (values / bars.others[symbol])[order[first:]]
    distance[np.isnan(distance)] = 1.0
    return np.concatenate([values[:first], closes[symbol][first:] * distance])


def _lay(rng: np.random.Generator, n: int, block: int) -> Int64Array1D:
    """Return the numbers below `n` (n,), cut into pieces of `block` that lie in random order."""
    first_cut = 1 + int(rng.random() * block)
    n_pieces = 1 + max(-(-(n - first_cut) // block), 0)
    laid: Int64Array1D = _lay_pieces(n, block, first_cut, _shuffle(rng.random(n_pieces)))
    return laid


def _shuffle_python(uniform: Float64Array1D) -> Int64Array1D:
    """Return the numbers below n in the random order that uniform numbers (n,) in [0, 1) draw (Fisher and Yates)."""
    order = np.arange(uniform.size)
    for i in range(uniform.size - 1, 0, -1):
        j = int(uniform[i] * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order


_shuffle = jit(_shuffle_python)


def _lay_pieces_python(n: int, block: int, first_cut: int, pieces: Int64Array1D) -> Int64Array1D:
    """Return the numbers below `n` (n,), cut at `first_cut` and every `block` after it, piece by piece in an order."""
    laid = np.empty(n, dtype=np.int64)
    place = 0
    for piece in pieces:
        stop = first_cut + int(piece) * block
        for number in range(max(stop - block, 0) if piece > 0 else 0, min(stop, n)):
            laid[place] = number
            place += 1
    return laid


_lay_pieces = jit(_lay_pieces_python)


def _rebuild_prices_python(
    open_: Float64Array1D,
    high: Float64Array1D,
    low: Float64Array1D,
    close: Float64Array1D,
    order: Int64Array1D,
    first: int,
) -> Float64Array2D:
    """Return open, high, low and close (4, n_bars) [quote] with the moves of bar `order[t]` in place t.

    Prices that are equal in a bar are equal in its new place, to the bit, and no rounding leaves high or low inside. A
    tile of moves exists at one time.
    """
    n = open_.size
    rebuilt = np.empty((4, n))
    head = min(first, n)
    # One by one: what numba says of slices that do not fit takes it longer to compile than all the rest.
    for t in range(head):
        rebuilt[0, t], rebuilt[1, t], rebuilt[2, t], rebuilt[3, t] = open_[t], high[t], low[t], close[t]
    if n <= first:
        return rebuilt
    gap, up, down, body = np.empty(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE)
    level = log(close[first - 1])
    for begin in range(first, n, TILE):
        m = min(TILE, n - begin)
        for i in range(m):
            bar = order[begin + i]
            opened = open_[bar]
            gap[i], body[i] = opened / close[bar - 1], close[bar] / opened
            up[i], down[i] = high[bar] / opened, low[bar] / opened
        for i in range(m):
            gap[i], body[i], up[i], down[i] = log(gap[i]), log(body[i]), log(up[i]), log(down[i])
        for i in range(m):
            opened = level + gap[i]
            level = opened + body[i]
            gap[i], up[i], down[i], body[i] = opened, opened + up[i], opened + down[i], level
        for i in range(m):
            gap[i], up[i], down[i], body[i] = exp(gap[i]), exp(up[i]), exp(down[i]), exp(body[i])
        for i in range(m):
            t = begin + i
            rebuilt[0, t], rebuilt[3, t] = gap[i], body[i]
            rebuilt[1, t] = max(up[i], gap[i], body[i])
            rebuilt[2, t] = min(down[i], gap[i], body[i])
    return rebuilt


_rebuild_prices = jit(_rebuild_prices_python)


def _autoregression_python(y: Float64Array1D) -> tuple[float, float]:
    """Return mean and coefficient of the first-order autoregression of a series.

    Parameters
    ----------
    y : (n_bars,) float64
        Unknown where it is NaN or -inf.

    Returns
    -------
    mean : float
        Of the known values; 0 without one.
    coefficient : float
        Least squares of a value's distance from the mean on that of the one before it, over the bars that know both;
        in [-1, 1], beyond which a path would run away; 0 where there is no variance.
    """
    total, n_known = 0.0, 0
    for t in range(y.size):
        if y[t] > -np.inf:
            total += y[t]
            n_known += 1
    mean = total / n_known if n_known > 0 else 0.0
    product, square = 0.0, 0.0
    for t in range(1, y.size):
        before, now = y[t - 1] - mean, y[t] - mean
        if before > -np.inf and now > -np.inf:
            product += before * now
            square += before * before
    return mean, min(max(product / square, -1.0), 1.0) if square > 0.0 else 0.0


_autoregression = jit(_autoregression_python)


def _rebuild_series_python(values: Float64Array1D, order: Int64Array1D, first: int, reverts: bool) -> Float64Array1D:
    """Return a positive series (n_bars,) with the innovations of bar `order[t]` in place t.

    The innovation of bar t is (y_t - m) - c (y_t-1 - m), y = ln(values), with mean m and coefficient c of the
    autoregression of y where the series `reverts`, else with m = 0 and c = 1: its move. Where a value is not known its
    innovation is 0 and y takes the expected value; there the result is NaN.
    """
    rebuilt = values.copy()
    y = log_array(values)
    mean, coefficient = _autoregression(y) if reverts else (0.0, 1.0)
    begin = 0
    while begin < y.size and not y[begin] > -np.inf:
        begin += 1
    innovation = np.zeros(y.size)
    for t in range(begin + 1, y.size):
        expected = mean + coefficient * (y[t - 1] - mean)
        if y[t] > -np.inf:
            innovation[t] = y[t] - expected
        else:
            y[t] = expected
    begin = max(begin + 1, first)
    for t in range(begin, y.size):
        y[t] = mean + coefficient * (y[t - 1] - mean) + innovation[order[t]]
    for t in range(begin, y.size):
        rebuilt[t] = exp(y[t]) if values[t] > 0.0 else np.nan
    return rebuilt


_rebuild_series = jit(_rebuild_series_python)


def _read_only(column: Float64Array1D) -> Float64Array1D:
    """Return a view of the column, never to be written to: compiled code is specialised on that."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view
