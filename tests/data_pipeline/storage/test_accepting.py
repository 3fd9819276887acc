from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from alphapulse.data_pipeline.models import OHLCVRecord
from alphapulse.data_pipeline.storage.accepting import as_fetched
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars

DAYS = pd.date_range("2024-01-01", periods=5, name="Date")


def table(index=DAYS):
    return pd.DataFrame({"Open": 1.0, "High": 2.0, "Low": 0.5, "Close": 1.5, "Volume": 10}, index=index)


def keys(bars, **given):
    return [(one.symbol, one.timeframe, len(one.bars), len(one.rejected)) for one in as_fetched(bars, **given)]


def test_tables_of_yfinance():
    assert keys(table(), symbol="A") == [("A", "1d", 5, 0)]
    both = pd.concat({"AAA": table(), "BBB": table().iloc[:3]}, axis=1)
    assert keys(both) == [("AAA", "1d", 5, 0), ("BBB", "1d", 3, 0)]
    assert keys(both.swaplevel(axis=1)) == keys(both)
    hours = pd.date_range("2024-01-02 09:30", periods=5, freq="h", tz="America/New_York")
    (one,) = as_fetched(table(hours), symbol="A")
    assert (one.timeframe, one.bars["timestamp"][0]) == ("1h", pd.Timestamp("2024-01-02T14:30Z"))


def test_records_and_tables_with_columns_of_their_own():
    records = [OHLCVRecord(datetime(2024, 1, day, tzinfo=UTC), "A", "1d", 1, 2, 0.5, 1.5, 7) for day in (2, 1, 3)]
    (one,) = as_fetched(records)
    assert one.bars["timestamp"].dt.day.tolist() == [1, 2, 3]
    assert keys(one.bars) == [("A", "1d", 3, 0)]
    assert keys(one.bars.assign(close=[1.5, np.nan, 1.5])) == [("A", "1d", 2, 1)]
    assert as_fetched([one]) == [one]
    assert as_fetched([]) == []


@pytest.mark.parametrize(
    ("bars", "given", "message"),
    [
        (table(), {}, "must say their symbol"),
        (table().drop(columns="Low"), {"symbol": "A"}, "must have the column low"),
        (table(DAYS + pd.Timedelta(hours=9)), {"symbol": "A"}, "aware of their time zone"),
        (table().iloc[:1], {"symbol": "A"}, "give timeframe='1d'"),
        (table(), {"symbol": "A", "timeframe": "1q"}, "`timeframe` must be"),
    ],
)
def test_what_a_table_lacks_is_said(bars, given, message):
    with pytest.raises(ValueError, match=message):
        as_fetched(bars, **given)
    with pytest.raises(TypeError, match="but got int"):
        as_fetched([1, 2])


@pytest.mark.postgres
def test_write_bars_takes_tables_and_records(database):
    write_bars(database, table(), symbol="A", timeframe="1d")
    write_bars(database, [OHLCVRecord(datetime(2024, 1, 9, tzinfo=UTC), "A", "1d", 1, 2, 0.5, 1.5)])
    assert len(read_bars(database, "A", "1d")) == 6
