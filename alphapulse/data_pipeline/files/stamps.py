"""How a file writes its times, found in a sample, and times read by that, a column at once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from alphapulse.typing import BoolArray1D, Int64Array1D

# In the words of Python; polars writes fractions of a second as %.f.
DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y",
    "%b %d, %Y", "%b %d %Y", "%d %b %Y", "%d-%b-%Y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y", "%d.%m.%y",
)  # fmt: skip
TIMES = ("", "%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H%M%S", "%H%M")
BETWEEN = (" ", "T", "  ", ", ", "")
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# 1990 to 2100 as seconds, milliseconds and so on.
EARLIEST, LATEST = 631_152_000, 4_102_444_800
_NUMBER = re.compile(r"\d{8,19}(?:\.0*)?")
_ENDING = re.compile(r"(?<=\d)\s*(?:GMT)?(Z|[+-]\d\d:?\d\d|[+-]\d\d)$")
_NAMED = re.compile(r"(?<=\d) ([A-Z]{3,4}|[A-Z][A-Za-z]+/[A-Za-z_/]+)$")
EPOCH = datetime(1970, 1, 1)
LIMITS = np.iinfo(np.int64).min // 1000 + 1, np.iinfo(np.int64).max // 1000


@dataclass(frozen=True)
class StampFormat:
    """How the times of a file are written.

    Attributes
    ----------
    text : str
        As `datetime.strptime` has it, without the ending; empty for counts since the epoch.
    unit : str, optional
        Of those counts: s, ms, us or ns.
    ending : str
        What follows each time and is cut off: "Z", " UTC", " US/Eastern".
    has_offset : bool
        Whether each time says how far from UTC it is.
    zone : str, optional
        The zone that the ending names.
    """

    text: str = ""
    unit: str | None = None
    ending: str = ""
    has_offset: bool = False
    zone: str | None = None

    @property
    def has_time(self) -> bool:
        """Whether there is more than a date."""
        return self.unit is not None or "%H" in self.text or "%I" in self.text

    @property
    def is_aware(self) -> bool:
        """Whether the moment is known without a zone of the user's."""
        return self.unit is not None or self.has_offset or self.ending == "Z" or self.zone is not None

    def __str__(self) -> str:
        if self.unit is not None:
            return f"times are counted in {self.unit} from 1970"
        for order, name in (("%m/%d", "month first"), ("%d/%m", "day first"), ("%m-%d-", "month first")):
            if self.text.startswith(order):
                return f"dates have the {name}"
        return ""


def find_format(samples: Sequence[str], day_first: bool | None = None) -> StampFormat | None:
    """Return how these times are written; None if they are none.

    Where 01/02 could be either, the reading is taken that puts the times in order and closest together.

    Parameters
    ----------
    samples : sequence of str
        Some of the times in the order of the file; stray ones among them may be none.
    day_first : bool, optional
        What 01/02/2024 is: 1 February or 2 January.
    """
    texts = [text.strip() for text in samples if text.strip()]
    if not texts:
        return None
    if _share(texts, _NUMBER.fullmatch) > 0.5:
        counted = _counted([float(text) for text in texts if _NUMBER.fullmatch(text)])
        if counted is not None:
            return counted
    ending, has_offset, zone = _ending(texts)
    bare = [_without(text, ending, has_offset) for text in texts]
    fitting = [text for text in _formats(bare[0], bare[-1]) if _share(bare, lambda b, t=text: _parse(b, t)) >= 0.5]
    if day_first is not None:
        unwanted = ("%m/", "%m-") if day_first else ("%d/", "%d-%m")
        fitting = [text for text in fitting if not text.startswith(unwanted)]
    if not fitting:
        return None
    best = min(fitting, key=lambda text: _disorder(bare, text))
    return StampFormat(best, None, ending, has_offset, zone)


def _share(texts: Sequence[str], test: object) -> float:
    return sum(test(text) is not None for text in texts) / len(texts)  # type: ignore[operator]


