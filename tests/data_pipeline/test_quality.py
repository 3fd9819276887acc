from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
from alphapulse.data_pipeline.providers.sample_provider import SampleProvider
from alphapulse.data_pipeline.quality import data_warnings, series_warnings
from alphapulse.strategies.base import Bars

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


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


def sessions(n=500, start="2015-01-02"):
    from exchange_calendars import get_calendar

    return get_calendar("XNYS", start=start, end="2022-12-30").sessions[:n].tz_localize("UTC")


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
    index = hourly(30, times) + [stamp for stamp in hourly(60) if stamp > hourly(31)[-1]]
    lines = series_warnings("A", "1h", frame(index))
    assert any("120 of 323 bars are longer than their label (typically 2 h)" in line for line in lines)


def test_gaps_of_a_market_without_a_known_calendar():
    index = pd.date_range("2020-01-01", periods=2000, freq="h", tz="UTC")
    assert series_warnings("A", "1h", frame(index)) == []
    (line,) = series_warnings("A", "1h", frame(index.delete(slice(500, 530))))
    assert "1 gaps are over three times as long as is usual, the longest 1.3 days after 2020-01-21T19:00Z" in line


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


@pytest.mark.skipif(not SHARED.exists(), reason="the real bars are not here")
def test_real_bars():
    def read(name):
        (fetched,) = CsvProvider(SHARED / f"{name}.csv.gz").fetch([], [], None, None)
        return fetched.bars

    vix = series_warnings("^VIX", "1d", read("vix_1d"))
    assert any("47 bars have open or close outside" in line for line in vix)
    spx = series_warnings("SPX", "1h", read("spx_1h"))
    assert any("volume is 3,600" in line for line in spx)
    hourly_vix = series_warnings("VIX", "1h", read("vix_1h"))
    assert any("longer than their label" in line and "to 2018-12-31T20:10Z" in line for line in hourly_vix)
    early = read("gspc_1d").iloc[:5000]
    assert any("opens equal the previous close" in line for line in data_warnings(to_bars(early), "next_open"))
