"""Bars from Yahoo Finance, through yfinance.

Prices are adjusted for splits, not for dividends, which come along as actions: a later dividend changes no price, a
later split changes all.

Yahoo stamps a daily bar with the exchange's opening; here it becomes the exchange's date at 00:00Z.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.models import COLUMNS
from alphapulse.data_pipeline.providers.base import Action, Fetched, checked
from alphapulse.data_pipeline.providers.yahoo_client import (
    FaultError,
    NothingError,
    OfflineError,
    OutOfReachError,
    RefusedError,
    UnreadableError,
    YahooClient,
)
from alphapulse.errors import DataError
from alphapulse.market.timeframes import DAY, timeframe_length

# A bar that is not there may still come within this time of its end: feeds are late, get stuck and are mended.
SETTLING = pd.Timedelta(days=5)
# Days without a bar that are no error: no exchange closes for as long as this.
SHORT = pd.Timedelta(days=7)
# What Yahoo gives at once and how far it goes back, by the length of a bar, a little less than it allows.
PIECES = {"1m": pd.Timedelta(days=7), "1h": pd.Timedelta(days=729)} | dict.fromkeys(
    ("2m", "5m", "15m", "30m"), pd.Timedelta(days=59)
)
REACH = PIECES | {"1m": pd.Timedelta(days=29)}
TIMEFRAMES = ("1m", "2m", "5m", "15m", "30m", "1h", "1d")


class YFinanceProvider:
    """Downloads from Yahoo Finance; the S&P 500 and the VIX, daily and hourly, unless told.

    Parameters
    ----------
    attempts : int, optional
        Most tries of a refused or failed request, whatever `wait` is.
    wait : float
        How long it is made again before it is an error [s].
    requests_per_minute : float
    workers : int
        Symbols that are asked for at once.
    now : callable
        The present; bars that have not ended are dropped.
    """

    name = "yfinance"
    symbols: Sequence[str] = ("^GSPC", "^VIX")
    timeframes: Sequence[str] = ("1d", "1h")

    def __init__(
        self,
        *,
        attempts: int | None = None,
        wait: float = 300.0,
        requests_per_minute: float = 120.0,
        workers: int = 4,
        now: Callable[[], pd.Timestamp] = lambda: pd.Timestamp.now("UTC"),
    ) -> None:
        self.client = YahooClient(wait=wait, per_minute=requests_per_minute, attempts=attempts)
        self.workers = workers
        self.now = now

    def abandon(self) -> None:
        """Let whoever waits for an answer in another thread give up."""
        self.client.abandon()

    def settling(self, timeframe: str) -> pd.Timedelta:
        """Return how long before the last stored bar bars are asked for again; see `Feed.settling`."""
        return pd.Timedelta(days=10 if timeframe_length(timeframe) >= DAY else 4)

    def fetch(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
    ) -> Iterator[Fetched]:
        """Yield Yahoo's bars; see `Provider.fetch`. Hourly bars reach back 730 days only."""
        for timeframe in timeframes or self.timeframes:
            if timeframe not in TIMEFRAMES:
                raise DataError(
                    f"Yahoo has the timeframes {', '.join(TIMEFRAMES)}, but got {timeframe!r}; set data.timeframe."
                )
        for symbol in symbols or self.symbols:
            for timeframe in timeframes or self.timeframes:
                yield self._fetch_one(symbol, timeframe, start, end)

    def _fetch_one(self, symbol: str, timeframe: str, start: pd.Timestamp | None, end: pd.Timestamp | None) -> Fetched:
        length = timeframe_length(timeframe)
        daily = length >= DAY
        history, notes = self._history(symbol, timeframe, start, end)
        # The bar that is being traded is not a bar yet; Yahoo sends it along.
        ended = self.now() - pd.Timedelta(length)
        if history.empty:
            none = checked(symbol, timeframe, pd.DataFrame({name: [] for name in COLUMNS}))
            return replace(none, covers=_covers(none.bars, length, start, end, ended), notes=notes)
        stamps = pd.DatetimeIndex(history.index)
        dates = stamps.tz_localize(None).normalize().tz_localize("UTC")
        rows = pd.DataFrame({name.lower(): history[name].to_numpy() for name in ("Open", "High", "Low", "Close")})
        rows["volume"] = history["Volume"].to_numpy(dtype="float64")
        rows.insert(0, "timestamp", (dates if daily else stamps.tz_convert("UTC")).as_unit("ns"))
        inside = rows["timestamp"] <= ended
        # A stamp within a minute is that of the last trade, which comes along too.
        inside &= rows["timestamp"] == rows["timestamp"].dt.floor("min")
        if start is not None:
            inside &= rows["timestamp"] >= start
        if end is not None:
            inside &= rows["timestamp"] < end
        fetched = checked(symbol, timeframe, rows[inside])
        return replace(
            fetched,
            actions=_actions(history, dates),
            # Intraday answers may leave actions out; those that daily ones gave stay then.
            actions_of=(dates[0], dates[-1]) if daily else None,
            covers=_covers(fetched.bars, length, start, end, ended),
            notes=notes,
        )

    def _history(
        self, symbol: str, timeframe: str, start: pd.Timestamp | None, end: pd.Timestamp | None
    ) -> tuple[pd.DataFrame, list[str]]:
        """Return Yahoo's answer in as many pieces as it takes, the newest first, and what to say of them.

        Yahoo keeps bars of less than a day for a while only: where it refuses a piece for its age, older ones are not
        asked for. A few days without a bar are no error: a weekend, or a day that has not ended.
        """
        wanted = f"[{start.date() if start is not None else 'the first'}, {end.date() if end is not None else 'now'})"
        answers: list[pd.DataFrame] = []
        nothing: DataError | None = None
        for piece_start, piece_end in self._pieces(timeframe, start, end):
            period = _period(piece_start, piece_end, timeframe_length(timeframe) >= DAY)
            try:
                answers.append(self._request(symbol, timeframe, wanted, period))
            except NothingError as error:
                nothing = error
            except OutOfReachError as error:
                nothing = error
                if answers:
                    break
        found = [answer for answer in answers if not answer.empty]
        if found:
            history = pd.concat(found[::-1])
            notes = []
            if isinstance(nothing, OutOfReachError):
                first = f"{history.index[0]:%Y-%m-%d}"
                notes.append(f"{symbol} {timeframe}: Yahoo keeps no bars before {first} ({_reason(nothing)}).")
            return history[~history.index.duplicated(keep="last")], notes
        if not isinstance(nothing, OutOfReachError) and start is not None and (end or self.now()) - start < SHORT:
            return pd.DataFrame(), [f"{symbol} {timeframe}: Yahoo has no bar in {wanted}."]
        raise DataError(_nothing(symbol, timeframe, wanted, _reason(nothing) or "it answers with no bars"))

    def _pieces(
        self, timeframe: str, start: pd.Timestamp | None, end: pd.Timestamp | None
    ) -> Iterator[tuple[pd.Timestamp | None, pd.Timestamp | None]]:
        """Yield the ranges [start, end) that one request may span, the newest first.

        Yahoo refuses all of a range that begins before what it keeps, so none goes across that edge.
        """
        most = PIECES.get(timeframe)
        if most is None:
            yield start, end
            return
        stop, edge = end or self.now(), self.now() - REACH[timeframe]
        if start is None:
            start = edge if stop > edge else stop - most
        last = end
        while stop > start:
            first = max(start, stop - most)
            if first < edge < stop:
                first = edge
            yield first, last
            last = stop = first

    def _request(self, symbol: str, timeframe: str, wanted: str, period: dict[str, Any]) -> pd.DataFrame:
        """Return one answer of Yahoo; see `YahooClient.history`.

        Raises
        ------
        NothingError, OutOfReachError
            With the reason alone.
        DataError
            In one line that says what to do.
        """
        try:
            return self.client.history(symbol, timeframe, period)
        except (NothingError, OutOfReachError):
            raise
        except RefusedError as error:
            raise RefusedError(
                f"Yahoo refuses {symbol!r} {timeframe} for now ({error}); "
                "wait some minutes and run the same command again."
            ) from error
        except FaultError as error:
            raise FaultError(
                f"Yahoo is out of order for {symbol!r} {timeframe} ({error}); run the same command again later."
            ) from error
        except OfflineError as error:
            raise OfflineError(
                f"Yahoo cannot be reached for {symbol!r} {timeframe} ({error}); "
                "check the network and run the same command again, or use the sample: data=sample or provider=sample."
            ) from error
        except UnreadableError as error:
            raise UnreadableError(
                f"Yahoo's answer for {symbol!r} {timeframe} cannot be read ({error}); "
                "run the same command again later, or with a newer yfinance."
            ) from error
        except DataError as error:
            raise DataError(_nothing(symbol, timeframe, wanted, str(error))) from error


