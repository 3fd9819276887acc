from dataclasses import replace
from datetime import UTC, date, datetime

import made_bars
import numpy as np
import pandas as pd
import pytest
from made_bars import hourly_index, hourly_volatility
from sqlalchemy import text

from alphapulse.config.schema import DataConfig
from alphapulse.data_pipeline.loading import load_backtest_data, load_history
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.errors import ConfigError, DataError
from alphapulse.market.timeframes import DAY, timeframe_length

pytestmark = pytest.mark.postgres

DAILY = DataConfig(source="database", symbols=("A",))


def store(database, symbol, index, timeframe="1d", close=None, **others):
    close = np.arange(1.0, len(index) + 1) if close is None else np.asarray(close, dtype=float)
    rows = pd.DataFrame(
        {"timestamp": index, "open": close, "high": close + 1, "low": close / 2, "close": close, "volume": 5.0} | others
    )
    write_bars(database, [checked(symbol, timeframe, rows)])


def days(n, start="2020-01-01"):
    return pd.date_range(start, periods=n, tz="UTC")


def test_load_backtest_data_gives_frames(database):
    store(database, "A", days(10))
    store(database, "B", days(20))
    frames = load_backtest_data(["A", "B"], "1d", datetime(2020, 1, 3, tzinfo=UTC), date(2020, 1, 5))
    assert list(frames) == ["A", "B"]
    frame = frames["A"]
    assert list(frame.columns) == ["open", "high", "low", "close", "volume"]
    assert frame.index.name == "timestamp"
    assert str(frame.index.tz) == "UTC"
    assert frame["close"].tolist() == [3.0, 4.0, 5.0]
    assert (frame.dtypes == np.float64).all()


def test_load_backtest_data_brings_the_sample_itself(database):
    frame = load_backtest_data("SAMPLE_SP500", "1d", "2018-12-28", "2018-12-31")["SAMPLE_SP500"]
    assert frame["close"].round(2).tolist() == [2485.74, 2506.85]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["A"], "1d", datetime(2020, 1, 3)), ValueError, "`start_dt` must carry a time zone"),
        ((["A"], "1x"), ValueError, "`timeframe` must be"),
        (([], "1d"), ValueError, "`symbols` must name at least one"),
        ((["A"], "1d", "2020-02-01", "2020-01-01"), ValueError, "`start_dt <= end_dt` must hold"),
        ((["A"], "1d", "2021-01-01", "2021-02-01"), DataError, "stored are 2020-01-01 to 2020-01-10"),
        ((["SPY"], "1d", "2010-01-04", "2010-03-31"), DataError,
         r"^No bars for 'SPY' 1d in \[2010-01-04, 2010-03-31\]; "
         r"run `python -m alphapulse\.download 'data\.symbols=\[SPY\]'`\.$"),
    ],
)  # fmt: skip
def test_load_backtest_data_refuses_in_one_line(database, arguments, error, message):
    store(database, "A", days(10))
    with pytest.raises(error, match=message) as caught:
        load_backtest_data(*arguments)
    assert "\n" not in str(caught.value)


def test_load_refuses_prices_that_cannot_be(database):
    store(database, "A", days(10))
    with database.sync_engine.begin() as connection:
        connection.execute(text("UPDATE ohlcv_data SET low = 'NaN' WHERE timestamp = '2020-01-04 00:00Z'"))
    message = "`low > 0` and finite must hold, but 'A' 1d has low=nan at 2020-01-04"
    with pytest.raises(DataError, match=message):
        load_backtest_data("A", "1d")
    with pytest.raises(DataError, match=message):
        load_history(database, DAILY, 0)


def test_load_history_loads_the_warm_up_before_the_start(database):
    store(database, "A", days(100))
    history = load_history(database, replace(DAILY, start="2020-02-01", end="2020-03-01"), 10)
    assert history.first == 10
    assert history.bars.timestamp[history.first] == pd.Timestamp("2020-02-01").value
    assert history.bars.timestamp[-1] == pd.Timestamp("2020-03-01").value
    assert len(history.bars) == 10 + 30


def test_load_history_without_a_start_takes_the_warm_up_from_the_beginning(database):
    store(database, "A", days(100))
    assert load_history(database, DAILY, 30).first == 30
    # Five bars before the start are too few for a lookback of twenty: scoring waits for the twentieth.
    assert load_history(database, replace(DAILY, start="2020-01-06"), 20).first == 20


def test_history_is_dense_and_read_only(database):
    store(database, "A", days(50))
    bars = load_history(database, DAILY, 0).bars
    for name in ("timestamp", "open", "high", "low", "close", "volume", "volatility"):
        array = getattr(bars, name)
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert bars.periods_per_year == 365.25
    assert load_history(database, replace(DAILY, periods_per_year=300), 0).bars.periods_per_year == 300


