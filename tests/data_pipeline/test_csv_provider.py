import gzip
import math

import pandas as pd
import pytest

from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
from alphapulse.errors import DataError

HEADER = "timestamp,symbol,timeframe,open,high,low,close,volume\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="bars.csv"):
        path = tmp_path / name
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def read(path, symbols=(), timeframes=(), start=None, stop=None):
    return list(CsvProvider(path).fetch(symbols, timeframes, start, stop))


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz"])
def test_fetch_reads_each_series_sorted(write, name):
    text = HEADER + (
        "2020-01-03,A,1d,2,3,1,2.5,20\n"
        "2020-01-02,A,1d,1,2,0.5,1.5,10\n"
        "2020-01-02T14:30:00Z,A,1h,1,2,0.5,1.5,\n"
        "2020-01-02T10:30:00-05:00,A,1h,1,2,0.5,1.5,\n"
        "2020-01-02,B,1d,1,2,0.5,1.5,10\n"
    )
    fetched = {(one.symbol, one.timeframe): one for one in read(write(text, name))}
    assert set(fetched) == {("A", "1d"), ("A", "1h"), ("B", "1d")}
    assert not any(one.rejected for one in fetched.values())
    daily = fetched["A", "1d"].bars
    assert daily["timestamp"].tolist() == [pd.Timestamp("2020-01-02", tz="UTC"), pd.Timestamp("2020-01-03", tz="UTC")]
    assert daily["close"].tolist() == [1.5, 2.5]
    hourly = fetched["A", "1h"].bars
    assert hourly["timestamp"].dt.strftime("%H:%M").tolist() == ["14:30", "15:30"]
    assert math.isnan(hourly["volume"].iloc[0])


def test_fetch_finds_columns_by_name(write):
    path = write("volume,close,low,high,open,timeframe,symbol,note,Timestamp\n5,1.5,1,2,1.2,1d,A,x,2020-01-02\n")
    (fetched,) = read(path)
    assert fetched.bars.iloc[0][["open", "high", "low", "close", "volume"]].tolist() == [1.2, 2.0, 1.0, 1.5, 5.0]


def test_a_daily_bar_is_its_date_whatever_the_offset(write):
    (fetched,) = read(write(HEADER + "2020-01-02T00:00:00+09:00,A,1d,1,2,0.5,1.5,10\n"))
    assert fetched.bars["timestamp"].tolist() == [pd.Timestamp("2020-01-02", tz="UTC")]


def test_fetch_rejects_bad_rows_with_line_and_reason(write):
    text = HEADER + (
        "2020-01-02,A,1d,1,2,0.5,1.5,10\n"
        "2020-01-03,A,1d,-1,2,0.5,1.5,10\n"
        "2020-01-06,A,1d,1,0.2,0.5,1.5,10\n"
        "2020-01-07,A,1d,1,2,0.5,many,10\n"
        "2020-01-08 09:30,A,1d,1,2,0.5,1.5,10\n"
        "soon,A,1d,1,2,0.5,1.5,10\n"
        "2020-01-09,A,1d,1,2,0.5,1.5\n"
        "2020-01-10,A,1q,1,2,0.5,1.5,10\n"
        "2020-01-10,,1d,1,2,0.5,1.5,10\n"
        "2020-01-13,A,1d,1,nan,0.5,1.5,10\n"
        "2020-01-14,A,1d,1,2,0.5,1.5,-3\n"
        "2020-01-15,A,1d,1,2,0.5,1.4,10\n"
        "2020-01-15,A,1d,1,2,0.5,1.6,10\n"
    )
    (fetched,) = read(write(text))
    reasons = {row.line: row.reason for row in fetched.rejected}
    assert set(reasons) == set(range(3, 14))
    words = {
        3: "open is not positive", 4: "high is below low", 5: "close 'many' is not a number", 6: "no time zone",
        7: "not an ISO 8601", 8: "8 fields are expected, but it has 7", 9: "`timeframe` must be", 10: "symbol is empty",
        11: "high is not a number", 12: "volume is negative", 13: "comes again later",
    }  # fmt: skip
    for line, word in words.items():
        assert word in reasons[line]
    assert fetched.bars["close"].tolist() == [1.5, 1.6]


def test_fetch_keeps_an_open_outside_the_range(write):
    (fetched,) = read(write(HEADER + "2004-11-08,^VIX,1d,2.58,14.1,13.3,13.8,\n"))
    assert fetched.bars["open"].tolist() == [2.58]


def test_fetch_selects(write):
    text = HEADER + "".join(f"2020-01-{day:02d},{symbol},1d,1,2,0.5,1.5,1\n" for day in range(1, 11) for symbol in "AB")
    start, stop = (pd.Timestamp(day, tz="UTC") for day in ("2020-01-03", "2020-01-06"))
    (fetched,) = read(write(text), ["B"], ["1d"], start, stop)
    assert fetched.symbol == "B"
    assert fetched.bars["timestamp"].dt.day.tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEADER, "has no rows"),
        (
            "timestamp,symbol,timeframe,opens,high,low,close,volume\n",
            r"lacks the column open; did you mean 'opens'\? its header",
        ),
        ("timestamp,symbol,open,high,low,close,volume\n", "lacks the column timeframe; its header must name"),
        (b"\xff\xfe\x00\x01", "cannot be read as CSV"),
    ],
)
def test_fetch_refuses_a_file_in_one_line(write, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(write(text))
    assert "\n" not in str(caught.value)


def test_fetch_refuses_what_cannot_be_opened(tmp_path, write):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=r"`provider\.path` must be a file"):
            read(path)
    (tmp_path / "plain.csv.gz").write_text(HEADER)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read(tmp_path / "plain.csv.gz")
    with pytest.raises(DataError, match="none of the wanted symbols"):
        read(write(HEADER + "2020-01-02,A,1d,1,2,0.5,1.5,10\n"), ["B"])
    with pytest.raises(DataError, match=r"`provider\.path`"):
        CsvProvider(None)
