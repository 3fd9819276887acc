"""The ledger in the database: every study and backtest by the bars that it saw, and every look at a hold-out.

Lines stay when a study is deleted or renamed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alphapulse.data_pipeline.database import Database
from alphapulse.study.records import Study, StudyBars
from alphapulse.validation.ledger import Ledger, Span, Tried, count_openings, same_bars

# A universe has a line for each of its symbols; whatever symbols two of them share, it was one try.
LINES = """
SELECT name, start, "end", n_trials FROM (
    SELECT DISTINCT ON (coalesce(sweep_id::text, name), start_at, end_at) id, name, n_trials,
        extract(epoch FROM start_at)::float8 AS start, extract(epoch FROM end_at)::float8 AS end
    FROM ledger WHERE symbol = ANY($1) AND timeframe = $2 AND sweep_id IS DISTINCT FROM $3 AND n_trials > 0
    ORDER BY coalesce(sweep_id::text, name), start_at, end_at, id
) AS tried ORDER BY id
"""

# The studies whose best trials the search started from, and those that these started from: on whatever bars they were
# made, their trials have led to this one.
SOURCES = """
WITH RECURSIVE source AS (
    SELECT config #>> '{search,enqueue}' AS name FROM sweep WHERE id = $1
    UNION SELECT s.config #>> '{search,enqueue}' FROM sweep s JOIN source ON s.name = source.name
)
SELECT name, start, "end", n_trials FROM (
    SELECT DISTINCT ON (l.sweep_id) l.id, l.name, extract(epoch FROM l.start_at)::float8 AS start,
        extract(epoch FROM l.end_at)::float8 AS end, l.n_trials
    FROM ledger l JOIN source ON l.name = source.name
    WHERE l.sweep_id IS NOT NULL AND l.sweep_id <> $1 AND l.n_trials > 0 ORDER BY l.sweep_id, l.id
) AS tried ORDER BY id
"""

OPENINGS = """
SELECT DISTINCT by, extract(epoch FROM start_at)::float8 AS start, extract(epoch FROM end_at)::float8 AS end
FROM holdout_opening WHERE symbol = ANY($1) AND timeframe = $2
"""

RECORD_OPENING = """
INSERT INTO holdout_opening (symbol, timeframe, start_at, end_at, by) SELECT unnest($1::text[]), $2, $3, $4, $5
ON CONFLICT DO NOTHING
"""

RECORD_BACKTEST = """
INSERT INTO ledger (name, symbol, timeframe, start_at, end_at, n_trials)
SELECT $1, traded, $3, $4, $5, 1 FROM unnest($2::text[]) AS traded
WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE sweep_id IS NULL AND name = $1 AND symbol = traded AND timeframe = $3
    AND start_at = $4 AND end_at = $5)
"""

HOLDOUTS = """
SELECT name FROM sweep
WHERE (symbols[1] = ANY($1) OR config #>> '{universe,kind}' IN ('each', 'account') AND symbols && $1)
    AND timeframe = $2 AND holdout_start < $4 AND data_end > $3 ORDER BY id
"""

ALL_LINES = """
SELECT name, symbol, timeframe, start_at, end_at, n_trials, created_at FROM ledger ORDER BY symbol, timeframe, id
"""

ALL_OPENINGS = """
SELECT symbol, timeframe, start_at, end_at, by, at FROM holdout_opening ORDER BY symbol, timeframe, start_at, id
"""


def open_holdout(database: Database, bars: StudyBars, by: str) -> None:
    """Note that `by` looked at the hold-out of `bars`; the same look counts once."""
    if bars.holdout_start is not None:
        database.fetch(RECORD_OPENING, list(bars.traded), bars.timeframe, bars.holdout_start, bars.end, by)


def record_backtest(database: Database, bars: StudyBars, name: str) -> None:
    """Note that a backtest called `name` ran over `bars`; the same one counts once."""
    database.fetch(RECORD_BACKTEST, name, list(bars.traded), bars.timeframe, bars.start, bars.end)


def held_out_within(database: Database, bars: StudyBars) -> list[str]:
    """Return the names of the studies that hold out a bar which a backtest over `bars` shows."""
    rows = database.fetch(HOLDOUTS, list(bars.traded), bars.timeframe, bars.start, bars.end)
    return [row["name"] for row in rows]


def read_ledger(database: Database, study: Study, bars: StudyBars, n_own: int) -> Ledger:
    """Return what counts against a study of `n_own` settings: other trials on its bars, openings of its hold-out.

    Trials of a study that it started from count on whatever bars.

    Parameters
    ----------
    database : Database
    study : Study
    bars : StudyBars
        The study's bars.
    n_own : int
        Number of different settings that it tried itself.
    """
    rows = database.fetch(LINES, list(bars.traded), bars.timeframe, study.id)
    lines = [_tried(row) for row in rows]
    held_out = bars.held_out
    n_openings = 0
    if held_out is not None:
        rows = database.fetch(OPENINGS, list(bars.traded), bars.timeframe)
        openings = [Span(row["start"], row["end"]) for row in rows]
        n_openings = count_openings(held_out, openings, lines)
    counted = same_bars(bars.searched, lines)
    sources = [_tried(row) for row in database.fetch(SOURCES, study.id)]
    return Ledger(n_own, (*counted, *(line for line in sources if line not in counted)), n_openings)


def _tried(row: Any) -> Tried:
    return Tried(row["name"], Span(row["start"], row["end"]), row["n_trials"])


@dataclass(frozen=True)
class LedgerTables:
    """The whole ledger, as rows by column name.

    Attributes
    ----------
    lines : list of dict
        Have name, symbol, timeframe, start_at, end_at, n_trials and created_at.
    openings : list of dict
        Have symbol, timeframe, start_at, end_at, by and at.
    """

    lines: list[dict[str, Any]]
    openings: list[dict[str, Any]]


def read_all(database: Database) -> LedgerTables:
    """Return every line and every opening, by symbol and timeframe."""
    return LedgerTables(
        [dict(row) for row in database.fetch(ALL_LINES)], [dict(row) for row in database.fetch(ALL_OPENINGS)]
    )


def is_unknown(moment: datetime) -> bool:
    """Return whether a line of an older version has no such end of its range."""
    return moment.year in (datetime.min.year, datetime.max.year)
