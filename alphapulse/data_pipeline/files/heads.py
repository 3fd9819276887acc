"""What the first lines of a file say: whose export it is, and which column is what."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alphapulse.data_pipeline.files.names import ALIASES, ROLES, plain_name
from alphapulse.data_pipeline.files.stamps import find_format
from alphapulse.errors import DataError, did_you_mean
from alphapulse.market.bars import PRICES

_COUNT = re.compile(r"\d{9,19}(?:\.0*)?")
Columns = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class Given:
    """What is said of a file that it may not say itself.

    Attributes
    ----------
    columns : mapping of str to str, or sequence of str, optional
        The name of the column that is a role, or the roles of the columns in order, where "_" is none.
    day_first : bool, optional
        Whether 01/02/2024 is 1 February.
    """

    columns: Columns | None = None
    day_first: bool | None = None


@dataclass(frozen=True)
class Head:
    """What the lines before the rows say."""

    series: Mapping[str, Mapping[str, int]]
    places: Mapping[str, int]
    n_lines: int
    vendor: str = "columns by name"
    zone: str | None = None
    unused: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def split_row(line: str, separator: str, quoted: bool) -> list[str]:
    """Return the fields of one line."""
    if not quoted:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator, quotechar='"'), [])


def is_header(cells: Sequence[str]) -> bool:
    """Return whether these are names of columns, at least two of them prices."""
    return len({ALIASES.get(plain_name(cell)) for cell in cells} & set(PRICES)) >= 2


def is_row(cells: Sequence[str]) -> bool:
    """Return whether these look like a time and prices, perhaps with a symbol before them."""
    numbers = [cell for cell in cells if is_number(cell)]
    return (len(numbers) >= 4 and find_format([" ".join(cells[:1])]) is not None) or _symbol_first(cells)


def _symbol_first(cells: Sequence[str]) -> bool:
    return len(cells) > 5 and not is_number(cells[0]) and find_format([cells[1]]) is not None


def is_number(cell: str) -> bool:
    """Return whether a field is a number, however it is written."""
    return bool(re.fullmatch(r'"?[-+]?[$€£]?\d[\d.,]*(?:[eE][-+]?\d+)?"?', cell.strip()))


def read_head(name: str, rows: list[list[str]], given: Given) -> Head:
    """Return which column is what.

    Raises
    ------
    DataError
        If there is no telling, or a column is missing.
    """
    if isinstance(given.columns, Mapping):
        return _by_mapping(name, rows[0], given.columns)
    if given.columns is not None:
        return _by_order(name, rows[0], list(given.columns))
    names = [plain_name(cell) for cell in rows[0]]
    if names[0] in ("price", "ticker") and len(rows) > 1 and plain_name(rows[1][0]) in ("price", "ticker"):
        return _of_yfinance(rows)
    if is_header(rows[0]):
        return _by_header(name, rows[0])
    return _headerless(name, rows)


def _by_header(name: str, header: Sequence[str]) -> Head:
    names = [plain_name(cell) for cell in header]
    places: dict[str, int] = {}
    for place, one in enumerate(names):
        role = ALIASES.get(one)
        if role is not None and (role not in places or (role == one and names[places[role]] != role)):
            places[role] = place
    if "volume" not in places:
        found = next((place for place, one in enumerate(names) if one.startswith("volume")), None)
        places |= {} if found is None else {"volume": found}
    if "price" in names and "close" in names:
        places["close"] = names.index("close")
    if "date" in places and "timestamp" not in places and "time" not in places:
        places["timestamp"] = places.pop("date")
    elif "time" in places and not {"timestamp", "date"} & set(places):
        places["timestamp"] = places.pop("time")
    elif "timestamp" in places:
        places.pop("date", None)
        places.pop("time", None)
    elif names[0] == "" and "timestamp" not in places and "date" not in places:
        places["timestamp"] = 0
    missing = [
        role for role in ("timestamp", *PRICES) if role not in places and not (role == "timestamp" and "date" in places)
    ]
    if missing:
        hint = did_you_mean(missing[0], [one for one in names if one and one not in ALIASES]) or ";"
        raise DataError(
            f"{name} lacks the column {', '.join(missing)}{hint} say which column it is with "
            f"'provider.columns={{{missing[0]}:NAME}}'."
        )
    vendor, zone = _vendor(names)
    unused = tuple(cell.strip() for cell, one in zip(header, names, strict=True) if one.startswith("adj"))
    return Head(*_parts(places), 1, vendor, zone, unused, tuple(names))


def _parts(places: Mapping[str, int]) -> tuple[Mapping[str, Mapping[str, int]], Mapping[str, int]]:
    values = {role: place for role, place in places.items() if role in (*PRICES, "volume")}
    return {"": values}, {role: place for role, place in places.items() if role not in values}


def _vendor(names: Sequence[str]) -> tuple[str, str | None]:
    """Return whose header this looks like, and the zone of its times where it is known."""
    held = set(names)
    if {"ticker", "per"} <= held:
        return "Stooq", None
    if "change %" in held:
        return "investing.com", None
    if "adj close" in held:
        return "Yahoo", None
    if "gmt time" in held:
        return "Dukascopy", "UTC"
    if "local time" in held:
        return "Dukascopy", None
    if {"tickvol", "spread"} & held or "tick volume" in held:
        return "MetaTrader", None
    if "trade count" in held:
        return "Alpaca", None
    if "barcount" in held or "wap" in held:
        return "Interactive Brokers", None
    if "close time" in held or "quote asset volume" in held:
        return "Binance", "UTC"
    if "close/last" in held:
        return "Nasdaq", None
    if names[0] == "time" and {"open", "high", "low", "close"} <= held:
        return "TradingView", None
    return "columns by name", None


def _of_yfinance(rows: list[list[str]]) -> Head:
    """Read the two or three lines of a table of yfinance's: prices and tickers, and the name of the index."""
    prices, tickers = (rows[0], rows[1]) if plain_name(rows[0][0]) == "price" else (rows[1], rows[0])
    series: dict[str, dict[str, int]] = {}
    unused = []
    for place in range(1, len(prices)):
        role = ALIASES.get(plain_name(prices[place]))
        if role in (*PRICES, "volume"):
            series.setdefault(tickers[place].strip() if place < len(tickers) else "", {})[role] = place
        elif plain_name(prices[place]).startswith("adj"):
            unused.append(prices[place].strip())
    has_index = len(rows) > 2 and ALIASES.get(plain_name(rows[2][0])) in ("date", "timestamp")
    names = tuple(plain_name(cell) for cell in prices)
    whole = {ticker: places for ticker, places in series.items() if set(PRICES) <= set(places)}
    return Head(whole, {"timestamp": 0}, 3 if has_index else 2, "yfinance", None, tuple(dict.fromkeys(unused)), names)


