from dataclasses import replace

import made_bars
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from alphapulse.config.schema import DataConfig
from alphapulse.data_pipeline.loading import load_history
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.coverage import missing_spans
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.storage.ingests import Source
from alphapulse.errors import DataError

pytestmark = pytest.mark.postgres


def test_load_history_fetches_from_yahoo_what_is_absent(database, yahoo):
    data = DataConfig(
        source="yahoo", symbols=("^GSPC",), volatility_symbol="^VIX", start="2019-01-02", end="2019-12-31"
    )
    history = load_history(database, data, 50)
    assert history.first == 50
    assert np.isfinite(history.bars.volatility).all()
    with database.sync_engine.begin() as connection:
        n_stored = connection.scalar(text("SELECT count(*) FROM ohlcv_data"))
        connection.execute(text("DELETE FROM ohlcv_data WHERE timestamp > '2019-06-01' AND symbol = '^GSPC'"))
    assert n_stored > 16_000
    yahoo.requests.clear()
    # What is there is not fetched again: a study's data does not change under it.
    assert len(load_history(database, data, 50).bars) < len(history.bars)
    assert yahoo.requests == []


@pytest.mark.usefixtures("yahoo")
def test_load_history_says_what_yahoo_lacks(database):
    with pytest.raises(DataError, match="Yahoo has no bars for 'NOPE' 1d"):
        load_history(database, DataConfig(source="yahoo", symbols=("NOPE",)), 50)
    data = DataConfig(source="yahoo", symbols=("SPY",), volatility_symbol="NOPE")
    with pytest.raises(DataError, match="No bars for 'NOPE' 1d"):
        load_history(database, data, 50)


def held(database, start, end):
    rows = made_bars.fund()
    rows = rows[
        (rows["timestamp"] >= pd.Timestamp(start, tz="UTC")) & (rows["timestamp"] <= pd.Timestamp(end, tz="UTC"))
    ]
    write_bars(database, [checked("SPY", "1d", rows)], Source("csv", "spy.csv"))
    return rows


def test_yahoo_is_asked_for_what_is_missing_and_nothing_else(database, yahoo):
    held(database, "2018-01-02", "2018-12-31")
    database.fetch("UPDATE ohlcv_data SET volume = 1 WHERE timestamp = '2018-06-01Z'")
    data = DataConfig(source="yahoo", symbols=("SPY",), start="2017-01-03", end="2019-12-31")
    history = load_history(database, data, 20)
    assert len(history.bars) == len(made_bars.sessions("2017-01-03", "2019-12-31"))
    assert history.warnings() == []
    (volume,) = database.fetch("SELECT volume FROM ohlcv_data WHERE timestamp = '2018-06-01Z'")
    assert volume[0] == 1.0
    yahoo.requests.clear()
    assert load_history(database, data, 20).fingerprint == history.fingerprint
    # Without a start or an end no more is asked for than was known: a study does not change from day to day.
    load_history(database, replace(data, start="2018-01-01", end=None), 20)
    assert yahoo.requests == []


def test_what_yahoo_lacks_is_said_and_not_asked_for_again(database, yahoo):
    held(database, "2015-01-02", "2015-12-31")
    data = DataConfig(source="yahoo", symbols=("SPY",), start="2010-01-04", end="2015-12-31")
    (line,) = load_history(database, data, 20).warnings()
    assert "SPY 1d: there are no bars from 2010-01-04 to 2015-01-02, so 252 bars are all" in line
    yahoo.requests.clear()
    load_history(database, data, 20)
    assert yahoo.requests == []


def test_a_range_that_the_database_does_not_cover_is_said(database):
    held(database, "2018-01-02", "2018-12-31")
    data = DataConfig(source="database", symbols=("SPY",), start="2017-01-03", end="2019-12-31")
    (line,) = load_history(database, data, 20).warnings()
    assert "no bars from 2017-01-03 to 2018-01-02 and after 2018-12-31, so 251 bars are all" in line
    assert "alphapulse.download 'data.symbols=[SPY]'" in line
    assert load_history(database, replace(data, start="2018-01-01", end="2019-01-02"), 20).warnings() == []
    assert load_history(database, replace(data, start=None, end=None), 20).warnings() == []


def test_missing_spans_by_hand(database):
    def moment(text):
        return pd.Timestamp(text, tz="UTC")

    assert missing_spans(database, "SPY", "1d", None, None) is None
    held(database, "2018-01-02", "2018-03-29")
    held(database, "2018-06-01", "2018-06-29")
    assert missing_spans(database, "SPY", "1d", moment("2018-01-01"), moment("2018-07-01")) == [
        (moment("2018-01-01"), moment("2018-01-02")),
        (moment("2018-03-30"), moment("2018-06-01")),
        (moment("2018-06-30"), moment("2018-07-01")),
    ]
    assert missing_spans(database, "SPY", "1d", None, moment("2018-02-01")) == [(None, moment("2018-01-02"))]
    assert missing_spans(database, "SPY", "1d", moment("2018-02-01"), moment("2018-03-01")) == []
    # Bars of an unknown source are all there are between them.
    write_bars(database, [checked("SPY", "1d", made_bars.fund())])
    assert missing_spans(database, "SPY", "1d", None, moment("2018-07-01")) == []
