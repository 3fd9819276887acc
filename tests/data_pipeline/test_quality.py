import made_bars
import numpy as np
import pandas as pd

from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.providers.sample_provider import SampleProvider
from alphapulse.data_pipeline.quality import data_warnings, series_warnings
from alphapulse.strategies.base import Bars


def frame(index, **changes):
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, len(index))))
    open_ = close * np.exp(rng.normal(0.0, 0.002, len(index)))
    columns = {
        "timestamp": pd.DatetimeIndex(index),
        "open": open_,
        "high": np.maximum(open_, close) * 1.003,
        "low": np.minimum(open_, close) * 0.997,
        "close": close,
        "volume": rng.integers(1_000_000, 2_000_000, len(index)).astype(float),
    }
    return pd.DataFrame(columns | changes)


def to_bars(table, timeframe="1d", volatility=None):
    columns = {name: table[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    unknown = np.full(len(table), np.nan)
    stamps = table["timestamp"].dt.as_unit("ns").astype("int64").to_numpy()
    return Bars("A", timeframe, stamps, **columns, volatility=unknown if volatility is None else volatility)


def sessions(n=500):
    return made_bars.sessions("2015-01-02")[:n]


def hourly(n_days=60, times=("14:30", "15:30", "16:30", "17:30", "18:30", "19:30", "20:30")):
    return [day + pd.Timedelta(f"{time}:00") for day in sessions(n_days) for time in times]


def test_sound_bars_have_no_warnings():
    assert series_warnings("A", "1d", frame(sessions())) == []
    assert data_warnings(to_bars(frame(sessions())), "next_open") == []


def test_stale_opens_matter_to_next_open_only():
    table = frame(sessions())
    stale = table["open"].to_numpy().copy()
    stale[1:200] = table["close"].to_numpy()[:199]
    bars = to_bars(table.assign(open=stale))
    (line,) = [line for line in data_warnings(bars, "next_open") if "opens equal" in line]
    assert "40% of the opens equal the previous close" in line
    assert "engine.execution=next_close" in line
    assert not any("opens equal" in line for line in data_warnings(bars, "next_close"))


def test_opens_of_a_market_that_never_closes_are_no_fault():
    for freq, label in (("h", "1h"), ("D", "1d")):
        table = frame(pd.date_range("2020-01-01", periods=600, freq=freq, tz="UTC"))
        table["open"] = table["close"].shift().fillna(table["open"])
        assert not any("opens" in line for line in data_warnings(to_bars(table, timeframe=label), "next_open"))


def test_weekends_of_currencies_are_no_gaps():
    index = pd.date_range("2020-01-05 22:00", periods=24 * 7 * 12, freq="h", tz="UTC")
    index = index[(index - pd.Timedelta(hours=22)).day_of_week.isin([6, 0, 1, 2, 3])]
    assert not any("gaps" in line for line in series_warnings("A", "1h", frame(index)))


def test_bars_that_overlap_and_days_on_weekends():
    index = pd.date_range("2020-01-06", periods=300, freq="min", tz="UTC")
    lines = series_warnings("A", "1h", frame(index))
    assert any("299 of 300 bars begin before the one before them has ended, typically 1m apart" in one for one in lines)
    days = pd.bdate_range("2020-01-06", periods=300, tz="UTC").append(pd.DatetimeIndex(["2020-02-01"], tz="UTC"))
    (line,) = [one for one in series_warnings("A", "1d", frame(days.sort_values())) if "Saturday" in one]
    assert "1 of 301 daily bars are on a Saturday or Sunday, the first 2020-02-01" in line
    # Clocks change, and days with them.
    london = pd.bdate_range("2020-01-06", periods=300, tz="Europe/London").tz_convert("UTC")
    assert not any("begin before" in one for one in series_warnings("A", "1d", frame(london)))


def test_volume_that_is_zero_or_repeats():
    table = frame(sessions())
    zero = table["volume"].to_numpy().copy()
    zero[10:40] = 0.0
    (line,) = series_warnings("A", "1d", table.assign(volume=zero))
    assert "zero on 30 of 500 bars, the first 2015-01-16" in line
    (line,) = series_warnings("A", "1d", table.assign(volume=3600.0))
    assert "volume is 3,600 on 500 of 500 bars" in line
    assert series_warnings("A", "1d", table.assign(volume=np.nan)) == []


def test_bars_out_of_order():
    table = frame(sessions())
    table.loc[7, "open"] = table.loc[7, "low"] * 0.5
    (line,) = series_warnings("A", "1d", table)
    assert "1 bars have open or close outside [low, high], the first 2015-01-13" in line


def test_flat_bars():
    table = frame(sessions())
    for name in ("open", "high", "low"):
        table.loc[5:15, name] = table.loc[5:15, "close"]
    (line,) = series_warnings("A", "1d", table)
    assert "11 bars have open = high = low = close" in line


def test_missing_sessions_and_dates_cut_short():
    table = frame(sessions()).drop(index=range(100, 104)).reset_index(drop=True)
    (line,) = series_warnings("A", "1d", table)
    assert "4 of 500 New York sessions" in line
    index = hourly()
    del index[73:77]
    (line,) = series_warnings("A", "1h", frame(index))
    assert "1 dates lack a quarter or more" in line


def test_label_that_is_not_the_length():
    times = ("14:00", "16:00", "18:00", "20:00")
    index = hourly(30, times) + hourly(60)[31 * 7 :]
    lines = series_warnings("A", "1h", frame(index))
    assert any("120 of 323 bars are longer than their label (typically 2 h)" in line for line in lines)


def test_gaps_of_a_market_without_a_known_calendar():
    index = pd.date_range("2020-01-01", periods=2000, freq="h", tz="UTC")
    assert series_warnings("A", "1h", frame(index)) == []
    (line,) = series_warnings("A", "1h", frame(index.delete(slice(500, 530))))
    assert "1 gaps are at least twice as long as usual at that time of the week" in line
    assert "the longest 1.3 days after 2020-01-21T19:00Z" in line


def test_unknown_volatility():
    table = frame(sessions())
    volatility = np.full(500, 20.0)
    volatility[:50] = np.nan
    (line,) = data_warnings(to_bars(table, volatility=volatility), "next_open")
    assert "volatility is unknown on 10.0% of the bars, the first 2015-01-02" in line


def test_short_series():
    assert series_warnings("A", "1d", frame(sessions(1))) == []
    assert data_warnings(to_bars(frame(sessions(1))), "next_open") == []


def test_the_sample_says_what_it_is():
    (fetched,) = SampleProvider().fetch(["SAMPLE_SP500"], [], None, None)
    lines = data_warnings(to_bars(fetched.bars), "next_open")
    assert any("opens equal the previous close" in line for line in lines)
    assert all("\n" not in line for line in lines)


def test_rounding_of_adjusted_prices_is_no_fault():
    table = frame(sessions())
    table["close"] = np.nextafter(table["high"], np.inf)
    assert series_warnings("A", "1d", table) == []


def test_faults_of_made_bars_are_counted():
    def lines(rows):
        symbol, timeframe = rows["symbol"][0], rows["timeframe"][0]
        return series_warnings(symbol, timeframe, checked(symbol, timeframe, rows).bars)

    order, flat, gaps = lines(made_bars.daily_volatility())
    assert f" {made_bars.N_OPENS_OUTSIDE} bars have open or close outside" in order
    assert f" {len(made_bars.sessions(end='1991-12-31'))} bars have open = high = low = close" in flat
    assert f" {made_bars.N_MISSING_SESSIONS} of 8,315 New York sessions" in gaps
    zero, constant = lines(made_bars.hourly_index())
    assert "volume is zero on 1,320 of 10,534 bars, the first 2020-12-01T14:30Z" in zero
    assert "volume is 3,600 on 6,868 of 10,534 bars" in constant
    label, hole = lines(made_bars.hourly_volatility())
    assert "longer than their label (typically 2 h), 2017-01-03T08:10Z to 2018-12-31T20:10Z" in label
    assert "5 of 1,510 New York sessions" in hole
    assert "the first 2020-03-09" in hole
    early = made_bars.daily_index().iloc[:5000]
    (stale,) = data_warnings(to_bars(early), "next_open")
    assert "opens equal the previous close" in stale


def minutes(dates, first, last, *without):
    """Return ten-minute stamps of each date from `first` to `last`, without those in [a, b) of each pair."""
    day = pd.timedelta_range(first, last, freq="10min")
    for start, end in without:
        day = day[(day < pd.Timedelta(start)) | (day >= pd.Timedelta(end))]
    return [date + time for date in dates for time in day]


def test_a_hole_that_comes_every_day():
    days = pd.date_range("2020-01-01", periods=60, tz="UTC")
    index = minutes(days, "0h", "23h50min", ("15h", "16h10min"))
    lines = series_warnings("A", "10m", frame(index))
    assert any("70 minutes have no bars on 60 of 60 dates, the first after 2020-01-01T14:50Z" in line for line in lines)
    assert series_warnings("A", "10m", frame(minutes(days, "0h", "23h50min"))) == []


def test_the_close_of_an_exchange_is_no_hole():
    days = pd.bdate_range("2020-01-01", periods=60, tz="UTC")
    index = minutes(days, "0h", "23h50min", ("22h", "23h"))
    assert not any("have no bars" in line for line in series_warnings("A", "10m", frame(index)))
    lunch = minutes(days, "0h", "5h50min", ("2h30min", "3h30min"))
    (line,) = [line for line in series_warnings("A", "10m", frame(lunch)) if "have no bars" in line]
    assert "60 minutes have no bars on 60 of 60 dates" in line
    assert "a break of the exchange, or a hole" in line


def test_prices_that_cannot_be_right_are_found_in_what_is_stored():
    table = frame(sessions())
    prices = ["open", "high", "low", "close"]
    table.loc[300:, prices] /= 4.0
    table.loc[100, prices] *= 100.0
    lines = series_warnings("A", "1d", table)
    assert any(
        "1 bars are out of line with those before and after them, the first 2015-05-28 (1" in line for line in lines
    )
    assert any("1 bars jump to another level and stay there" in line for line in lines)
    assert any("jump to another level" in line for line in data_warnings(to_bars(table), "next_open"))
    assert not any("jump" in line for line in series_warnings("A", "1d", table, screened=True))
