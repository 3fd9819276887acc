"""Files in the shapes that vendors hand out, made up; each with its first bar as it should be stored."""

import math

import pandas as pd
import pytest

from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
from alphapulse.errors import DataError

YAHOO = (
    "Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-02,10.5,11,10,10.8,10.4,1000\n2024-01-03,10.8,12,10,11,10,9\n"
)
YFINANCE = """Price,Close,High,Low,Open,Volume
Ticker,ACME,ACME,ACME,ACME,ACME
Date,,,,,
2024-01-02,10.8,11,10,10.5,1000
2024-01-03,11,11.2,10.6,10.8,1100
"""
YFINANCE_TWO = """Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume
Ticker,AAA,BBB,AAA,BBB,AAA,BBB,AAA,BBB,AAA,BBB
Date,,,,,,,,,,
2024-01-02,10.8,20,11,21,10,19,10.5,20,1000,5
2024-01-03,11,,11.2,,10.6,,10.8,,1100,
"""
YFINANCE_BY_TICKER = """Ticker,ACME,ACME,ACME,ACME,ACME
Price,Open,High,Low,Close,Volume
Datetime,,,,,
2024-01-02 14:30:00+00:00,10.5,11,10,10.8,1000
2024-01-02 15:30:00+00:00,10.8,11,10,10.8,1000
"""
BINANCE = """1735689600000000,93000.1,93500,92900,93300,12.5,1735693199999999,500000,900,6.1,250000,0
1735693200000000,93300,93400,93100,93200,10.5,1735696799999999,400000,800,5.1,200000,0
"""
BINANCE_HEADER = """open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,quote,ignore
1704067200000,42283.58,42298.62,42261.02,42298.61,35.92,1704067259999,1519032.7,1327,20.7,875377.6,0
"""
KRAKEN = "1704067200,42200.1,42300,42100,42250.5,3.25,120\n1704070800,42250.5,42400,42200,42300,1.5,80\n"
KRAKEN_API = (
    "1704067200,42200.1,42300,42100,42250.5,42222.2,3.25,120\n1704070800,42250.5,42400,42200,42300,42250,1.5,80\n"
)
METATRADER5 = """<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>
2024.01.02\t00:00:00\t1.10427\t1.10429\t1.10425\t1.10429\t12\t0\t10
2024.01.02\t00:01:00\t1.10429\t1.10430\t1.10426\t1.10428\t9\t0\t10
"""
METATRADER4 = (
    "2024.01.02,00:00,1.10427,1.10429,1.10425,1.10429,12\n2024.01.02,00:01,1.10429,1.10430,1.10426,1.10428,9\n"
)
STOOQ = """<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>
SPY.US,D,20240102,000000,10,11,9,10.5,100,0
SPY.US,D,20240103,000000,10,11,9,10.5,100,0
"""
STOOQ_WEB = "Date,Open,High,Low,Close,Volume\n2024-01-02,10,11,9,10.5,100\n2024-01-03,10,11,9,10.5,100\n"
DUKASCOPY = """Gmt time,Open,High,Low,Close,Volume
02.01.2024 00:00:00.000,1.1040,1.1050,1.1030,1.1045,1200.5
02.01.2024 01:00:00.000,1.1045,1.1060,1.1040,1.1050,1300.5
"""
DUKASCOPY_LOCAL = """Local time,Open,High,Low,Close,Volume
02.01.2024 00:00:00.000 GMT+0200,1.1040,1.1050,1.1030,1.1045,1200.5
02.01.2024 01:00:00.000 GMT+0200,1.1045,1.1060,1.1040,1.1050,1300.5
"""
TRADINGVIEW = "time,open,high,low,close,Volume\n1704205800,10.5,11,10,10.8,1000\n1704209400,10.8,11.2,10.6,11,1100\n"
TRADINGVIEW_ISO = """time,open,high,low,close,Volume,MA
2024-01-02T09:30:00-05:00,10.5,11,10,10.8,1000,
2024-01-02T10:30:00-05:00,10.8,11.2,10.6,11,1100,10.9
"""
INTERACTIVE_BROKERS = """date,open,high,low,close,volume,average,barCount
20240102  09:30:00,10.5,11,10,10.8,1000,10.6,50
20240102  10:30:00,10.8,11.2,10.6,11,1100,10.9,60
"""
INTERACTIVE_BROKERS_ZONE = """date,open,high,low,close,volume,wap,barCount
20240102 09:30:00 US/Eastern,10.5,11,10,10.8,1000,10.6,50
20240102 10:30:00 US/Eastern,10.8,11.2,10.6,11,1100,10.9,60
"""
ALPACA = """symbol,timestamp,open,high,low,close,volume,trade_count,vwap
ACME,2024-01-02 05:00:00+00:00,10.5,11,10,10.8,1000,10,10.6
ACME,2024-01-03 05:00:00+00:00,10.8,11.2,10.6,11,1100,11,10.9
"""
INVESTING = """"Date","Price","Open","High","Low","Vol.","Change %"
"01/03/2024","4,750.10","4,745.20","4,754.33","4,722.67","1.23M","0.13%"
"01/02/2024","4,742.83","4,745.20","4,754.33","4,722.67","2.40K","-0.57%"
"""
INVESTING_GERMAN = """"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"
"03.01.2024","4.750,10","4.745,20","4.754,33","4.722,67","-","0,13%"
"02.01.2024","4.742,83","4.745,20","4.754,33","4.722,67","-","-0,57%"
"""
NASDAQ = """Date,Close/Last,Volume,Open,High,Low
01/03/2024,$10.90,1000,$10.80,$11.00,$10.00
01/02/2024,$10.80,1000,$10.50,$11.00,$10.00
"""
HISTDATA = "20240102 000000;1.1;1.2;1.0;1.15;0\n20240102 000100;1.15;1.2;1.0;1.15;0\n"
EOD = "ACME,20240102,10.5,11,10,10.8,1000\nACME,20240103,10.8,11,10,10.8,1000\n"
CRYPTO_DATA_DOWNLOAD = """https://www.example.com
unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT
1704067200000,2024-01-01 00:00:00,BTC/USDT,42283.58,42298.62,42261.02,42298.61,35.92,1519032.7
1704070800000,2024-01-01 01:00:00,BTC/USDT,42283.58,42298.62,42261.02,42298.61,35.92,1519032.7
"""
INDEX = ",Open,High,Low,Close,Volume\n2024-01-02,10.5,11,10,10.8,1000\n2024-01-03,10.5,11,10,10.8,1000\n"
EUROPEAN = "Datum;Open;High;Low;Close\n02.01.2024;10,5;11;10;10,8\n03.01.2024;10,5;11;10;10,8\n"

