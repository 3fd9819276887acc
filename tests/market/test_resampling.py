import numpy as np
import pandas as pd
import pytest

from alphapulse.market.resampling import best_source, can_resample, resample
from alphapulse.market.timeframes import DAY, HOUR

NAMES = ("open", "high", "low", "close", "volume")
RULES = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def made(index, seed=0):
    rng = np.random.default_rng(seed)
    values = {name: rng.random(len(index)) + 1 for name in NAMES[:4]}
    return pd.DataFrame(values | {"volume": rng.integers(0, 1000, len(index)).astype(float)}, index=index)


def put_together(frame, source, target):
    stamps = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
    got = resample(stamps, {name: frame[name].to_numpy() for name in NAMES}, source, target)
    return pd.DataFrame(got.values, index=pd.to_datetime(got.timestamp, utc=True).as_unit("us")), got.end


def sessions(n_days=15, freq="1min", open_="09:30", close="16:00", zone="America/New_York", start="2024-03-01"):
    """Minutes of an exchange over a change of its clock."""
    days = pd.bdate_range(start, periods=n_days)
    times = [
        pd.date_range(f"{day.date()} {open_}", f"{day.date()} {close}", freq=freq, inclusive="left") for day in days
    ]
    return pd.DatetimeIndex(np.concatenate(times)).tz_localize(zone).tz_convert("UTC")


def expected(frame, rule, **options):
    return frame.resample(rule, **options).agg(RULES).dropna(subset=["close"])


@pytest.mark.parametrize(("target", "rule"), [("5m", "5min"), ("1h", "1h"), ("2h", "2h"), ("90m", "90min")])
def test_intraday_buckets_begin_with_the_session(target, rule):
    frame = made(sessions())
    got, end = put_together(frame, "1m", target)
    by_day = [expected(part, rule, origin="start") for _, part in frame.groupby(frame.index.normalize())]
    pd.testing.assert_frame_equal(got, pd.concat(by_day), check_freq=False)
    local = got.index.tz_convert("America/New_York")
    assert set(local[~local.normalize().duplicated()].strftime("%H:%M")) == {"09:30"}
    # The last bucket of a session is known when the market closes.
    ends = pd.to_datetime(end, utc=True).tz_convert("America/New_York")[~local.normalize().duplicated(keep="last")]
    assert set(ends.strftime("%H:%M")) == {"16:00"}


def test_a_session_whose_first_bars_are_missing_keeps_its_buckets():
    frame = made(sessions(n_days=30))
    day = frame.index.normalize() == "2024-03-06"
    holey = frame[~(day & (np.cumsum(day) <= 7))]
    got, _ = put_together(holey, "1m", "2h")
    whole, _ = put_together(frame, "1m", "2h")
    assert got.index.equals(whole.index)
    assert got["close"].equals(whole["close"])


@pytest.mark.parametrize(("target", "rule"), [("15m", "15min"), ("4h", "4h"), ("1d", "1D"), ("1wk", "W-MON")])
def test_markets_around_the_clock_are_cut_at_midnight(target, rule):
    frame = made(pd.date_range("2024-01-01 05:07", periods=40_000, freq="min", tz="UTC"))
    options = {"label": "left", "closed": "left"} if rule == "W-MON" else {}
    pd.testing.assert_frame_equal(
        put_together(frame, "1m", target)[0], expected(frame, rule, **options), check_freq=False
    )


def test_days_become_weeks_and_months_by_the_calendar():
    frame = made(pd.bdate_range("2023-11-15", periods=120, tz="UTC"))
    weeks = expected(frame, "W-MON", label="left", closed="left")
    pd.testing.assert_frame_equal(put_together(frame, "1d", "1wk")[0], weeks, check_freq=False)
    pd.testing.assert_frame_equal(put_together(frame, "1d", "1mo")[0], expected(frame, "MS"), check_freq=False)
    quarters = expected(frame, "QS")
    pd.testing.assert_frame_equal(put_together(frame, "1d", "3mo")[0], quarters, check_freq=False)
    # Known with the last day that traded.
    _, end = put_together(frame, "1d", "1mo")
    assert pd.Timestamp(end[0]) == pd.Timestamp("2023-12-01")
    assert pd.Timestamp(end[1]) == pd.Timestamp("2023-12-30")


def test_a_brokers_days_stay_with_the_day_that_they_are_of():
    days = pd.bdate_range("2024-01-01", periods=40, tz="UTC")
    plain, shifted = made(days), made(days - pd.Timedelta(hours=2))
    for target in ("1wk", "1mo"):
        got, end = put_together(shifted, "1d", target)
        want, want_end = put_together(plain, "1d", target)
        assert got["close"].tolist() == want["close"].tolist()
        assert (got.index == want.index - pd.Timedelta(hours=2)).all()
        assert (want_end - end == 2 * HOUR).all()


def test_a_bucket_does_not_depend_on_the_range():
    index = pd.date_range("2024-01-01", periods=30 * 24, freq="h", tz="UTC")
    frame = made(index)
    for target in ("4h", "2d", "2wk", "1mo"):
        whole, _ = put_together(frame, "1h", target)
        late, _ = put_together(frame.iloc[100:], "1h", target)
        assert late.iloc[1:].equals(whole[whole.index > late.index[0]])


def test_volume_is_unknown_only_where_all_of_it_is():
    frame = made(pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC"))
    frame["volume"] = [np.nan, np.nan, 1.0, np.nan]
    assert np.array_equal(put_together(frame, "1h", "2h")[0]["volume"], [np.nan, 1.0], equal_nan=True)
    assert len(put_together(frame.iloc[:0], "1h", "2h")[0]) == 0


@pytest.mark.parametrize(
    ("source", "target", "able"),
    [
        ("1m", "1h", True), ("7m", "1h", False), ("1h", "1d", True), ("7h", "1d", False), ("1d", "1wk", True),
        ("1d", "1mo", True), ("1wk", "1mo", False), ("1wk", "2wk", True), ("2d", "1wk", False), ("1h", "1h", False),
        ("1d", "1h", False), ("1mo", "3mo", True), ("1h", "1mo", True), ("2d", "4d", True),
    ],
)  # fmt: skip
def test_can_resample(source, target, able):
    assert can_resample(source, target) is able


def test_best_source_is_the_longest():
    assert best_source(["1m", "1h", "1d", "7m"], "1wk") == "1d"
    assert best_source(["1m", "5m", "1d"], "1h") == "5m"
    assert best_source(["1d"], "1h") is None
    assert DAY == 24 * HOUR
