"""The markets of a study, of one symbol or of many: loaded, the hold-out cut off at one date for all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.availability import offered_timeframe
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.loading import (
    CLOSED,
    FEWEST_SCORED,
    History,
    TooFewBarsError,
    joined_since,
    load_history,
    range_of,
)
from alphapulse.data_pipeline.quality import series_warnings
from alphapulse.data_pipeline.storage.bar_reader import BarColumns
from alphapulse.data_pipeline.storage.catalogue import list_series
from alphapulse.data_pipeline.storage.many_reader import ManyStoredBars
from alphapulse.errors import DataError
from alphapulse.market.account import account_bars, account_market
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.joining import bar_end
from alphapulse.market.market import Market
from alphapulse.market.timeframes import duration_length
from alphapulse.market.universe import universe_market
from alphapulse.typing import Int64Array1D

if TYPE_CHECKING:
    from alphapulse.config.schema import DataConfig, UniverseConfig

N_NAMED = 12


@dataclass(frozen=True)
class Markets:
    """What a study runs on.

    Attributes
    ----------
    market : Market
        What the search sees.
    holdout : Market, optional
        The end of the bars, with all earlier ones as its warm-up.
    warnings : tuple of str
        One line for each thing that a user should know of the range, of what is joined, and of the universe.
    """

    market: Market
    holdout: Market | None
    warnings: tuple[str, ...]


def load_markets(
    database: Database,
    data: "DataConfig",
    universe: "UniverseConfig",
    lookback: int,
    series: Mapping[str, str] | None = None,
    *,
    holdout: float,
    needs_volatility: bool = True,
) -> Markets:
    """Return the markets of a study, see `load_history`.

    Of a universe every symbol has its own bars, warm-up and calendar; `market` and `holdout` have them as their
    members, or side by side for one account. A symbol with fewer than `universe.min_bars` scored bars before the
    hold-out is left out of both.

    Parameters
    ----------
    holdout : float
        Share of the scored bars, at their end, that the search does not see; of a universe of the moments at which any
        symbol has a bar [1].
    needs_volatility : bool
        See `load_history`.

    Raises
    ------
    ConfigError, DataError
        If there are no bars, too few, or bars that cannot be; if a symbol of a universe has none at all.
    """
    if not universe.is_many:
        history = load_history(database, data, lookback, series, needs_volatility=needs_volatility)
        market, held = history.split(holdout)
        return Markets(market, held, tuple(history.warnings()))
    histories, short = _load_all(database, data, lookback, series, needs_volatility)
    every = np.unique(np.concatenate([h.bars.timestamp for h in histories] or [np.empty(0, np.int64)]))
    periods = data.periods_per_year or count_periods_per_year(every, data.timeframe)
    scored = np.unique(np.concatenate([h.bars.timestamp[h.first :] for h in histories] or [np.empty(0, np.int64)]))
    n_holdout = round(len(scored) * holdout)
    if holdout > 0.0 and n_holdout < FEWEST_SCORED:
        raise DataError(
            f"At least {FEWEST_SCORED} bars must be held out, but validation.holdout={holdout:g} leaves {n_holdout} of "
            f"{len(scored)}; widen data.start and data.end, or change validation.holdout."
        )
    cut = int(scored[len(scored) - n_holdout]) if n_holdout else None
    kept = [h for h in histories if _n_searched(h, cut) >= universe.min_bars]
    short += [h.bars.symbol for h in histories if _n_searched(h, cut) < universe.min_bars]
    if not kept:
        raise DataError(
            f"No symbol has {universe.min_bars} scored bars, as `universe.min_bars` wants; widen data.start and "
            "data.end, or lower universe.min_bars."
        )
    if universe.is_account:
        market = account_market([_searched(h, cut) for h in kept], periods)
        held = None
        if cut is not None:
            bars = account_bars([h.bars for h in kept], periods)
            held = Market.of(bars, _place(bars.timestamp, cut), market.fingerprint)
        return Markets(market, held, _lines(kept, short, universe, scored))
    market = universe_market([_searched(h, cut) for h in kept], periods)
    held = None
    if cut is not None:
        parts = [part for h in kept if (part := _held_out(h, cut)) is not None]
        if not parts:
            raise DataError("No symbol has bars in the hold-out; take a smaller validation.holdout.")
        held = replace(universe_market(parts, periods), fingerprint=market.fingerprint)
    return Markets(market, held, _lines(kept, short, universe, scored))


def _load_all(
    database: Database,
    data: "DataConfig",
    lookback: int,
    series: Mapping[str, str] | None,
    needs_volatility: bool,
) -> tuple[list[History], list[str]]:
    """Return the bars of every symbol, and the symbols whose bars in the range are too few to be scored."""
    stored = _fetch_all(database, data, lookback, needs_volatility)
    histories, short = [], []
    for symbol in data.symbols:
        one = replace(data, symbols=(symbol,))
        try:
            histories.append(
                load_history(database, one, lookback, series, needs_volatility=needs_volatility, stored=stored)
            )
        except TooFewBarsError:
            if not list_series(database, [symbol]):
                raise
            short.append(symbol)
    return histories, short


def _fetch_all(database: Database, data: "DataConfig", lookback: int, needs_volatility: bool) -> ManyStoredBars:
    """Read the bars of every symbol at once, and those of the series that are joined to each."""
    start, stop = range_of(data)
    stored = ManyStoredBars(database, data.source, data.adjust)
    for symbol in data.symbols:
        stored.ensure(symbol, offered_timeframe(data.source, data.timeframe), start, stop)
    since = stored.since(data.symbols, data.timeframe, start, lookback)
    stored.fetch(data.symbols, data.timeframe, since, stop)
    joined = [*data.others, *([data.volatility_symbol] if data.volatility_symbol and needs_volatility else [])]
    if joined:
        earlier = None if since is None else joined_since(since, duration_length(data.max_staleness))
        for label in dict.fromkeys((data.timeframe, "1d")):
            stored.fetch(joined, label, earlier, stop)
    return stored


def _n_searched(history: History, cut: int | None) -> int:
    """Return how many scored bars start before the moment `cut` [ns]; without one, how many there are."""
    return max(_place(history.bars.timestamp, cut) - history.first, 0)


def _place(timestamp: Int64Array1D, cut: int | None) -> int:
    return len(timestamp) if cut is None else int(np.searchsorted(timestamp, cut))


def _searched(history: History, cut: int | None) -> Market:
    return Market.of(history.bars[: _place(history.bars.timestamp, cut)], history.first, history.fingerprint)


def _held_out(history: History, cut: int) -> Market | None:
    """Return the bars of a symbol from the moment `cut` on; None where it has fewer than can be scored."""
    first = _place(history.bars.timestamp, cut)
    if len(history.bars) - first < FEWEST_SCORED:
        return None
    return Market.of(history.bars, first, history.fingerprint)


def _lines(kept: list[History], short: list[str], universe: "UniverseConfig", scored: Int64Array1D) -> tuple[str, ...]:
    """Return what a user should know of the symbols, and of what is joined to them."""
    joined: dict[tuple[str, str], BarColumns] = {}
    for history in kept:
        joined.update({name: read for name, read in history.joined.items() if len(read) > len(joined.get(name, ()))})
    faults = [line for name, read in joined.items() for line in series_warnings(*name, read.frame())]
    return (*_told(kept, short, universe, scored), *faults)


def _told(kept: list[History], short: list[str], universe: "UniverseConfig", scored: Int64Array1D) -> list[str]:
    """Say which symbols are left out, list late or ended, and that survivors say little of what did not survive."""
    n = len(kept)
    lines = []
    if short:
        lines.append(
            f"universe: {len(short)} of {n + len(short)} symbols have fewer than universe.min_bars={universe.min_bars} "
            f"scored bars in the search and are left out: {_names(short)}."
        )
    late = (
        []
        if universe.is_account
        else [h.bars.symbol for h in kept if int(h.bars.timestamp[h.first]) - int(scored[0]) > CLOSED.value]
    )
    if late:
        since = pd.Timestamp(int(scored[0]), tz="UTC").strftime("%Y-%m-%d")
        lines.append(
            f"universe: {len(late)} of {n} symbols are scored later than from {since} on, where they have bars: "
            f"{_names(late)}."
        )
    ended = [h.bars.symbol for h in kept if int(scored[-1]) - int(h.bars.timestamp[-1]) > CLOSED.value]
    if not ended:
        lines.append(f"universe: all {n} symbols still trade: results are those of survivors.")
    else:
        ends = max(int(bar_end(h.bars.timestamp, h.bars.timeframe)[-1]) for h in kept)
        sold = "sold" if universe.is_account else "valued"
        until = pd.Timestamp(ends, tz="UTC").strftime("%Y-%m-%d")
        lines.append(
            f"universe: {len(ended)} of {n} symbols end before {until}, and are {sold} at their last close: "
            f"{_names(ended)}."
        )
    return lines


def _names(symbols: list[str]) -> str:
    more = f" and {len(symbols) - N_NAMED} more" if len(symbols) > N_NAMED else ""
    return ", ".join(symbols[:N_NAMED]) + more