POLYGON = (
    "ticker,volume,open,close,high,low,window_start,transactions\n"
    "ACME,1000,10.5,10.8,11,10,1704205800000000000,5\nACME,1100,10.8,10.9,11,10.7,1704205860000000000,7\n"
)
BARCHART = (
    "Time,Open,High,Low,Last,Change,%Chg,Volume\n01/03/2024,10.8,12,10,11,0.2,+1.85%,900\n"
    '01/02/2024,10.5,11,10,10.8,0.1,+0.93%,1000\n"Downloaded from Barchart.com as of 01-04-2024 04:00am CST"\n'
)
GERMAN = (
    "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen\n2024-01-02;10,5;11;10;10,8;1.000;10.800\n"
    "2024-01-03;10,8;12;10;11;900;9.900\n"
)
FIRSTRATE = "2024-01-02 09:30:00,10.5,11,10,10.8,1000\n2024-01-02 09:31:00,10.8,11,10.7,10.9,1100\n"
IMPOSSIBLE_YEARS = (
    "Date,Open,High,Low,Close,Volume\n2024-01-02,10,11,9,10.5,1\n0001-01-01,1,2,0.5,1,1\n99999-01-01,1,2,1,1,1\n"
)


def read(tmp_path, text, name="ACME.csv", symbols=(), timeframe=None, encoding="utf-8", **keys):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    fetched = CsvProvider(path, **keys).fetch(symbols, () if timeframe is None else (timeframe,), None, None)
    return {(one.symbol, one.timeframe): one for one in fetched}


def only(fetched):
    (one,) = fetched.values()
    assert not one.rejected, one.rejected
    return one