def _headerless(name: str, rows: list[list[str]]) -> Head:
    first = rows[0]
    vendor, zone, begin = "no header", None, 1
    places: dict[str, int] = {}
    if _COUNT.fullmatch(first[0].strip()):
        places["timestamp"] = 0
        vendor, zone = "no header, counted times", "UTC"
        if len(first) >= 11 and _COUNT.fullmatch(first[6].strip()):
            vendor = "Binance klines"
            places["close time"] = 6
        elif len(first) in (7, 8):
            vendor = "Kraken"
    else:
        if find_format([first[0]]) is None and _symbol_first(first):
            places["symbol"] = 0
        begin = len(places)
        joined = find_format([f"{first[begin]} {first[begin + 1]}"])
        if joined is not None and joined.has_time and not find_format([first[begin]]).has_time:  # type: ignore[union-attr]
            places |= {"date": begin, "time": begin + 1}
            vendor = "MetaTrader" if "." in first[begin] else vendor
        else:
            places["timestamp"] = begin
        begin = 1 + max(places.values())
    places |= {role: begin + place for place, role in enumerate((*PRICES, "volume"))}
    if vendor == "Kraken" and len(first) == 8:
        places["volume"] += 1
    if places["volume"] >= len(first):
        del places["volume"]
    if places["close"] >= len(first) or not _prices_fit(rows, places):
        raise DataError(
            f"{name} has no header, and its columns are not time, open, high, low, close, volume; say what they are "
            "with provider.columns=[timestamp,open,high,low,close,volume], `_` for one to leave out."
        )
    series, others = _parts(places)
    return Head(series, others, 0, vendor, zone)


def _prices_fit(rows: list[list[str]], places: Mapping[str, int]) -> bool:
    """Return whether highs are high and lows are low in most rows."""
    fitting = []
    for row in rows:
        try:
            open_, high, low, close = (float(row[places[role]].replace(",", ".")) for role in PRICES)
        except (ValueError, IndexError):
            continue
        fitting.append(high >= max(open_, close) and low <= min(open_, close))
    return sum(fitting) > len(fitting) / 2


def _by_mapping(name: str, header: Sequence[str], columns: Mapping[str, str]) -> Head:
    names = [plain_name(cell) for cell in header]
    places = {ALIASES[one]: place for place, one in reversed(list(enumerate(names))) if one in ALIASES}
    for role, column in columns.items():
        wanted = plain_name(column)
        if wanted not in names:
            hint = did_you_mean(wanted, names) or f"; it has {', '.join(cell.strip() for cell in header)}."
            raise DataError(f"`provider.columns` must name columns of {name}, but got {column!r}{hint}")
        taken = [other for other, place in places.items() if place == names.index(wanted)]
        for other in taken:
            del places[other]
        places[role] = names.index(wanted)
    renamed = [next((role for role, place in places.items() if place == at), "") for at in range(len(names))]
    head = _by_header(name, renamed)
    return Head(head.series, head.places, 1, "columns as given", _vendor(names)[1], (), tuple(names))


def _by_order(name: str, first: Sequence[str], roles: list[str]) -> Head:
    if len(roles) > len(first):
        raise DataError(
            f"`provider.columns` must name at most the {len(first)} columns of {name}, but got {len(roles)}."
        )
    is_header = not is_row(first) and not any(is_number(cell) for cell in first)
    padded = [*roles, *["_"] * (len(first) - len(roles))]
    head = _by_header(name, [role if role in ROLES else "" for role in padded])
    return Head(head.series, head.places, 1 if is_header else 0, "columns as given", None, (), tuple(padded))
