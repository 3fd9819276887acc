"""Whether the bars of a study are sound: what they are, where they have gaps, and all that was found in them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alphapulse.market.bars import Bars
from alphapulse.market.gaps import find_gaps
from alphapulse.market.timeframes import DAY, timeframe_length
from alphapulse.reports.page.subject import Subject

BARS = ("series", "used as", "first", "last", "bars", "unknown", "gaps", "longest gap")
FINDINGS = ("about", "finding")
MOST_GAPS = 20


def bar_rows(subject: Subject) -> list[list[str]]:
    """Return a row for each series of the study, under `BARS`; none where its bars cannot be had any more."""
    if subject.inputs is None:
        return []
    bars = (subject.inputs.holdout or subject.inputs.market).bars
    gaps = find_gaps(bars.timestamp, bars.timeframe)
    longest = "" if len(gaps) == 0 else f"{int(gaps.n_missing.max()):,} bars"
    first, last = _when(bars, 0), _when(bars, len(bars) - 1)
    traded = [f"{bars.symbol} {bars.timeframe}", "traded", first, last, f"{len(bars):,}", "", f"{len(gaps):,}", longest]
    data = subject.study.config.get("data", {})
    joined = {name: (close, "joined by its end") for name, close in bars.others.items()}
    if data.get("volatility_symbol") and np.isfinite(bars.volatility).any():
        joined = {str(data["volatility_symbol"]): (bars.volatility, "volatility"), **joined}
    rows = [traded]
    for name, (values, role) in joined.items():
        known = np.flatnonzero(np.isfinite(values))
        ends = ("", "") if len(known) == 0 else (_when(bars, int(known[0])), _when(bars, int(known[-1])))
        rows.append([name, role, *ends, f"{len(known):,}", f"{1 - len(known) / len(values):.1%}", "", ""])
    return rows


def gap_rows(subject: Subject) -> list[list[str]]:
    """Return the longest gaps of the traded bars: the bar before, the bar after, and how many are missing."""
    if subject.inputs is None:
        return []
    bars = (subject.inputs.holdout or subject.inputs.market).bars
    gaps = find_gaps(bars.timestamp, bars.timeframe)
    longest = np.sort(np.argsort(-gaps.n_missing, kind="stable")[:MOST_GAPS])
    return [
        [_text(int(gaps.before[place]), bars), _text(int(gaps.after[place]), bars), f"{int(gaps.n_missing[place]):,}"]
        for place in longest.tolist()
    ]


def finding_rows(subject: Subject) -> list[list[str]]:
    """Return what was found in the bars and the engine's settings, under `FINDINGS`."""
    notes: Sequence[str] = subject.verdict.get("warnings") or ()
    if not notes and subject.inputs is not None:
        notes = subject.inputs.warnings
    rows = []
    for note in notes:
        about, colon, finding = note.partition(": ")
        # A series, or a key such as engine.lot=100; all else is a sentence with a colon in it.
        is_subject = bool(colon) and len(about.split()) <= 2
        rows.append([about, finding] if is_subject else ["study", note])
    return rows


def _when(bars: Bars, place: int) -> str:
    return _text(int(bars.timestamp[place]), bars)


def _text(nanoseconds: int, bars: Bars) -> str:
    is_daily = timeframe_length(bars.timeframe) >= DAY
    return pd.Timestamp(nanoseconds).strftime("%Y-%m-%d" if is_daily else "%Y-%m-%dT%H:%MZ")
