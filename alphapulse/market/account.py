"""The market of one account of many symbols: their bars side by side on one calendar, NaN where one has none."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.bars import PARTS, PRICES, Bars
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.market import Market
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


def account_market(members: Sequence[Market], periods_per_year: float | None = None) -> Market:
    """Return the market of an account that trades several symbols.

    Parameters
    ----------
    members : sequence of Market
        One a symbol; at least one. It is scored from the first bar on from which one of them is.
    periods_per_year : float, optional
        Bars in a year of the common calendar [1]; None counts them.
    """
    bars = account_bars([member.bars for member in members], periods_per_year)
    first = int(np.searchsorted(bars.timestamp, min(int(m.bars.timestamp[m.first]) for m in members)))
    digest = hashlib.sha256(b"account")
    for member in members:
        digest.update(f"{member.bars.symbol} {member.fingerprint} ".encode())
    return Market.of(bars, first, digest.hexdigest())


def account_bars(members: Sequence[Bars], periods_per_year: float | None = None) -> Bars:
    """Return the bars of several symbols side by side, one row for each moment at which any has a bar.

    Parameters
    ----------
    members : sequence of Bars
        One a symbol, in the order of `symbols`.
    periods_per_year : float, optional
        Bars in a year [1]; None counts them.

    Returns
    -------
    Bars
        Symbols are found by `of` and `matrix`. Open, high, low and close are an index of all in equal parts: 1 at the
        first bar, its return the mean over the symbols that have a bar and had one before. The volatility index and
        other joined series are those of the first symbol that has a bar at the moment.
    """
    timestamp = np.unique(np.concatenate([bars.timestamp for bars in members]))
    places = [np.searchsorted(timestamp, bars.timestamp) for bars in members]
    symbols = tuple(bars.symbol for bars in members)
    others, parts = {}, {}
    for bars, place in zip(members, places, strict=True):
        others[bars.symbol] = _spread(bars.close, place, len(timestamp))
        for name in PARTS:
            parts[f"{bars.symbol}.{name}"] = _spread(getattr(bars, name), place, len(timestamp))
    joined = [name for name in members[0].others if name not in symbols]
    others |= {name: _first_known([bars.others[name] for bars in members], places, len(timestamp)) for name in joined}
    beside = [name for name in members[0].parts if name.rpartition(".")[0] in joined]
    parts |= {name: _first_known([bars.parts[name] for bars in members], places, len(timestamp)) for name in beside}
    index = _frozen(_index(np.stack([others[symbol] for symbol in symbols], axis=1)))
    timeframe = members[0].timeframe
    timestamp.flags.writeable = False
    return Bars(
        symbol=", ".join(symbols) if len(symbols) <= 4 else f"{len(symbols)} symbols",
        timeframe=timeframe,
        timestamp=timestamp,
        open=index,
        high=index,
        low=index,
        close=index,
        volume=_frozen(np.full(len(timestamp), np.nan)),
        volatility=_first_known([bars.volatility for bars in members], places, len(timestamp)),
        others=others,
        parts=parts,
        periods_per_year=periods_per_year or count_periods_per_year(timestamp, timeframe),
        symbols=symbols,
    )


def member_bars(bars: Bars, symbol: str) -> Bars:
    """Return the own bars of one symbol of an account, with what is joined to them."""
    there = ~np.isnan(bars.others[symbol])
    names = [name for name in bars.others if name not in bars.symbols]
    own = {name: bars.parts[f"{symbol}.{name}"] for name in PARTS} | {"close": bars.others[symbol]}
    columns: dict[str, Any] = {name: _frozen(own[name][there]) for name in (*PRICES, "volume")}
    stamps = bars.timestamp[there]
    stamps.flags.writeable = False
    return replace(
        bars,
        symbol=symbol,
        timestamp=stamps,
        **columns,
        volatility=_frozen(bars.volatility[there]),
        others={name: _frozen(bars.others[name][there]) for name in names},
        parts={name: _frozen(part[there]) for name, part in bars.parts.items() if name.rpartition(".")[0] in names},
        symbols=(),
        cache=None,
    )


def _spread(values: Float64Array1D, place: Int64Array1D, n_bars: int) -> Float64Array1D:
    spread = np.full(n_bars, np.nan)
    spread[place] = values
    return _frozen(spread)


def _first_known(series: Sequence[Float64Array1D], places: Sequence[Int64Array1D], n_bars: int) -> Float64Array1D:
    """Return at each moment the value that the first symbol with a bar there has joined (n_bars,)."""
    found = np.full(n_bars, np.nan)
    for values, place in reversed(list(zip(series, places, strict=True))):
        found[place] = values
    return _frozen(found)


def _index_python(close: Float64Array2D) -> Float64Array1D:
    """Return the index (n_bars,) of `account_bars` from closes (n_bars, n_symbols)."""
    n, k = close.shape
    index, last = np.ones(n), np.full(k, np.nan)
    for t in range(n):
        total, count = 0.0, 0
        for s in range(k):
            if close[t, s] == close[t, s]:
                if last[s] == last[s]:
                    total += close[t, s] / last[s] - 1.0
                    count += 1
                last[s] = close[t, s]
        if t > 0:
            index[t] = index[t - 1] * (1.0 + total / count) if count > 0 else index[t - 1]
    return index


_index = jit(_index_python)


def _frozen(values: Float64Array1D) -> Float64Array1D:
    values.flags.writeable = False
    return values