@pytest.mark.parametrize(
    ("text", "name", "keys", "series", "first", "prices"),
    [
        (YAHOO, "SPY.csv", {}, ("SPY", "1d"), "2024-01-02", (10.5, 11, 10, 10.8, 1000)),
        (YFINANCE, "x.csv", {}, ("ACME", "1d"), "2024-01-02", (10.5, 11, 10, 10.8, 1000)),
        (YFINANCE_BY_TICKER, "x.csv", {}, ("ACME", "1h"), "2024-01-02T14:30", (10.5, 11, 10, 10.8, 1000)),
        (BINANCE, "BTCUSDT-1h-2025-01.csv", {}, ("BTCUSDT", "1h"), "2025-01-01", (93000.1, 93500, 92900, 93300, 12.5)),
        (BINANCE, "x.csv", {"symbols": ["BTC/USDT"]}, ("BTC/USDT", "1h"), "2025-01-01",
         (93000.1, 93500, 92900, 93300, 12.5)),
        (BINANCE_HEADER, "BTCUSDT-1m-2024-01-01.csv", {}, ("BTCUSDT", "1m"), "2024-01-01",
         (42283.58, 42298.62, 42261.02, 42298.61, 35.92)),
        (KRAKEN, "XBTUSD_60.csv", {}, ("XBTUSD", "1h"), "2024-01-01", (42200.1, 42300, 42100, 42250.5, 3.25)),
        (KRAKEN_API, "XBTUSD_60.csv", {}, ("XBTUSD", "1h"), "2024-01-01", (42200.1, 42300, 42100, 42250.5, 3.25)),
        (METATRADER5, "EURUSD_M1_202401020000_202401022359.csv", {"timezone": "Europe/Athens"}, ("EURUSD", "1m"),
         "2024-01-01T22:00", (1.10427, 1.10429, 1.10425, 1.10429, 12)),
        (METATRADER4, "EURUSD_M1.csv", {"timezone": "UTC"}, ("EURUSD", "1m"), "2024-01-02",
         (1.10427, 1.10429, 1.10425, 1.10429, 12)),
        (STOOQ, "x.txt", {}, ("SPY.US", "1d"), "2024-01-02", (10, 11, 9, 10.5, 100)),
        (STOOQ_WEB, "spy_us_d.csv", {}, ("spy_us", "1d"), "2024-01-02", (10, 11, 9, 10.5, 100)),
        (DUKASCOPY, "EURUSD_Candlestick_1_h_BID_01.01.2024-31.01.2024.csv", {}, ("EURUSD", "1h"), "2024-01-02",
         (1.104, 1.105, 1.103, 1.1045, 1200.5)),
        (DUKASCOPY_LOCAL, "EURUSD.csv", {}, ("EURUSD", "1h"), "2024-01-01T22:00",
         (1.104, 1.105, 1.103, 1.1045, 1200.5)),
        (TRADINGVIEW, "NASDAQ_AAPL, 60.csv", {}, ("AAPL", "1h"), "2024-01-02T14:30", (10.5, 11, 10, 10.8, 1000)),
        (TRADINGVIEW_ISO, "BATS_SPY, 60_5f3a1.csv", {}, ("SPY", "1h"), "2024-01-02T14:30", (10.5, 11, 10, 10.8, 1000)),
        (INTERACTIVE_BROKERS, "ACME.csv", {"timezone": "America/New_York"}, ("ACME", "1h"), "2024-01-02T14:30",
         (10.5, 11, 10, 10.8, 1000)),
        (INTERACTIVE_BROKERS_ZONE, "ACME.csv", {}, ("ACME", "1h"), "2024-01-02T14:30", (10.5, 11, 10, 10.8, 1000)),
        (ALPACA, "x.csv", {"timeframe": "1d"}, ("ACME", "1d"), "2024-01-02T05:00", (10.5, 11, 10, 10.8, 1000)),
        (INVESTING, "S&P 500 Historical Data.csv", {}, ("S&P 500", "1d"), "2024-01-02",
         (4745.2, 4754.33, 4722.67, 4742.83, 2400)),
        (INVESTING_GERMAN, "DAX.csv", {"columns": ["timestamp", "close", "open", "high", "low"]}, ("DAX", "1d"),
         "2024-01-02", (4745.2, 4754.33, 4722.67, 4742.83, math.nan)),
        (NASDAQ, "ACME.csv", {}, ("ACME", "1d"), "2024-01-02", (10.5, 11, 10, 10.8, 1000)),
        (HISTDATA, "DAT_ASCII.csv", {"symbols": ["EURUSD"], "timezone": "EST"}, ("EURUSD", "1m"), "2024-01-02T05:00",
         (1.1, 1.2, 1.0, 1.15, 0)),
        (EOD, "x.csv", {}, ("ACME", "1d"), "2024-01-02", (10.5, 11, 10, 10.8, 1000)),
        (CRYPTO_DATA_DOWNLOAD, "x.csv", {}, ("BTC/USDT", "1h"), "2024-01-01",
         (42283.58, 42298.62, 42261.02, 42298.61, 35.92)),
        (INDEX, "ACME (1).csv", {}, ("ACME", "1d"), "2024-01-02", (10.5, 11, 10, 10.8, 1000)),
        (EUROPEAN, "DAX.csv", {"columns": {"timestamp": "Datum"}}, ("DAX", "1d"), "2024-01-02",
         (10.5, 11, 10, 10.8, math.nan)),
        (POLYGON, "2024-01-02.csv", {}, ("ACME", "1m"), "2024-01-02T14:30", (10.5, 11, 10, 10.8, 1000)),
        (BARCHART, "ACME.csv", {}, ("ACME", "1d"), "2024-01-02", (10.5, 11, 10, 10.8, 1000)),
        (GERMAN, "DAX.csv", {}, ("DAX", "1d"), "2024-01-02", (10.5, 11, 10, 10.8, 1000)),
        (FIRSTRATE, "ACME_full_1min_adjsplit.txt", {"timezone": "America/New_York"}, ("ACME", "1m"),
         "2024-01-02T14:30", (10.5, 11, 10, 10.8, 1000)),
    ],
)  # fmt: skip
def test_a_vendors_file_is_read(tmp_path, text, name, keys, series, first, prices):
    one = only(read(tmp_path, text, name, **keys))
    assert (one.symbol, one.timeframe) == series
    bar = one.bars.iloc[0]
    assert bar["timestamp"] == pd.Timestamp(first, tz="UTC")
    assert bar[["open", "high", "low", "close", "volume"]].tolist() == pytest.approx(prices, nan_ok=True)
    assert len(one.notes) == 1