def _counted(values: list[float]) -> StampFormat | None:
    middle = sorted(values)[len(values) // 2]
    for unit, nanoseconds in UNITS.items():
        if EARLIEST <= middle * nanoseconds / 10**9 < LATEST and middle >= 10**8:
            # A date such as 20240102 is no count of seconds, and 20240102093000 none of milliseconds.
            return StampFormat(unit=unit)
    return None


def _ending(texts: Sequence[str]) -> tuple[str, bool, str | None]:
    """Return what is cut off each time, whether it has an offset, and the zone that the ending names."""
    found = [match for text in texts if ":" in text and (match := _ENDING.search(text))]
    if len(found) > len(texts) / 2:
        if all(match[1] == "Z" for match in found):
            return "Z", False, None
        return found[0][0].removesuffix(found[0][1]), True, None
    names = {match[0] for text in texts if (match := _NAMED.search(text)) and match[1] not in ("AM", "PM")}
    if len(names) == 1:
        ending = names.pop()
        zone = {"EST": "America/New_York", "EDT": "America/New_York"}.get(ending.strip(), ending.strip())
        if is_zone(zone):
            return ending, False, zone
    return "", False, None


def is_zone(name: str) -> bool:
    """Return whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def _without(text: str, ending: str, has_offset: bool) -> str:
    if has_offset:
        return _ENDING.sub("", text)
    return text.removesuffix(ending).rstrip()


def _formats(*examples: str) -> Iterator[str]:
    for date in DATES:
        for time in TIMES:
            for between in BETWEEN if time else ("",):
                text = f"{date}{between}{time}"
                # Python builds an expression of each format that it tries; few have the marks of an example.
                if any(_marks(text) == _marks(one) and _parse(one, text) is not None for one in examples):
                    yield text


def _marks(text: str) -> set[str]:
    """Return the characters between the parts of a time, or of a format of times."""
    return {" " if one.isspace() else one for one in text if not one.isalnum() and one != "%"}


def _parse(text: str, format_: str) -> datetime | None:
    try:
        moment = datetime.strptime(text, format_)
    except ValueError:
        return None
    # Without separators Python takes 0930 for 09:03:00 as well.
    return None if "%H%M" in format_ and moment.strftime(format_) != text else moment


def _disorder(texts: Sequence[str], format_: str) -> tuple[int, float, int]:
    """Return how badly the times are in order, how far apart they are, and the place among all formats."""
    moments = [moment for text in texts if (moment := _parse(text, format_)) is not None]
    steps = np.diff([(moment - EPOCH).total_seconds() for moment in moments])
    turns = min(np.count_nonzero(steps < 0), np.count_nonzero(steps > 0)) if len(steps) else 0
    failures = len(texts) - len(moments)
    apart = float(np.median(np.abs(steps))) if len(steps) else 0.0
    return failures + int(turns), apart, 0


def is_ambiguous(samples: Sequence[str], found: StampFormat) -> bool:
    """Return whether day and month could be the other way round as well."""
    other = {"%m/%d/": "%d/%m/", "%d/%m/": "%m/%d/", "%m-%d-": "%d-%m-", "%d-%m-": "%m-%d-"}.get(found.text[:6])
    if other is None:
        return False
    bare = [_without(text.strip(), found.ending, found.has_offset) for text in samples if text.strip()]
    swapped = other + found.text[6:]
    return _disorder(bare, swapped)[:2] == _disorder(bare, found.text)[:2]


def read_stamps(column: pl.Series, format_: StampFormat) -> tuple[Int64Array1D, BoolArray1D]:
    """Return local moments and whether each was read.

    Parameters
    ----------
    column : Series of str
    format_ : StampFormat

    Returns
    -------
    microseconds : (n,) int64
        Since the epoch, UTC where `format_.is_aware` without a zone, else by the clock on the wall.
    known : (n,) bool
    """
    if format_.unit is not None:
        return _read_counts(column, UNITS[format_.unit])
    texts = column
    if format_.ending and not format_.has_offset:
        texts = texts.str.strip_suffix(format_.ending)
        # A time without the ending is of another kind.
        texts = pl.select(pl.when(column.str.ends_with(format_.ending)).then(texts)).to_series()
    written = format_.text.replace(".%f", "%.f")
    if format_.has_offset:
        moments = texts.str.strptime(pl.Datetime("us", "UTC"), f"{written}{format_.ending}%#z", strict=False)
    elif format_.has_time:
        moments = texts.str.strptime(pl.Datetime("us"), written, strict=False)
    else:
        moments = texts.str.strptime(pl.Date, written, strict=False).cast(pl.Datetime("us"))
    known = moments.is_not_null().to_numpy()
    return moments.to_physical().fill_null(0).to_numpy().astype(np.int64), known


def _read_counts(column: pl.Series, nanoseconds: int) -> tuple[Int64Array1D, BoolArray1D]:
    counts = column.cast(pl.Int64, strict=False)
    if counts.null_count():
        # Written as 1704067200.0, or no count at all.
        floats = column.cast(pl.Float64, strict=False)
        counts = counts.fill_null(floats.cast(pl.Int64, strict=False))
    known = counts.is_not_null().to_numpy()
    values = counts.fill_null(0).to_numpy().astype(np.int64)
    if nanoseconds >= 1000:
        scale = nanoseconds // 1000
        known = known & (np.abs(values) <= LIMITS[1] // scale)
        return np.where(known, values, 0) * scale, known
    return values // 1000, known


def read_one(text: str, format_: StampFormat) -> tuple[int, bool, bool]:
    """Return a moment that is written otherwise than the rest [us], whether it is in UTC, and whether it has a time.

    Raises
    ------
    ValueError
        If it is none.
    """
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
        has_time = len(text) > len("2015-11-16")
    except ValueError:
        parsed = next((one for written in _formats(text) if (one := _parse(text, written)) is not None), None)
        if parsed is None or format_.unit is not None:
            raise ValueError(f"timestamp {text!r} is no date or time") from None
        moment, has_time = parsed, ":" in text
    aware = moment.tzinfo is not None
    since = (moment if aware else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1), aware, has_time


def to_utc(microseconds: Int64Array1D, zone: str) -> tuple[Int64Array1D, BoolArray1D]:
    """Return moments by the clock on the wall of a zone in UTC [us], and whether there is such a moment.

    An hour that the clock shows twice comes twice in a file: once its times begin again, it is the second time.
    """
    local = pl.Series(microseconds).cast(pl.Datetime("us"))
    first, second = (
        local.dt.replace_time_zone(zone, ambiguous=which, non_existent="null").dt.convert_time_zone("UTC")
        for which in ("earliest", "latest")
    )
    known = first.is_not_null().to_numpy()
    early = first.to_physical().fill_null(0).to_numpy().astype(np.int64)
    late = second.to_physical().fill_null(0).to_numpy().astype(np.int64)
    twice = np.flatnonzero(early != late)
    if len(twice):
        early = early.copy()
        for run in np.split(twice, np.flatnonzero(np.diff(twice) > 1) + 1):
            again = np.flatnonzero(np.diff(early[run]) <= 0)
            if len(again):
                early[run[again[0] + 1 :]] = late[run[again[0] + 1 :]]
    return early, known
