"""The sample: daily S&P 500 and NASDAQ Composite, 1999 to 2018, offline.

The bars are two files of the package; `data_pipeline/samples/README.md` names their source, licence and faults. The
symbols have names of their own, so that the sample never mixes with downloaded bars.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from alphapulse.data_pipeline.providers.base import Fetched, checked
from alphapulse.errors import DataError, did_you_mean

FOLDER = Path(__file__).parents[1] / "samples"
FILES = {"SAMPLE_SP500": "sp500_1d.csv.gz", "SAMPLE_NASDAQ": "nasdaq_1d.csv.gz"}


class SampleProvider:
    """Reads the sample, which comes with the package."""

    name = "sample"
    symbols: Sequence[str] = tuple(FILES)
    timeframes: Sequence[str] = ("1d",)

    def fetch(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
    ) -> Iterator[Fetched]:
        """Yield the sample's bars; see `Provider.fetch`."""
        for timeframe in timeframes or self.timeframes:
            if timeframe not in self.timeframes:
                raise DataError(f"The sample has timeframe 1d only, but got {timeframe!r}; set data.timeframe=1d.")
        for symbol in symbols or self.symbols:
            if symbol not in FILES:
                raise DataError(
                    f"The sample has the symbols {', '.join(FILES)}, but got {symbol!r}"
                    f"{did_you_mean(symbol, FILES) or '; take one of them, or provider=yfinance.'}"
                )
        for symbol in symbols or self.symbols:
            rows = _read(FOLDER / FILES[symbol])
            inside = (rows["timestamp"] >= start) if start is not None else rows["timestamp"].notna()
            if end is not None:
                inside &= rows["timestamp"] < end
            yield checked(symbol, "1d", rows[inside])


def _read(path: Path) -> pd.DataFrame:
    """Return the bars of one file: timestamp (start, UTC), prices [index points], volume [shares]."""
    try:
        rows = pd.read_csv(path, dtype={"volume": "float64"})
    except (OSError, ValueError) as error:
        raise DataError(f"The sample cannot be read from {path} ({error}); install alphapulse again.") from error
    rows.insert(0, "timestamp", pd.to_datetime(rows.pop("date"), format="%Y-%m-%d", utc=True))
    return rows