def test_fingerprint_is_of_the_data_alone(database):
    store(database, "A", days(100))
    late = replace(DAILY, start="2020-02-01")
    assert load_history(database, late, 5).fingerprint == load_history(database, late, 25).fingerprint
    assert load_history(database, DAILY, 5).fingerprint == load_history(database, DAILY, 25).fingerprint
    assert load_history(database, DAILY, 5).fingerprint != load_history(database, late, 5).fingerprint
    before = load_history(database, late, 5).fingerprint
    with database.sync_engine.begin() as connection:
        connection.execute(
            text("UPDATE ohlcv_data SET close = close * 1.0000001 WHERE timestamp = '2020-03-04 00:00Z'")
        )
    assert load_history(database, late, 5).fingerprint != before


def test_split_cuts_the_holdout_off(database):
    store(database, "A", days(400))
    history = load_history(database, DAILY, 100)
    search, holdout = history.split(0.2)
    assert (search.first, len(search.bars), search.n_scored) == (100, 340, 240)
    assert (holdout.first, len(holdout.bars), holdout.n_scored) == (340, 400, 60)
    assert search.fingerprint == holdout.fingerprint == history.fingerprint
    assert search.block_end[-1] == 340
    assert 120 <= search.n_blocks <= 512
    assert search.week_start[search.first]
    assert holdout.month_start[holdout.first]
    whole, none = history.split(0.0)
    assert none is None
    assert whole.n_scored == 300
    with pytest.raises(DataError, match="At least 2 bars must be left"):
        history.split(0.999)


@pytest.mark.parametrize(
    ("data", "lookback", "error", "message"),
    [
        (replace(DAILY, symbols=("SPY",)), 0, DataError, r"download 'data\.symbols=\[SPY\]'`\.$"),
        (
            replace(DAILY, symbols=("^GSPC",), timeframe="1h"),
            0,
            DataError,
            r"'data\.symbols=\[\^GSPC\]' data\.timeframe=1h",
        ),
        (DAILY, 99, DataError, "The lookback of 99 bars must leave at least 2"),
        (replace(DAILY, start="2021-01-01"), 5, DataError, "stored are 2020-01-01 to 2020-04-09"),
        (replace(DAILY, start="2020-01-03T10:00"), 5, ConfigError, "`data.start` must carry a time zone"),
        (replace(DAILY, volatility_symbol="^VIX"), 5, DataError, r"No bars for '\^VIX' 1d"),
        (DataConfig(symbols=("SPY",)), 5, DataError, "set data=database, or take SAMPLE_SP500 or SAMPLE_NASDAQ"),
        (DataConfig(timeframe="1h"), 5, DataError, r"the sample has daily bars only; set data\.timeframe=1d"),
    ],
)
def test_load_history_refuses_in_one_line(database, data, lookback, error, message):
    store(database, "A", days(100))
    with pytest.raises(error, match=message) as caught:
        load_history(database, data, lookback)
    assert "\n" not in str(caught.value)


def test_load_history_brings_the_sample_itself(database):
    store(database, "SAMPLE_SP500", days(3, "2030-01-01"))
    history = load_history(database, DataConfig(symbols=("SAMPLE_SP500", "SAMPLE_NASDAQ"), end="2018-12-31"), 250)
    assert len(history.bars) == 5031
    assert np.isfinite(history.bars.others["SAMPLE_NASDAQ"]).all()


def test_daily_volatility_reaches_an_hourly_decision_on_the_next_date(database):
    times = ["2020-01-02T14:30", "2020-01-02T20:30", "2020-01-03T14:30", "2020-01-06T14:30"]
    store(database, "A", pd.DatetimeIndex(times, tz="UTC"), "1h")
    store(database, "^VIX", days(6), close=[10, 11, 12, 13, 14, 15])
    data = DataConfig(source="database", symbols=("A",), volatility_symbol="^VIX", timeframe="1h")
    history = load_history(database, data, 0)
    assert history.bars.volatility.tolist() == [10.0, 10.0, 11.0, 14.0]
    assert list(history.joined) == [("^VIX", "1d")]
    stale = load_history(database, replace(data, start="2020-01-02", max_staleness="20h"), 0)
    assert np.isnan(stale.bars.volatility).tolist() == [False, True, False, False]


def test_volatility_before_the_start_is_known_at_the_start(database):
    store(database, "A", days(10, "2020-01-10"))
    store(database, "^VIX", days(10, "2020-01-05"))
    data = replace(DAILY, volatility_symbol="^VIX", start="2020-01-12", max_staleness="3d")
    volatility = load_history(database, data, 0).bars.volatility
    assert np.array_equal(volatility, [8, 9, 10, 10, 10, 10, np.nan, np.nan], equal_nan=True)