def test_a_zone_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"^`provider\.timezone` must be a zone .* but got 'Mars/Olympus'\.$"):
        read(tmp_path, FIRSTRATE, timezone="Mars/Olympus")


def test_years_that_no_moment_has_cost_their_rows(tmp_path):
    (one,) = read(tmp_path, IMPOSSIBLE_YEARS).values()
    assert len(one.bars) == 1
    assert [(row.where, "0001" in row.reason, "99999" in row.reason) for row in sorted(one.rejected, key=str)] == [
        ("line 3", True, False),
        ("line 4", False, True),
    ]


def test_a_table_of_several_symbols_is_taken_apart(tmp_path):
    fetched = read(tmp_path, YFINANCE_TWO)
    assert {key: len(one.bars) for key, one in fetched.items()} == {("AAA", "1d"): 2, ("BBB", "1d"): 1}
    # A day on which one of them did not trade is no fault.
    assert not any(one.rejected for one in fetched.values())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(tmp_path, encoding, ends):
    text = YAHOO.replace("Adj Close", "Adj Clôse").replace("\n", ends)
    assert len(only(read(tmp_path, text, encoding=encoding)).bars) == 2


def test_what_was_recognised_is_said(tmp_path):
    (note,) = only(read(tmp_path, YAHOO, "SPY.csv")).notes
    assert note.endswith("SPY.csv: Yahoo, Adj Close is not used, bars of 1d, symbol SPY")
    (note,) = only(read(tmp_path, DUKASCOPY, "E.csv")).notes
    assert "Dukascopy, times are UTC, bars of 1h, symbol E" in note


