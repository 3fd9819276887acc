"""Lines of text into columns of numbers, a block at a time; a line that is no bar costs itself and nothing else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from alphapulse.data_pipeline.files.heads import split_row
from alphapulse.data_pipeline.files.layout import Layout, label_or_none
from alphapulse.data_pipeline.files.lines import Block
from alphapulse.data_pipeline.files.moments import Filling, Reasons, read_moments
from alphapulse.data_pipeline.providers.base import Rejected
from alphapulse.market.bars import PRICES, impossible_prices, impossible_volumes
from alphapulse.typing import BoolArray1D, Float64Array1D, Int64Array1D

NUMBERS = (*PRICES, "volume")
UNKNOWN = ("", "-", "null", "none", "n/a", "na", "nan")
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9}
_DIGITS = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?", re.IGNORECASE | re.ASCII)
# A vendor's last words, which are not the user's to correct.
_FOOTER = re.compile(r'"?Downloaded from ', re.IGNORECASE)
LONGEST_TEXT = 500
# Of one block; what is more is counted.
MOST_REJECTED = 2_000


@dataclass(frozen=True)
class Part:
    """Rows of one symbol and timeframe, as arrays.

    Attributes
    ----------
    symbol, timeframe : str
    timestamp : (n,) int64
        Start of each bar [ns since the epoch, UTC].
    values : mapping of str to (n,) float64
        open, high, low, close and volume.
    line : (n,) int64
        Line of each in its file.
    """

    symbol: str
    timeframe: str
    timestamp: Int64Array1D
    values: Mapping[str, Float64Array1D]
    line: Int64Array1D


def read_rows(block: Block, layout: Layout, filling: Filling) -> tuple[list[Part], list[Rejected]]:
    """Return the bars of a block by symbol and timeframe, and the rows that are none."""
    table = _Table.of(block, layout)
    rejected = list(table.rejected)
    parts: list[Part] = []
    for ticker, columns in layout.series.items():
        found, refused = _read_series(table, layout, filling, ticker or None, columns)
        parts += found
        rejected += refused
    return parts, rejected


@dataclass(frozen=True)
class _Table:
    """The fields of the lines that have as many as they should."""

    frame: pl.DataFrame
    line: Int64Array1D
    text: Sequence[bytes] | None
    block: Block
    begin: Int64Array1D
    end: Int64Array1D
    rejected: tuple[Rejected, ...]

    @classmethod
    def of(cls, block: Block, layout: Layout) -> "_Table":
        ends = block.ends()
        begins = np.r_[0, ends[:-1] + 1]
        numbers = block.line + np.arange(len(ends))
        n_fields, is_odd = _count_fields(block.text, ends, begins, layout)
        after = numbers >= layout.first_line
        good = after & (n_fields == layout.n_fields) & ~is_odd
        bad = np.flatnonzero(after & ~good)
        rejected = tuple(
            Rejected.at_line(int(numbers[row]), reason, line[:LONGEST_TEXT])
            for row in bad[:MOST_REJECTED].tolist()
            if (line := block.text[begins[row] : ends[row]].decode("utf-8", "replace")).strip()
            and not _FOOTER.match(line)
            for reason in [_misfit(int(n_fields[row]), bool(is_odd[row]), layout)]
        )
        rejected += _others(numbers[bad])
        text = block.text
        if not good.all():
            keep = np.repeat(good, ends - begins + 1)
            text = np.frombuffer(text, dtype=np.uint8)[keep].tobytes()
        frame = _fields(text, layout) if text else None
        if frame is None or len(frame) != np.count_nonzero(good):
            # Quotes within a field have moved the ends of rows: one by one then.
            frame = _fields_one_by_one(text, layout)
        return cls(frame, numbers[good], None, block, begins[good], ends[good], rejected)

    def raw(self, row: int) -> str:
        """Return a line as it stands in the file."""
        return self.block.text[self.begin[row] : self.end[row]].decode("utf-8", "replace")


def _others(line: Int64Array1D) -> tuple[Rejected, ...]:
    """Return one row for all that are too many to be kept one by one."""
    if len(line) <= MOST_REJECTED:
        return ()
    more = line[MOST_REJECTED:]
    where, reason = f"lines {more[0]:,} to {more[-1]:,}", f"{len(more):,} more rows are no bars"
    return (Rejected(where, reason, int(more[0]), n=len(more)),)


def _count_fields(
    text: bytes, ends: Int64Array1D, begins: Int64Array1D, layout: Layout
) -> tuple[Int64Array1D, BoolArray1D]:
    """Return the number of fields of each line, and whether it has a quote that it should not have."""
    buffer = np.frombuffer(text, dtype=np.uint8)
    is_separator = buffer == ord(layout.separator)
    is_odd = np.zeros(len(ends), dtype=np.bool_)
    if b'"' in text:
        n_quotes = np.cumsum(buffer == ord('"'), dtype=np.int32)
        before = np.where(begins > 0, n_quotes[np.maximum(begins, 1) - 1], 0)
        n_own = n_quotes[ends] - before
        is_odd = n_own % 2 == 1 if layout.quoted else n_own > 0
    if layout.quoted and b'"' in text:
        inside = (n_quotes - np.repeat(before, ends - begins + 1)) % 2 == 1
        is_separator = is_separator & ~inside
    places, n_expected = np.flatnonzero(is_separator), layout.n_fields - 1
    if len(places) == n_expected * len(ends) and n_expected > 0:
        # As many as they should be, and those of each line within it: there is no need to look for them.
        lines = places.reshape(len(ends), n_expected)
        if (lines[:, 0] >= begins).all() and (lines[:, -1] < ends).all():
            return np.full(len(ends), layout.n_fields), is_odd
    count = np.searchsorted(places, ends)
    return np.diff(count, prepend=0) + 1, is_odd


def _misfit(n_fields: int, is_odd: bool, layout: Layout) -> str:
    if is_odd:
        return "a quote has no end" if layout.quoted else "it has a stray quote"
    return f"{layout.n_fields} fields are expected, but it has {n_fields}"


def _fields(text: bytes, layout: Layout) -> pl.DataFrame | None:
    names = [f"f{place}" for place in range(layout.n_fields)]
    try:
        return pl.read_csv(
            text,
            has_header=False,
            separator=layout.separator,
            quote_char='"' if layout.quoted else None,
            schema=dict.fromkeys(names, pl.String),
            columns=sorted({*layout.places.values(), *(p for s in layout.series.values() for p in s.values())}),
            empty_string_is_null=False,
            encoding="utf8-lossy",
        )
    except pl.exceptions.PolarsError:
        return None


def _fields_one_by_one(text: bytes, layout: Layout) -> pl.DataFrame:
    rows = [
        (split_row(line, layout.separator, layout.quoted) + [""] * layout.n_fields)[: layout.n_fields]
        for line in text.decode("utf-8", "replace").split("\n")[:-1]
    ]
    return pl.DataFrame(rows, schema=[(f"f{p}", pl.String) for p in range(layout.n_fields)], orient="row")


def _read_series(
    table: _Table, layout: Layout, filling: Filling, ticker: str | None, columns: Mapping[str, int]
) -> tuple[list[Part], list[Rejected]]:
    frame, n_rows = table.frame, len(table.line)
    reasons = Reasons(n_rows)
    labels = _labels(frame, layout, filling, reasons)
    symbols = _symbols(frame, layout, filling, ticker, reasons)
    timestamp = read_moments(frame, layout, filling, labels, reasons)
    values = {}
    for name in NUMBERS:
        place = columns.get(name)
        if place is None:
            values[name] = np.full(n_rows, np.nan)
            continue
        texts = frame[f"f{place}"]
        values[name] = _numbers(texts, name, layout.decimal_comma, reasons)
    _judge(values, reasons)
    good = reasons.good
    bad = np.flatnonzero(~good)
    rejected = [
        Rejected.at_line(int(table.line[row]), reasons.text(row), table.raw(row)[:LONGEST_TEXT])
        for row in bad[:MOST_REJECTED].tolist()
        # In a table of several symbols an empty cell is a day on which this one did not trade.
        if not (ticker and all(not frame[f"f{place}"][row].strip() for place in columns.values()))
    ]
    rejected += _others(table.line[bad])
    return list(_split(table.line, symbols, labels, timestamp, values, good)), rejected


def _judge(values: Mapping[str, Float64Array1D], reasons: Reasons) -> None:
    for name in PRICES:
        reasons.refuse(~np.isfinite(values[name]), f"{name} is not a number")
        reasons.refuse(impossible_prices(values[name]), f"{name} is not positive")
    reasons.refuse(values["high"] < values["low"], "high is below low")
    reasons.refuse(impossible_volumes(values["volume"]), "volume is negative or infinite")


def _split(
    line: Int64Array1D,
    symbols: "pl.Series | str | None",
    labels: "pl.Series | str | None",
    timestamp: Int64Array1D,
    values: Mapping[str, Float64Array1D],
    good: BoolArray1D,
) -> Iterator[Part]:
    rows = np.flatnonzero(good)
    if isinstance(symbols, pl.Series) or isinstance(labels, pl.Series):
        n_rows = len(good)
        keys = pl.DataFrame(
            [
                one.alias(name) if isinstance(one, pl.Series) else pl.repeat(one, n_rows, eager=True).alias(name)
                for name, one in (("symbol", symbols), ("timeframe", labels))
            ]
        ).with_row_index("row")[rows]
        for (symbol, label), group in keys.partition_by(["symbol", "timeframe"], as_dict=True).items():
            chosen = group["row"].to_numpy()
            yield _part(str(symbol), str(label), chosen, line, timestamp, values)
    elif len(rows):
        yield _part(str(symbols), str(labels), rows, line, timestamp, values)


def _part(
    symbol: str,
    label: str,
    rows: Int64Array1D,
    line: Int64Array1D,
    timestamp: Int64Array1D,
    values: Mapping[str, Float64Array1D],
) -> Part:
    if len(rows) == len(line):
        return Part(symbol, label, timestamp, values, line)
    chosen = {name: array[rows] for name, array in values.items()}
    return Part(symbol, label, timestamp[rows], chosen, line[rows])


def _symbols(
    frame: pl.DataFrame, layout: Layout, filling: Filling, ticker: str | None, reasons: Reasons
) -> "pl.Series | str | None":
    if ticker is not None or "symbol" not in layout.places:
        return ticker or filling.symbol
    texts = frame[f"f{layout.places['symbol']}"].str.strip_chars()
    empty = (texts == "").to_numpy()
    if empty.any() and filling.symbol is not None:
        texts = texts.replace("", filling.symbol)
    else:
        reasons.refuse(empty, "symbol is empty")
    return str(texts[0]) if len(texts) and texts.n_unique() == 1 else texts


def _labels(frame: pl.DataFrame, layout: Layout, filling: Filling, reasons: Reasons) -> "pl.Series | str | None":
    if "timeframe" not in layout.places:
        return filling.timeframe
    texts = frame[f"f{layout.places['timeframe']}"].str.strip_chars()
    known: dict[str, str] = {}
    for text in texts.unique().to_list():
        label = filling.timeframe if text == "" else label_or_none(text)
        if label is None:
            reason = f"`timeframe` must be a number and one of m, h, d, wk, mo such as '1d', but is {text!r}"
            reasons.refuse((texts == text).to_numpy(), reason)
        else:
            known[text] = label
    if len(known) == 1 and texts.n_unique() == 1:
        return next(iter(known.values()))
    return texts.replace_strict(known, default=None, return_dtype=pl.String)


def _numbers(texts: pl.Series, name: str, decimal_comma: bool, reasons: Reasons) -> Float64Array1D:
    plain = (
        texts.str.replace_all(".", "", literal=True).str.replace_all(",", ".", literal=True) if decimal_comma else texts
    )
    numbers = plain.cast(pl.Float64, strict=False)
    values: Float64Array1D = numbers.fill_null(np.nan).to_numpy().copy()
    for row in np.flatnonzero(numbers.is_null().to_numpy()).tolist():
        text = plain[row].strip()
        if name == "volume" and text.lower() in UNKNOWN:
            continue
        number = _read_number(text, name)
        if number is None:
            shown = texts[row].strip()
            reasons.refuse_one(row, f"{name} {shown!r} is not a number" if shown else f"{name} is missing")
        else:
            values[row] = number
    return values


def _read_number(text: str, name: str) -> float | None:
    """Return a number that is written with a currency, thousands or, of volumes, a letter for them."""
    text = text.strip().lstrip("$€£").replace(",", "").strip('"')
    scale = 1.0
    if name == "volume" and text[-1:].lower() in SUFFIXES:
        scale, text = SUFFIXES[text[-1].lower()], text[:-1]
    return float(text) * scale if _DIGITS.fullmatch(text) else None
