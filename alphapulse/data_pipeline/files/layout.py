"""What a file of bars is: whose export, its separator, which column is what, how times and numbers are written."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from alphapulse.data_pipeline.files.heads import Given, Head, is_header, is_row, read_head, split_row
from alphapulse.data_pipeline.files.names import ALIASES, ROLES, plain_name, read_label
from alphapulse.data_pipeline.files.stamps import LIMITS, StampFormat, find_format, is_ambiguous, read_stamps
from alphapulse.errors import DataError, did_you_mean
from alphapulse.market.bars import PRICES
from alphapulse.market.timeframes import timeframe_of

SEPARATORS = ",;\t|"
FEWEST_FIELDS = 5
MOST_PREAMBLE = 10
N_SAMPLES = 500
_DECIMAL_COMMA = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})*,\d+|[-+]?\d+,\d+")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are read.

    Attributes
    ----------
    vendor : str
        Whose export it looks like.
    separator : str
    quoted : bool
        Whether fields may stand within quotes.
    n_fields : int
        In every row.
    first_line : int
        Line of the first row.
    series : mapping of str to mapping of str to int
        For each symbol that has columns of its own, or "", the place of each price and of the volume.
    places : mapping of str to int
        Place of timestamp, date, time, symbol and timeframe, where there are such columns.
    stamp : StampFormat
    decimal_comma : bool
    zone : str, optional
        The zone that the vendor's times are in.
    timeframe : str, optional
        The length of a bar that the rows say themselves.
    spacing : str, optional
        The usual distance of two rows as a length of bars.
    unused : tuple of str
        Columns of prices that are left out.
    """

    vendor: str
    separator: str
    quoted: bool
    n_fields: int
    first_line: int
    series: Mapping[str, Mapping[str, int]]
    places: Mapping[str, int]
    stamp: StampFormat
    decimal_comma: bool = False
    zone: str | None = None
    timeframe: str | None = None
    spacing: str | None = None
    unused: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return in some words what was recognised."""
        parts = [self.vendor]
        if self.separator != ",":
            parts.append("separated by tabs" if self.separator == "\t" else f"separated by {self.separator}")
        if self.decimal_comma:
            parts.append("decimal comma")
        if str(self.stamp):
            parts.append(str(self.stamp))
        if self.zone:
            parts.append(f"times are {self.zone}")
        if self.unused:
            parts.append(f"{', '.join(self.unused)} is not used")
        return ", ".join(parts)


def recognise(name: str, begin: str, given: Given) -> Layout:
    """Return how the rows of a file are read.

    Parameters
    ----------
    name : str
        The file, for messages.
    begin : str
        Its first lines.
    given : Given

    Raises
    ------
    DataError
        If it is no file of bars, lacks a price, or could be read in more than one way.
    """
    numbered = [(number, line) for number, line in enumerate(begin.split("\n"), 1) if line.strip()]
    if not numbered:
        raise DataError(f"{name} is empty; a CSV with the columns timestamp, open, high, low, close is expected.")
    start, separator, quoted = _find_start(name, numbered, given)
    rows = [split_row(line, separator, quoted) for _, line in numbered[start : start + N_SAMPLES]]
    head = read_head(name, rows, given)
    body = rows[head.n_lines :]
    if not body:
        raise DataError(f"{name} has no rows below its header; check provider.path.")
    n_fields = Counter(map(len, body)).most_common(1)[0][0] if not head.names else len(head.names)
    whole = [row for row in body if len(row) == n_fields]
    stamps = [_stamp_of(row, head.places) for row in whole]
    stamp = find_format(stamps, given.day_first)
    if stamp is None:
        # Let the rows be refused one by one, each with what it has.
        stamp = StampFormat("%Y-%m-%d")
    elif given.day_first is None and head.vendor != "investing.com" and is_ambiguous(stamps, stamp):
        raise DataError(
            f"{name} has dates such as {stamps[0]!r}, which could have the day or the month first; set "
            "provider.day_first=true or false."
        )
    places = [place for columns in head.series.values() for place in columns.values()]
    cells = [row[place].strip() for row in whole for place in places]
    head_timeframe, spacing = _lengths(whole, head, stamp, stamps)
    return Layout(
        vendor=head.vendor,
        separator=separator,
        quoted=quoted,
        n_fields=n_fields,
        first_line=numbered[start + head.n_lines][0],
        series=head.series,
        places={role: place for role, place in head.places.items() if role in ROLES},
        stamp=stamp,
        decimal_comma=_has_decimal_comma(cells, separator),
        zone=head.zone,
        timeframe=head_timeframe,
        spacing=spacing,
        unused=head.unused,
    )


def _find_start(name: str, numbered: list[tuple[int, str]], given: Given) -> tuple[int, str, bool]:
    """Return the place of the first line that is a header or a row, the separator and whether fields are quoted."""
    for place, (_, line) in enumerate(numbered[:MOST_PREAMBLE]):
        quoted = '"' in line or _is_quoted([text for _, text in numbered[place + 1 : place + 20]])
        for separator in sorted(SEPARATORS, key=lambda one: -line.count(one)):
            cells = split_row(line, separator, quoted)
            is_table = plain_name(cells[0]) in ("price", "ticker")
            if len(cells) >= FEWEST_FIELDS and (
                is_table or is_header(cells) or is_row(cells) or given.columns is not None
            ):
                return place, separator, quoted
    line = numbered[0][1][:80]
    near = _nearest([plain_name(cell) for cell in re.split(r"[,;\t|]", line)])
    raise DataError(
        f"{name} cannot be read as CSV of bars: its first line is {line!r}; its header must name timestamp, open, "
        f"high, low and close{near}, or provider.columns say what the columns are."
    )


def _is_quoted(lines: Sequence[str]) -> bool:
    """Return whether most lines have fields within quotes, though the header has none."""
    pairs = [line.count('"') > 0 and line.count('"') % 2 == 0 for line in lines]
    return sum(pairs) > len(pairs) / 2


def _nearest(names: Sequence[str]) -> str:
    for price in PRICES:
        if price not in [ALIASES.get(name) for name in names]:
            hint = did_you_mean(price, [name for name in names if name and name not in ALIASES])
            if hint:
                return f" ({hint.strip('; ')})"
    return ""


def _stamp_of(row: Sequence[str], places: Mapping[str, int]) -> str:
    if "timestamp" in places:
        return row[places["timestamp"]].strip()
    return " ".join(row[places[role]].strip() for role in ("date", "time") if role in places)


def _has_decimal_comma(cells: Sequence[str], separator: str) -> bool:
    with_comma = [cell for cell in cells if "," in cell]
    if not with_comma or separator == ",":
        # Within quotes a comma groups thousands, unless a point does.
        return bool(with_comma) and any(
            re.fullmatch(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+|[-+]?\d+,\d{1,2}", c) for c in with_comma
        )
    return any(_DECIMAL_COMMA.fullmatch(c) and not _THOUSANDS.fullmatch(c) for c in with_comma) or not any(
        "." in cell for cell in cells
    )


def _lengths(
    rows: list[list[str]], head: Head, stamp: StampFormat, stamps: Sequence[str]
) -> tuple[str | None, str | None]:
    """Return the length of a bar that a row says, and the usual distance of two."""
    said = None
    if "close time" in head.places and stamp.unit is not None:
        scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[stamp.unit]
        row = rows[0]
        length = int(row[head.places["close time"]]) - int(row[head.places["timestamp"]]) + 1
        said = timeframe_of(round(length / scale) * 10**9) if length >= 60 * scale else None
    if "symbol" in head.places:
        one = rows[0][head.places["symbol"]]
        stamps = [text for text, row in zip(stamps, rows, strict=True) if row[head.places["symbol"]] == one]
    moments, known = read_stamps(pl.Series(list(stamps), dtype=pl.String), stamp)
    # A year that no bar can have says nothing of how far apart bars are.
    known &= (moments > LIMITS[0]) & (moments < LIMITS[1])
    ordered = sorted(set(moments[known].tolist()))
    steps = Counter(later - earlier for earlier, later in itertools.pairwise(ordered))
    if not steps:
        return said, None if stamp.has_time else "1d"
    usual = steps.most_common(1)[0][0] * 1000
    return said, timeframe_of(usual) if usual >= 60 * 10**9 else None


def label_or_none(text: str | None) -> str | None:
    """Return the label of a length of bars as a file writes it."""
    return None if text is None else read_label(text)
