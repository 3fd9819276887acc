"""A stand-in for Yahoo's chart interface, v8, that the real yfinance talks to: made bars, and Yahoo's ways to refuse.

It answers GET /v8/finance/chart/SYMBOL?interval=1d&period1=SECONDS&period2=SECONDS, or &range=1d for the last bar:

- daily bars are stamped with the exchange's opening, prices are adjusted for splits, `adjclose` for dividends too;
- hourly bars carry one trading period a day, out of which the client drops bars;
- a range without a bar is an error, and so is an hourly range that begins more than 730 days before `NOW`;
- the symbols of `REFUSALS` are answered as their names say.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import made_bars
import numpy as np
import pandas as pd

NOW = pd.Timestamp("2022-12-31", tz="UTC")
HOURLY_REACH = pd.Timedelta(days=730)
CHART = "/v8/finance/chart/"
JSON = "application/json;charset=utf-8"


@dataclass(frozen=True)
class Listing:
    """A symbol: its bars by interval, its exchange's zone and opening hours [minutes after midnight], its actions."""

    kind: str
    zone: str
    hours: tuple[int, int]
    bars: Mapping[str, pd.DataFrame]
    dividends: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    splits: Mapping[pd.Timestamp, int] = field(default_factory=dict)

    def at_opening(self, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Return the moments at which the exchange opens on `dates` (00:00Z)."""
        midnights = dates.tz_localize(None).tz_localize(self.zone)
        return (midnights + pd.Timedelta(minutes=self.hours[0])).tz_convert("UTC")


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    content_type: str = JSON


def failure(status: int, code: str, description: str, envelope: str = "chart") -> Answer:
    error = {"code": code, "description": description}
    return Answer(status, json.dumps({envelope: {"result": None, "error": error}}))


def success(meta: dict[str, Any], **result: Any) -> Answer:
    return Answer(200, json.dumps({"chart": {"result": [{"meta": meta} | result], "error": None}}))


NOT_FOUND = failure(404, "Not Found", "No data found, symbol may be delisted")
REFUSALS = {
    "TOO-MANY": Answer(429, "Too Many Requests\r\n", "text/plain"),
    "CRUMB": failure(401, "Unauthorized", "Invalid Crumb", envelope="finance"),
    "DOWN": Answer(503, "<html><body>Service Unavailable</body></html>", "text/html"),
    "EMPTY": success(
        {"symbol": "EMPTY", "currency": "USD", "instrumentType": "EQUITY", "exchangeTimezoneName": "America/New_York"},
        indicators={"quote": [{}], "adjclose": [{}]},
    ),
}


def listings() -> dict[str, Listing]:
    """Return what is listed: two indices, daily and hourly, and a fund that pays dividends and was split."""
    new_york = ("America/New_York", (570, 960))
    volatility = made_bars.hourly_volatility().drop_duplicates("timestamp", keep="last")
    date, ratio = made_bars.SPLIT
    return {
        "^GSPC": Listing("INDEX", *new_york, {"1d": made_bars.daily_index(), "1h": made_bars.hourly_index()}),
        "^VIX": Listing("INDEX", "America/Chicago", (135, 915), {"1d": made_bars.daily_volatility(), "1h": volatility}),
        "SPY": Listing("ETF", *new_york, {"1d": made_bars.fund()}, made_bars.fund_dividends(), {date: ratio}),
    }


def chart(symbol: str, listing: Listing | None, query: Mapping[str, str]) -> Answer:
    """Return the answer to a request for bars."""
    interval = {"60m": "1h"}.get(query["interval"], query["interval"])
    if listing is None or interval not in listing.bars:
        return NOT_FOUND
    bars = listing.bars[interval]
    stamps = pd.DatetimeIndex(bars["timestamp"])
    seconds = unix_seconds(listing.at_opening(stamps) if interval == "1d" else stamps)
    first, end = (int(query.get(name, bound)) for name, bound in (("period1", seconds[-1]), ("period2", 2**40)))
    if interval == "1h" and first < (NOW - HOURLY_REACH).timestamp():
        return failure(
            422,
            "Unprocessable Entity",
            f"1h data not available for startTime={first} and endTime={end}. "
            "The requested range must be within the last 730 days.",
        )
    inside = (seconds >= first) & (seconds < end)
    if not inside.any():
        return failure(400, "Bad Request", f"Data doesn't exist for startDate = {first}, endDate = {end}")
    meta = {
        "symbol": symbol,
        "currency": "USD",
        "instrumentType": listing.kind,
        "exchangeTimezoneName": listing.zone,
        "dataGranularity": interval,
        "validRanges": ["1d", "max"],
        "priceHint": 2,
    }
    quote = {name: listed(bars.loc[inside, name]) for name in ("open", "high", "low", "close")}
    quote["volume"] = bars.loc[inside, "volume"].fillna(0).astype(int).tolist()
    indicators = {"quote": [quote]}
    if interval == "1d":
        indicators["adjclose"] = [{"adjclose": listed(adjusted_close(bars, listing.dividends)[inside])}]
        return success(
            meta, timestamp=seconds[inside].tolist(), indicators=indicators, events=events(listing, first, end)
        )
    meta["tradingPeriods"] = trading_periods(listing, stamps[inside])
    return success(meta, timestamp=seconds[inside].tolist(), indicators=indicators)


def unix_seconds(stamps: pd.DatetimeIndex) -> np.ndarray:
    return stamps.as_unit("s").asi8


def listed(values: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def adjusted_close(bars: pd.DataFrame, dividends: pd.Series) -> pd.Series:
    """Return the closes [quote], each times 1 - dividend/previous close of all later dividends, to six decimals."""
    close = bars["close"]
    paid = bars["timestamp"].map(dividends).fillna(0.0)
    factor = 1.0 - paid / close.shift()
    later = factor.fillna(1.0)[::-1].cumprod()[::-1].shift(-1).fillna(1.0)
    return (close * later).round(6)


def events(listing: Listing, first: int, end: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the dividends and splits in [first, end) [s], by their second as a string."""
    dividends, splits = {}, {}
    for date, amount in listing.dividends.items():
        dividends[int(listing.at_opening(pd.DatetimeIndex([date]))[0].timestamp())] = {"amount": amount}
    for date, ratio in listing.splits.items():
        second = int(listing.at_opening(pd.DatetimeIndex([date]))[0].timestamp())
        splits[second] = {"numerator": ratio, "denominator": 1, "splitRatio": f"{ratio}:1"}
    kinds = {"dividends": dividends, "splits": splits}
    inside = {
        kind: {str(second): {"date": second} | event for second, event in actions.items() if first <= second < end}
        for kind, actions in kinds.items()
    }
    return {kind: actions for kind, actions in inside.items() if actions}


def trading_periods(listing: Listing, stamps: pd.DatetimeIndex) -> list[list[dict[str, Any]]]:
    """Return one period of regular trading a date of `stamps`."""
    dates = stamps.tz_convert(listing.zone).normalize().unique()
    starts = unix_seconds(listing.at_opening(dates.tz_localize(None).tz_localize("UTC"))).tolist()
    length = 60 * (listing.hours[1] - listing.hours[0])
    return [[{"timezone": "EST", "gmtoffset": -18000, "start": start, "end": start + length}] for start in starts]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not url.path.startswith(CHART):
            return self.reply(NOT_FOUND)
        symbol = unquote(url.path.removeprefix(CHART))
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.server.requests.append((symbol, query))
        return self.reply(
            self.server.interfere(symbol)
            or REFUSALS.get(symbol)
            or chart(symbol, self.server.listings.get(symbol), query)
        )

    def reply(self, answer: Answer) -> None:
        payload = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        pass


class YahooServer(ThreadingHTTPServer):
    """Serves on a free port of this machine; `requests` are the symbols and queries it was asked for.

    What `interfere(symbol)` returns is answered instead, unless it is None.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.listings = listings()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.interfere: Callable[[str], Answer | None] = lambda symbol: None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"