def test_hourly_bars_join_what_was_known(database):
    index, volatility = (checked(rows["symbol"][0], "1h", rows) for rows in (hourly_index(), hourly_volatility()))
    assert len(volatility.rejected) == made_bars.N_REPEATED
    write_bars(database, [index, volatility])
    data = DataConfig(source="database", symbols=("SPX",), volatility_symbol="VIX", timeframe="1h", end="2020-12-31")
    bars = load_history(database, data, 0).bars
    assert bars.periods_per_year == 7 * 252
    vix = volatility.bars
    starts = vix["timestamp"].dt.as_unit("ns").astype("int64").to_numpy()
    hour = timeframe_length("1h")
    rng = np.random.default_rng(0)
    for place in rng.choice(len(bars), 300, replace=False):
        known_by = bars.timestamp[place] + hour
        length = 2 * hour if bars.timestamp[place] < made_bars.TWO_HOURLY_UNTIL.value else hour
        known = np.flatnonzero((starts + length <= known_by) & (starts + 7 * DAY > known_by))
        assert bars.volatility[place] == vix["close"].iloc[known[-1]]


def test_volatility_index_that_nobody_reads_may_be_absent(database):
    store(database, "A", days(30))
    history = load_history(database, replace(DAILY, volatility_symbol="^VIX"), 0, needs_volatility=False)
    assert np.isnan(history.bars.volatility).all()
    assert history.warnings() == []


def test_volatility_bars_are_judged_before_the_join(database):
    store(database, "A", days(30))
    store(database, "^VIX", days(30))
    assert load_history(database, DAILY, 0).warnings() == []
    with database.sync_engine.begin() as connection:
        connection.execute(text("UPDATE ohlcv_data SET open = 500 WHERE symbol = '^VIX' AND timestamp = '2020-01-04Z'"))
    lines = load_history(database, replace(DAILY, volatility_symbol="^VIX"), 0).warnings()
    assert any("^VIX 1d: 1 bars have open or close outside [low, high]" in line for line in lines)


def test_a_timeframe_that_is_not_stored_is_put_together(database):
    index = pd.DatetimeIndex(
        [
            day + pd.Timedelta(hours=hour)
            for day in pd.bdate_range("2020-01-06", periods=40, tz="UTC")
            for hour in (9, 10, 11)
        ]
    )
    store(database, "A", index, "1h")
    daily = load_history(database, DAILY, 0).bars
    assert daily.close.tolist() == [3.0 * n for n in range(1, 41)]
    assert daily.open[:2].tolist() == [1.0, 4.0]
    assert daily.volume[0] == 15.0
    weekly = replace(DAILY, timeframe="1w", start="2020-02-03")
    history = load_history(database, weekly, 3)
    assert (history.first, history.bars.timeframe) == (3, "1wk")
    assert history.bars.timestamp[history.first] == pd.Timestamp("2020-02-03").value
    assert history.bars.periods_per_year == 365.25 / 7
    assert load_backtest_data("A", "1mo")["A"]["close"].tolist() == [60.0, 120.0]
    with pytest.raises(DataError, match="No bars for 'A' 30m"):
        load_history(database, replace(DAILY, timeframe="30m"), 0)


def test_a_joined_bar_that_was_put_together_is_known_with_its_last_part(database):
    store(database, "A", pd.date_range("2020-01-06", periods=48, freq="h", tz="UTC"), "1h")
    minutes = pd.date_range("2020-01-06 00:00", periods=90, freq="min", tz="UTC")
    store(database, "B", minutes, "1m")
    data = DataConfig(source="database", symbols=("A", "B"), timeframe="1h")
    # The second bucket of B ends with its last minute, 01:30, and is known at 02:00.
    assert load_history(database, data, 0).bars.others["B"][:3].tolist() == [60.0, 90.0, 90.0]


def test_another_symbol_is_joined_as_whole_bars(database):
    store(database, "A", days(6))
    store(database, "B", days(3, "2020-01-02"), close=[10, 11, 12])
    data = DataConfig(source="database", symbols=("A",), others=("B",), max_staleness="1d")
    history = load_history(database, data, 0)
    bars, other = history.bars, history.bars.of("B")
    known = [False, True, True, True, True, False]
    for name in ("open", "high", "low", "close", "volume"):
        assert np.isfinite(other.column(name)).tolist() == known
    assert bars.of("A") is bars
    assert bars.column("B.close").tolist()[1:4] == other.close.tolist()[1:4] == [10.0, 11.0, 12.0]
    assert (other.high >= other.low)[known].all()
    assert other.indicator(np.add, "high", 1)[1] == other.high[1] + 1
    assert not other.low.flags.writeable
    with pytest.raises(ValueError, match=r"No bars of 'C' are joined to those of 'A'.*write data.others=\[C\]"):
        bars.of("C")
    fingerprints = {history.fingerprint}
    store(database, "B", days(3, "2020-01-02"), close=[10, 11, 12], volume=7.0)
    fingerprints.add(load_history(database, data, 0).fingerprint)
    fingerprints.add(load_history(database, replace(data, others=()), 0).fingerprint)
    assert len(fingerprints) == 3
    with pytest.raises(DataError, match="No bars for 'X' 1d") as caught:
        load_history(database, replace(data, others=("X",)), 0)
    assert "\n" not in str(caught.value)
