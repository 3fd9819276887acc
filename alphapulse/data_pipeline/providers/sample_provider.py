"""The sample: daily S&P 500 and NASDAQ Composite, 1999 to 2018, offline.

The figures come with the `arch` package (Kevin Sheppard), Copyright (c) 2017 Kevin Sheppard, under the University of
Illinois/NCSA Open Source License; they are read from the installed package, not copied. The symbols have names of
their own, so that the sample never mixes with downloaded bars.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from alphapulse.data_pipeline.providers.base import Fetched, checked
from alphapulse.errors import DataError, did_you_mean

FILES = {"SAMPLE_SP500": "sp500", "SAMPLE_NASDAQ": "nasdaq"}


class SampleProvider:
    """Reads the sample from the installed `arch` package, without importing it (that would take a second)."""

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
            rows = _read(FILES[symbol])
            inside = (rows["timestamp"] >= start) if start is not None else rows["timestamp"].notna()
            if end is not None:
                inside &= rows["timestamp"] < end
            yield checked(symbol, "1d", rows[inside])


def _read(name: str) -> pd.DataFrame:
    spec = find_spec("arch")
    if spec is None or spec.origin is None:
        raise DataError("The sample is read from the package arch, which is not installed; run `pip install arch`.")
    path = Path(spec.origin).parent / "data" / name / f"{name}.csv.gz"
    try:
        rows = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"The sample cannot be read from {path} ({error}); reinstall the package arch.") from error
    rows["timestamp"] = pd.to_datetime(rows["Date"], format="%m/%d/%Y", utc=True)
    return rows.rename(columns=str.lower)[["timestamp", "open", "high", "low", "close", "volume"]].astype(
        {"volume": "float64"}
    )
