"""Bars from Yahoo Finance, through yfinance.

Prices are adjusted for splits, not for dividends, which come along as actions: a later dividend changes no price, a
later split changes all.

Yahoo stamps a daily bar with the exchange's opening; here it becomes the exchange's date at 00:00Z.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from alphapulse.data_pipeline.providers.base import Action, Fetched, UnreachableError, checked
from alphapulse.errors import DataError
from alphapulse.market.timeframes import DAY, timeframe_length

NOT_FOUND = 404
# A bar that is not there may still come within this time of its end: feeds are late, get stuck and are mended.
SETTLING = pd.Timedelta(days=5)
TIMEFRAMES = ("1m", "2m", "5m", "15m", "30m", "1h", "1d")


class YFinanceProvider:
    """Downloads from Yahoo Finance; the S&P 500 and the VIX, daily and hourly, unless told.

    Parameters
    ----------
    attempts : int
        How often a refused or failed request is made before it is an error.
    now : callable
        The present; bars that have not ended are dropped.
    """

    name = "yfinance"
    symbols: Sequence[str] = ("^GSPC", "^VIX")
    timeframes: Sequence[str] = ("1d", "1h")

    def __init__(self, *, attempts: int = 3, now: Callable[[], pd.Timestamp] = lambda: pd.Timestamp.now("UTC")) -> None:
        self.attempts = attempts
        self.now = now

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
        wanted = f"[{start.date() if start is not None else 'the first'}, {end.date() if end is not None else 'now'})"
        history = self._request(symbol, timeframe, wanted, _period(start, end, daily))
        if history.empty:
            raise DataError(_nothing(symbol, timeframe, wanted, "it answers with no bars"))
        stamps = pd.DatetimeIndex(history.index)
        dates = stamps.tz_localize(None).normalize().tz_localize("UTC")
        rows = pd.DataFrame({name.lower(): history[name].to_numpy() for name in ("Open", "High", "Low", "Close")})
        rows["volume"] = history["Volume"].to_numpy(dtype="float64")
        rows.insert(0, "timestamp", (dates if daily else stamps.tz_convert("UTC")).as_unit("ns"))
        # The bar that is being traded is not a bar yet; Yahoo sends it along.
        ended = self.now() - pd.Timedelta(length)
        inside = rows["timestamp"] <= ended
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
        )

    def _request(self, symbol: str, timeframe: str, wanted: str, period: dict[str, Any]) -> pd.DataFrame:
        # yfinance takes a second to import; only a download pays for it.
        import yfinance
        from yfinance import exceptions

        logging.getLogger("yfinance").setLevel(logging.CRITICAL)
        yfinance.config.debug.hide_exceptions = False
        missing = (exceptions.YFTickerMissingError, exceptions.YFInvalidPeriodError)
        # Network errors of both of yfinance's clients, curl_cffi and requests, are OSErrors.
        unreachable = (OSError, exceptions.YFRateLimitError, exceptions.YFDataException)
        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, unreachable) and _status(error) != NOT_FOUND),
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential_jitter(initial=1.0, max=10.0),
            reraise=True,
        )
        try:
            with warnings.catch_warnings():
                # What yfinance uses of pandas that is going away is not the user's to mend.
                warnings.simplefilter("ignore")
                history: pd.DataFrame = retrying(
                    lambda: yfinance.Ticker(symbol).history(
                        interval=timeframe, auto_adjust=False, actions=True, **period
                    )
                )
        except missing as error:
            raise DataError(_nothing(symbol, timeframe, wanted, str(getattr(error, "rationale", error)))) from error
        except exceptions.YFRateLimitError as error:
            raise UnreachableError(
                f"Yahoo refuses {symbol!r} {timeframe} for now (too many requests); "
                "wait some minutes and run the same command again."
            ) from error
        except unreachable as error:
            if _status(error) == NOT_FOUND:
                raise DataError(_nothing(symbol, timeframe, wanted, "unknown symbol")) from error
            raise UnreachableError(
                f"Yahoo cannot be reached for {symbol!r} {timeframe} ({_one_line(error)}); "
                "check the network and run the same command again, or use the sample: data=sample or provider=sample."
            ) from error
        except (exceptions.YFException, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataError(
                f"Yahoo's answer for {symbol!r} {timeframe} cannot be read "
                f"({type(error).__name__}: {_one_line(error)}); "
                "run the same command again later, or with a newer yfinance."
            ) from error
        return history


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
        f"Yahoo has no bars for {symbol!r} {timeframe} in {wanted} ({_one_line(reason)}); "
        f"check data.symbols, data.start and data.end{limit}."
    )


def _status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error of either client, if there is one."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _one_line(error: object) -> str:
    """Return the first sentence of a foreign message, without its advice."""
    return " ".join(str(error).split()).split(". See ")[0].rstrip(".")
