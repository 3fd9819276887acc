"""What a download did, as JSON and as a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from alphapulse.data_pipeline.downloading.night import Failure
from alphapulse.data_pipeline.providers.base import Rejected, count_rows
from alphapulse.data_pipeline.storage.db_writer import Written
from alphapulse.plain import plain

COUNTS = ("n_new", "n_changed", "n_unchanged", "n_rejected")
MOST_LINES = 10


@dataclass(frozen=True)
class Download:
    """What a download did.

    Attributes
    ----------
    written : sequence of Written
        Each symbol and timeframe that was stored or found as it is.
    rejected : sequence of Rejected
        Rows of a file that were not stored.
    failures : sequence of Failure
        Each symbol and timeframe that could not be had, or is not stored over what another source gave.
    warnings : sequence of str
        What was done beside, what was left out, and faults of the bars.
    notes : sequence of str
        What was recognised of each file.
    """

    written: Sequence[Written]
    rejected: Sequence[Rejected]
    failures: Sequence[Failure]
    warnings: Sequence[str]
    notes: Sequence[str] = ()

    @property
    def n_rejected(self) -> int:
        """Rows that were not stored, those counted that were too many to be listed."""
        return max(count_rows(self.rejected), sum(one.n_rejected for one in self.written))


def print_json(result: Download) -> None:
    """Print one line."""
    print(json.dumps(plain(asdict(result))))


def print_table(name: str, place: str, result: Download) -> None:
    """Print a table of the series, and a line for each that failed and each warning.

    Parameters
    ----------
    name : str
        The provider's.
    place : str
        Where the bars are.
    """
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    table = Table(title=f"Download from {name} into ohlcv_data", box=box.SIMPLE_HEAD)
    for heading in ("series", "first bar", "last bar"):
        table.add_column(heading, overflow="fold")
    for heading in COUNTS:
        table.add_column(heading.removeprefix("n_"), justify="right")
    for one in result.written:
        # Rows without a series that can be trusted are counted, but have no name.
        names = (f"{one.symbol} {one.timeframe}" if one.symbol else "-", _short(one.first), _short(one.last))
        table.add_row(*map(escape, names), *(f"{getattr(one, count):,}" for count in COUNTS))
    console.print(table)
    for text in result.notes[:MOST_LINES]:
        line(f"recognised {text}")
    if len(result.notes) > MOST_LINES:
        line(f"... and {len(result.notes) - MOST_LINES} more files")
    for failure in result.failures:
        line(f"failed {failure.symbol} {failure.timeframe}: {failure.reason}")
    for row in result.rejected[:MOST_LINES]:
        line(f"rejected {row.where}: {row.reason}")
    n_more = result.n_rejected - count_rows(result.rejected[:MOST_LINES])
    if n_more > 0:
        line(f"... and {n_more:,} more rejected rows")
    for text in result.warnings:
        line(f"warning: {text}")
    line(f"Stored in {place}")


def _short(moment: str | None) -> str:
    return "-" if moment is None else moment.removesuffix("T00:00:00Z").removesuffix(":00Z")
