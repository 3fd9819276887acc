from datetime import timedelta

import pandas as pd
import pytest

from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.timescale import chunk_interval

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("series", "days"),
    [
        ([], 3640),
        ([("A", "1d"), ("B", "1wk")], 3640),
        ([("A", "1d"), ("B", "1h"), ("B", "1mo")], 364),
        ([("A", "1h"), ("C", "5m")], 28),
    ],
)
def test_chunks_fit_the_shortest_bars(database, series, days):
    for symbol, timeframe in series:
        index = pd.DatetimeIndex(["2020-01-01"], tz="UTC")
        rows = pd.DataFrame({"timestamp": index, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 1.0})
        write_bars(database, [checked(symbol, timeframe, rows)])
    with database.sync_engine.connect() as connection:
        assert chunk_interval(connection) == timedelta(days=days)
