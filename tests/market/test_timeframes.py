import pytest

from alphapulse.market.timeframes import DAY, HOUR, MINUTE, duration_length, read_length, timeframe_length, timeframe_of

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
        (WEEK, "7d"),
        (20 * HOUR, "1d"),
        (20 * HOUR - 1, "1199m"),
        (HOUR, "60m"),
        (1, "1m"),
        (90 * MINUTE, "90m"),
    ],
)
def test_timeframe_of(spacing, label):
    assert timeframe_of(spacing) == label
