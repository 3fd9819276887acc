import gzip
import subprocess
import sys
import zipfile

import pytest

from alphapulse.data_pipeline.files.lines import find_encoding, read_blocks
from alphapulse.data_pipeline.files.names import read_file_name, read_label
from alphapulse.data_pipeline.files.sources import find_files
from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
from alphapulse.errors import DataError

TEXT = "Date,Open,High,Low,Close,Volume\n2024-01-02,1,2,0.5,1.5,10\n2024-01-03,1,2,0.5,1.5,10\n"


def fetched(path, symbols=()):
    return {one.symbol: len(one.bars) for one in CsvProvider(path).fetch(symbols, (), None, None)}


def test_a_folder_a_pattern_and_archives(tmp_path):
    (tmp_path / "AAA.csv").write_text(TEXT)
    (tmp_path / "BBB.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "notes.md").write_text("no bars")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("folder/CCC.csv", TEXT)
        archive.writestr("folder/DDD.txt", TEXT)
        archive.writestr("__MACOSX/CCC.csv", "junk")
    assert fetched(tmp_path) == {"AAA": 2, "BBB": 2, "CCC": 2, "DDD": 2}
    assert fetched(tmp_path / "*.csv") == {"AAA": 2}
    assert fetched(tmp_path / "more.zip", ["DDD"]) == {"DDD": 2}


def test_a_path_without_files_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "*.csv"):
        with pytest.raises(DataError, match=r"`provider\.path` \(data\.path with data=csv\) must be a file"):
            find_files(str(path))
    (tmp_path / "nine.csv").write_text(TEXT)
    with pytest.raises(DataError, match=r"there is no .*/nin\.csv'; did you mean .*/nine\.csv'"):
        find_files(str(tmp_path / "nin.csv"))
    (tmp_path / "broken.zip").write_text("no archive")
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        find_files(str(tmp_path / "broken.zip"))


def test_a_file_that_ends_in_the_middle_says_so(tmp_path):
    packed = gzip.compress((TEXT + "2024-01-04,1,2,0.5,1.5,10\n" * 9).encode())
    (tmp_path / "A.csv.gz").write_bytes(packed[:-20])
    with pytest.raises(DataError, match="cannot be read as CSV"):
        fetched(tmp_path / "A.csv.gz")


def test_blocks_are_whole_lines(tmp_path):
    lines = [f"{number},x".encode() for number in range(900_000)]
    path = tmp_path / "A.csv"
    path.write_bytes(b"\r\n".join(lines))
    with open(path, "rb") as file:
        blocks = list(read_blocks(file, "A"))
    assert len(blocks) > 1
    assert b"".join(block.text for block in blocks).split(b"\n")[:-1] == lines
    assert [int(block.text.partition(b",")[0]) + 1 for block in blocks] == [block.line for block in blocks]


@pytest.mark.parametrize(
    ("begin", "name"), [(b"\xef\xbb\xbfa", "utf-8"), (b"a\0b\0c\0", "utf-16-le"), (b"\xe9,1", "cp1252")]
)
def test_find_encoding(begin, name):
    assert find_encoding(begin)[0] == name


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
try:
    for one in CsvProvider(sys.argv[1]).fetch((), (), None, None):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB")
except Exception as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB", type(error).__name__, error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"", b"x,y\n", b"2024-01-03,1,2,0.5,1.5,10\n"])
def test_a_bomb_stays_small(tmp_path, line):
    """A gigabyte that was packed into a megabyte: of zeros, of rows that are none, of the same bar again and again."""
    path = tmp_path / "A.csv.gz"
    piece = line * (1_000_000 // max(len(line), 1)) if line else bytes(1_000_000)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(TEXT.encode())
        for _ in range(1000 if not line else 40):
            file.write(piece)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path), str(8 << 30)], capture_output=True, text=True)
    assert "MB" in done.stdout, done.stderr
    assert int(done.stdout.split()[0]) < 900
    if not line:
        assert "has a line of over 1 MB" in done.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SPY", ("SPY", None)),
        ("AAPL (1)", ("AAPL", None)),
        ("BTCUSDT-15m-2024-01", ("BTCUSDT", "15m")),
        ("EURUSD_H4_202401020000_202401312359", ("EURUSD", "4h")),
        ("EURUSD_Daily", ("EURUSD", "1d")),
        ("XBTUSD_1440", ("XBTUSD", "1d")),
        ("NASDAQ_AAPL, 1D", ("AAPL", "1d")),
        ("BATS_SPY, 1W_9f", ("SPY", "1wk")),
        ("Apple Historical Data", ("Apple", None)),
        ("SPY_5min", ("SPY", "5m")),
        ("BRK-B", ("BRK-B", None)),
        ("7203.T", ("7203.T", None)),
    ],
)
def test_read_file_name(name, expected):
    assert read_file_name(name) == expected


@pytest.mark.parametrize(
    ("text", "label"),
    [("D", "1d"), ("60", "1h"), ("H4", "4h"), ("daily", "1d"), ("M", "1mo"), ("1M", "1mo"), ("M1", "1m"),
     ("MN1", "1mo"),
     ("5 min", "5m"), ("0", None), ("0d", None), ("", None), ("week", None)],
)  # fmt: skip
def test_read_label(text, label):
    assert read_label(text) == label
