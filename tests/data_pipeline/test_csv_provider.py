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
        7: "is no date or time", 8: "8 fields are expected, but it has 7", 9: "`timeframe` must be",
        10: "symbol is empty",
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
        ("timestamp,symbol,timeframe,opens,high,low,close,volume\n", r"lacks the column open; did you mean 'opens'\?"),
        (b"\xff\xfe\x00\x01", "cannot be read as CSV"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "cannot be read as CSV"),
    ],
)
def test_fetch_refuses_a_file_in_one_line(write, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(write(text))
    assert "\n" not in str(caught.value)


def test_fetch_refuses_what_cannot_be_opened(tmp_path, write):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=r"`provider\.path` .* must be a file"):
            read(path)
    (tmp_path / "plain.csv.gz").write_text(HEADER)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read(tmp_path / "plain.csv.gz")
    with pytest.raises(DataError, match="none of the wanted symbols"):
        read(write(HEADER + "2020-01-02,A,1d,1,2,0.5,1.5,10\n"), ["B"])
    with pytest.raises(DataError, match=r"`provider\.path`"):
        CsvProvider(None)


def test_a_stray_quote_costs_one_row(write):
    rows = [f"2020-01-{day:02d},A,1d,1,2,0.5,1.5,10\n" for day in range(1, 31)]
    rows[3] = rows[3].replace(",A", ',"A')
    rows[9] = rows[9].replace(",10", ',1"0')
    (fetched,) = read(write(HEADER + "".join(rows)))
    assert [(row.line, row.reason) for row in fetched.rejected] == [
        (5, "it has a stray quote"), (11, "it has a stray quote")
    ]  # fmt: skip
    assert len(fetched.bars) == 28
    header = ",".join(f'"{name}"' for name in HEADER.strip().split(",")) + "\n"
    quoted = [row.replace(",A,", ',"A",') for row in rows]
    quoted[20] = quoted[20].replace('"A"', '"A,B"')
    fetched, other = read(write(header + "".join(quoted)))
    assert [row.line for row in fetched.rejected] == [5, 11]
    assert (len(fetched.bars), other.symbol) == (27, "A,B")


def test_texts_that_python_takes_for_numbers_are_none(write):
    texts = ("1_0", "1\0", "0x1", "\u0663", "1e400", "1,5", "")
    text = HEADER + "".join(f"2020-01-{day:02d},A,1d,{text},2,0.5,1.5,1\n" for day, text in enumerate(texts[:5], 1))
    (fetched,) = read(write(text + "2020-01-09,A,1d,,2,0.5,1.5,1\n2020-01-10,A,1d, 1 ,2,0.5,1.5, 1\n"))
    assert fetched.bars["open"].tolist() == [1.0]
    assert len(fetched.rejected) == 6
    assert fetched.rejected[0].reason == "open '1_0' is not a number"
    assert fetched.rejected[5].reason == "open is missing"


def test_years_beyond_nanoseconds_are_refused(write):
    (fetched,) = read(
        write(HEADER + "".join(f"{year}-01-02,A,1d,1,2,0.5,1.5,1\n" for year in ("1601", "2024", "9999")))
    )
    assert [row.line for row in fetched.rejected] == [2, 4]
    assert "lies outside the years 1678 to 2261" in fetched.rejected[0].reason


def test_long_series_come_in_pieces(write, monkeypatch):
    monkeypatch.setattr("alphapulse.data_pipeline.providers.csv_provider.MOST_ROWS", 30_000)
    monkeypatch.setattr("alphapulse.data_pipeline.files.lines.BLOCK_BYTES", 1 << 20)
    stamps = pd.date_range("2020-01-01", periods=100_000, freq="min").strftime("%Y-%m-%dT%H:%M:%SZ")
    path = write(HEADER + "".join(f"{stamp},A,1m,1,2,0.5,1.5,1\n" for stamp in stamps))
    pieces = read(path)
    assert len(pieces) == 2
    assert sum(len(one.bars) for one in pieces) == 100_000
    assert not any(one.rejected for one in pieces)
    assert pieces[-1].bars["timestamp"].iloc[-1] == pd.Timestamp(stamps[-1])