def _actions(history: pd.DataFrame, dates: pd.DatetimeIndex) -> list[Action]:
    """Return the dividends and splits of an answer by the exchange's dates; none where it has no such columns."""
    actions = []
    columns: tuple[tuple[str, Literal["dividend", "split"]], ...] = (
        ("Dividends", "dividend"),
        ("Stock Splits", "split"),
    )
    for column, kind in columns:
        if column in history:
            values = history[column].to_numpy(dtype="float64")
            actions += [
                Action(dates[place], kind, float(values[place])) for place in np.flatnonzero(values > 0.0).tolist()
            ]
    return actions


def _covers(
    bars: pd.DataFrame, length: int, start: pd.Timestamp | None, end: pd.Timestamp | None, ended: pd.Timestamp
) -> tuple[pd.Timestamp | None, pd.Timestamp]:
    """Return the range of starts of which Yahoo has no more bars; of the last days it may yet have some.

    Parameters
    ----------
    ended : Timestamp
        The latest start of a bar that has ended by now.
    """
    stop = ended if end is None else min(end, ended)
    stop = min(stop, ended - SETTLING)
    if len(bars):
        stop = max(stop, bars["timestamp"].iloc[-1] + pd.Timedelta(length))
    return start, stop if start is None else max(start, stop)


def _period(start: pd.Timestamp | None, end: pd.Timestamp | None, daily: bool) -> dict[str, Any]:
    """Return the range as `Ticker.history` takes it; dates are the exchange's, moments are UTC."""

    def bound(moment: pd.Timestamp) -> Any:
        return moment.strftime("%Y-%m-%d") if daily else moment.to_pydatetime()

    if start is None:
        return {"period": "max"} | ({"end": bound(end)} if end is not None else {})
    return {"start": bound(start)} | ({"end": bound(end.ceil("D") if daily else end)} if end is not None else {})


def _nothing(symbol: str, timeframe: str, wanted: str, reason: str) -> str:
    limit = "" if timeframe == "1d" else ", within the last 730 days for 1h and 7 to 60 for shorter bars"
    return (
        f"Yahoo has no bars for {symbol!r} {timeframe} in {wanted} ({reason}); "
        f"check data.symbols, data.start and data.end{limit}."
    )


def _reason(error: DataError | None) -> str:
    return "" if error is None else str(error)
