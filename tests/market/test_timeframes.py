import numpy as np
import pytest

from alphapulse.market.timeframes import (
    DAY,
    HOUR,
    MINUTE,
    duration_length,
    labelled_end,
    parse_timeframe,
    read_length,
    timeframe_length,
    timeframe_of,
)

WEEK = 7 * DAY


@pytest.mark.parametrize(("label", "length"), [("1d", DAY), ("1h", HOUR), ("15m", HOUR // 4), ("1w", WEEK)])
def test_timeframe_length(label, length):
    assert timeframe_length(label) == length


@pytest.mark.parametrize("label", ["", "h", "0d", "1x", "1.5h", "-1d", "1 d", "d1"])
def test_timeframe_length_refuses(label):
    with pytest.raises(ValueError, match="`timeframe` must be"):
        timeframe_length(label)


def test_duration_length_refuses():
    with pytest.raises(ValueError, match="`max_staleness` must look like"):
        duration_length("a week")


@pytest.mark.parametrize(
    ("text", "length"),
    [("9999h", 9999 * HOUR), ("10000h", None), ("1w", WEEK), ("", None), ("1h ", None), ("1\n", None)],
)
def test_read_length(text, length):
    assert read_length(text) == length


@pytest.mark.parametrize(
    ("spacing", "label"),
    [
        (DAY, "1d"),
        (23 * HOUR, "1d"),
        (WEEK, "1wk"),
        (2 * WEEK, "2wk"),
        (3 * DAY, "3d"),
        (28 * DAY, "1mo"),
        (31 * DAY, "1mo"),
        (92 * DAY, "3mo"),
        (366 * DAY, "12mo"),
        (20 * HOUR, "1d"),
        (20 * HOUR - 1, "1199m"),
        (HOUR, "1h"),
        (1, "1m"),
        (90 * MINUTE, "90m"),
    ],
)
def test_timeframe_of(spacing, label):
    assert timeframe_of(spacing) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("60m", "1h"), ("1h", "1h"), ("1H", "1h"), ("90m", "90m"), ("1440m", "1d"), ("24h", "1d"), ("1D", "1d"),
        ("1w", "1wk"), ("1wk", "1wk"), ("1W", "1wk"), ("1mo", "1mo"), ("1M", "1mo"), ("1m", "1m"), ("1Min", "1m"),
        ("3month", "3mo"), ("36h", "36h"), ("48h", "2d"), ("7d", "7d"), ("1Hour", "1h"),
    ],
)  # fmt: skip
def test_a_length_has_one_label(text, label):
    assert str(parse_timeframe(text)) == label
    assert parse_timeframe(label) == parse_timeframe(text)


def moments(*texts):
    return np.array(texts, dtype="datetime64[ns]").astype(np.int64)


def test_labelled_end_of_months_is_the_calendars():
    starts = moments("2023-01-31T22", "2024-01-01", "2024-02-01", "2024-02-29T22", "2024-12-01", "1969-12-01")
    ends = moments("2023-02-28T22", "2024-02-01", "2024-03-01", "2024-03-31T22", "2025-01-01", "1970-01-01")
    assert labelled_end(starts, "1mo").tolist() == ends.tolist()
    assert labelled_end(moments("2024-01-01"), "3mo").tolist() == moments("2024-04-01").tolist()
    assert labelled_end(moments("2024-01-01T22"), "1wk").tolist() == moments("2024-01-08T22").tolist()
