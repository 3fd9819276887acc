"""Prices that cannot be right, on their way in: warned about, held back or refused, as the user says for each kind."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.models import COLUMNS
from alphapulse.data_pipeline.providers.base import Fetched, Rejected
from alphapulse.data_pipeline.quality import fault_lines
from alphapulse.data_pipeline.storage.quarantine import decided_rows
from alphapulse.errors import DataError
from alphapulse.market.bars import PRICES
from alphapulse.market.jumps import Faults, find_faults
from alphapulse.market.timeframes import DAY, timeframe_length

if TYPE_CHECKING:
    from alphapulse.config.schema import QualityConfig
    from alphapulse.data_pipeline.database import Database

# Stored bars that new ones are measured by.
N_BEFORE = 250
BEFORE = """
    SELECT timestamp, open, high, low, close, volume FROM (
        SELECT * FROM ohlcv_data WHERE symbol = $1 AND timeframe = $2 AND timestamp < $3 AND timestamp <> ALL($4)
        ORDER BY timestamp DESC LIMIT $5
    ) AS bars ORDER BY timestamp"""
KINDS = {
    "nonsense": ("nonsense", "a price is none"),
    "spikes": ("spike", "it is out of line with the bars before and after it"),
    "wicks": ("wick", "a price is far from all others"),
    "jumps": ("jump", "prices jump to another level here, as after a split that is not in those before"),
}


class ImplausibleError(DataError):
    """A series has prices that cannot be right, and is refused as a whole."""


def screen(database: "Database", fetched: Fetched, quality: "QualityConfig", *, alone: bool = False) -> Fetched:
    """Return what is to be stored of an answer, and what is to be held back or said of its prices.

    Bars are measured with the stored ones before them. From a jump on that is to be held back all bars are: they are of
    another level than what is stored. A row that somebody has released is believed.

    Parameters
    ----------
    alone : bool
        Whether stored bars say nothing of these.

    Raises
    ------
    ImplausibleError
        If there is a fault of a kind that the user wants refused.
    """
    n_rows = len(fetched.bars)
    if n_rows == 0:
        return fetched
    before = fetched.bars.iloc[:0] if alone else _stored_before(database, fetched)
    joined = pd.concat([before, fetched.bars[list(before.columns)]], ignore_index=True) if len(before) else fetched.bars
    faults = _of_new(find_faults(*(joined[name].to_numpy(dtype=np.float64) for name in PRICES)), n_rows)
    if not any(getattr(faults, name).any() for name, _ in KINDS.values()):
        return fetched
    stamps = fetched.bars["timestamp"]
    texts = {place: _text(fetched.bars.iloc[place]) for place in np.flatnonzero(_any(faults)).tolist()}
    believed = decided_rows(database, fetched.symbol, fetched.timeframe, "released")
    known = np.zeros(n_rows, dtype=bool)
    known[[place for place, text in texts.items() if (stamps[place].isoformat(), text) in believed]] = True
    faults = dataclasses.replace(faults, **{name: getattr(faults, name) & ~known for name, _ in KINDS.values()})

    def when(place: int) -> str:
        return f"{stamps[place]:{'%Y-%m-%d' if timeframe_length(fetched.timeframe) >= DAY else '%Y-%m-%dT%H:%MZ'}}"

    name = f"{fetched.symbol} {fetched.timeframe}"
    said = {kind: np.zeros(n_rows, dtype=bool) for kind, _ in KINDS.values()}
    reasons = np.full(n_rows, "", dtype=object)
    for key, (kind, reason) in KINDS.items():
        mask, policy = getattr(faults, kind), getattr(quality, key)
        if policy == "warn":
            said[kind] = mask
        elif mask.any() and policy == "refuse":
            place = int(np.argmax(mask))
            raise ImplausibleError(
                f"{name}: {np.count_nonzero(mask):,} bars are refused, the first {when(place)} "
                f"({faults.size[place]:.4g} times the close before), since {reason}; quality.{key}=warn stores them."
            )
        elif mask.any():
            held = np.arange(n_rows) >= int(np.argmax(mask)) if kind == "jump" else mask
            reasons[held & (reasons == "")] = reason
    lines = fault_lines(name, when, dataclasses.replace(faults, **said))
    bad = np.flatnonzero(reasons != "").tolist()
    rejected = [
        Rejected(
            stamps[place].isoformat(),
            f"{reasons[place]} ({faults.size[place]:.4g} times the close before)",
            text=_text(fetched.bars.iloc[place]),
            timestamp=stamps[place].isoformat(),
            values=tuple(float(value) for value in fetched.bars.iloc[place][[*PRICES, "volume"]]),
        )
        for place in bad
    ]
    return dataclasses.replace(
        fetched,
        bars=fetched.bars[reasons == ""].reset_index(drop=True),
        rejected=[*fetched.rejected, *rejected],
        notes=[*fetched.notes, *lines],
    )


def _stored_before(database: "Database", fetched: Fetched) -> pd.DataFrame:
    first = fetched.bars["timestamp"].iloc[0]
    # Held rows of the same answer are no bars, but a stored one may be among them still.
    wrong = [pd.Timestamp(row.timestamp) for row in fetched.rejected if row.timestamp is not None]
    rows = database.fetch(BEFORE, fetched.symbol, fetched.timeframe, first, wrong, N_BEFORE)
    names = [name for name in COLUMNS if name not in ("symbol", "timeframe")]
    return pd.DataFrame([tuple(row) for row in rows], columns=names)


def _of_new(faults: Faults, n_rows: int) -> Faults:
    """Return the faults of the last bars, those that are new."""
    return Faults(*(getattr(faults, f.name)[-n_rows:] for f in dataclasses.fields(faults)))


def _any(faults: Faults) -> Any:
    return np.any([getattr(faults, kind) for kind, _ in KINDS.values()], axis=0)


def _text(row: pd.Series) -> str:
    values = (float(row[name]) for name in (*PRICES, "volume"))
    return " ".join([row["timestamp"].isoformat(), *(f"{value:.10g}" for value in values)])