def test_dates_that_could_be_either_are_asked_for(tmp_path):
    text = "Date,Open,High,Low,Close\n01/02/2024,1,2,0.5,1\n"
    with pytest.raises(DataError, match=r"day or the month first; set provider\.day_first=true or false"):
        read(tmp_path, text)
    assert only(read(tmp_path, text, day_first=True)).bars["timestamp"][0] == pd.Timestamp("2024-02-01", tz="UTC")
    # In order one of the two is near: these are three days of February.
    days = "".join(f"0{day}/02/2024,1,2,0.5,1\n" for day in (1, 2, 5))
    assert only(read(tmp_path, f"Date,Open,High,Low,Close\n{days}")).bars["timestamp"].dt.day.tolist() == [1, 2, 5]


def test_times_without_a_zone_are_refused_with_advice(tmp_path):
    (one,) = read(tmp_path, METATRADER5, "EURUSD_M1.csv").values()
    assert len(one.rejected) == 2
    assert "no time zone" in one.rejected[0].reason
    assert "provider.timezone" in one.rejected[0].reason
    assert one.rejected[0].text.startswith("2024.01.02\t00:00:00")


def test_the_hour_that_a_clock_shows_twice_is_two_hours(tmp_path):
    hours = ["00:00", "00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    text = "Datetime,Open,High,Low,Close\n" + "".join(f"2024-11-03 {hour},1,2,0.5,1\n" for hour in hours)
    one = only(read(tmp_path, text, "A_30m.csv", timezone="America/New_York"))
    assert one.bars["timestamp"].diff().dropna().unique().tolist() == [pd.Timedelta(minutes=30)]
    skipped = text.replace("2024-11-03 02:00", "2024-03-10 02:30")
    (one,) = read(tmp_path, skipped, "A_30m.csv", timezone="America/New_York").values()
    assert "the clock of America/New_York skips" in one.rejected[0].reason


@pytest.mark.parametrize(
    ("stamp", "timeframe", "stored"),
    [
        ("2024-01-02T22:00:00Z", "1d", "2024-01-02T22:00"),
        ("2024-01-03T00:00:00+09:00", "1d", "2024-01-02T15:00"),
        ("2024-07-02T00:00:00+01:00", "1d", "2024-07-01T23:00"),
        ("2024-01-02", "1d", "2024-01-02"),
        ("2024-01-02 00:00:00", "1d", "2024-01-02"),
        ("20240102", "1wk", "2024-01-02"),
    ],
)
def test_a_daily_stamp_with_a_time_keeps_its_time(tmp_path, stamp, timeframe, stored):
    one = only(read(tmp_path, f"timestamp,open,high,low,close\n{stamp},1,2,0.5,1\n", timeframe=timeframe))
    assert one.bars["timestamp"][0] == pd.Timestamp(stored, tz="UTC")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,opens,high,low,close\n2024-01-02,1,2,1,1\n", r"lacks the column open; did you mean 'opens'\?"),
        ("a,b,c\n1,2,3\n", "cannot be read as CSV of bars"),
        ("2024-01-02,5,1,9,3,1\n", r"provider\.columns=\[timestamp,open"),
        ("timestamp,open,high,low,close\n2024-01-02T09:30Z,1,2,1,1\n", r"set data\.timeframe"),
    ],
)
def test_a_file_that_is_not_recognised_says_what_to_do(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_columns_are_given_by_name_or_in_order(tmp_path):
    text = "when,a,b,c,d,e\n2024-01-02,1,2,0.5,1.5,7\n2024-01-03,1,2,0.5,1.5,7\n"
    names = {"timestamp": "when", "open": "a", "high": "b", "low": "c", "close": "d", "volume": "e"}
    for columns in (names, ["timestamp", "open", "high", "low", "close", "volume"]):
        assert only(read(tmp_path, text, columns=columns)).bars["volume"].tolist() == [7, 7]
    left_out = ["timestamp", "open", "high", "low", "close", "_"]
    assert only(read(tmp_path, text, columns=left_out)).bars["volume"].isna().all()
    with pytest.raises(DataError, match=r"`provider\.columns` must name columns .* but got 'dd'"):
        read(tmp_path, text, columns=names | {"close": "dd"})
