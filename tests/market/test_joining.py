import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.market.joining import bar_end, bar_spacing, join_by_end
from alphapulse.market.timeframes import DAY, HOUR, timeframe_length

WEEK = 7 * DAY


def moments(*texts):
    return pd.DatetimeIndex(texts, tz="UTC").as_unit("ns").asi8


def join(bars, timeframe, other, other_timeframe, values, max_staleness=WEEK):
    end = bars + timeframe_length(timeframe)
    other_end = bar_end(other, other_timeframe)
    return join_by_end(end, other_end, np.asarray(values, dtype=float), max_staleness=max_staleness)


def test_join_uses_a_bar_that_ends_with_the_bar():
    spx = moments("2020-01-02T14:30", "2020-01-02T15:30")
    vix = moments("2020-01-02T14:30", "2020-01-02T15:30")
    assert join(spx, "1h", vix, "1h", [12.0, 13.0]).tolist() == [12.0, 13.0]


def test_join_half_past_against_ten_past():
    # At 15:30 the bar of 14:10 (ends 15:10) is the last known, not that of 15:10.
    spx = moments("2020-01-02T14:30", "2020-01-02T15:30")
    vix = moments("2020-01-02T13:10", "2020-01-02T14:10", "2020-01-02T15:10")
    assert join(spx, "1h", vix, "1h", [11.0, 12.0, 13.0]).tolist() == [12.0, 13.0]


def test_join_daily_reaches_an_hourly_decision_only_on_the_next_date():
    spx = moments("2020-01-02T14:30", "2020-01-02T20:30", "2020-01-03T14:30", "2020-01-06T14:30")
    vix = moments("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-06")
    assert join(spx, "1h", vix, "1d", [10.0, 11.0, 12.0, 13.0]).tolist() == [10.0, 10.0, 11.0, 12.0]


def test_join_daily_to_daily_is_the_same_date():
    dates = moments("2020-01-02", "2020-01-03", "2020-01-06")
    assert join(dates, "1d", dates, "1d", [1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]


def test_join_takes_dates_that_only_the_other_has_and_fills_those_it_lacks():
    spx = moments("2020-01-02", "2020-01-06", "2020-01-07")
    vix = moments("2020-01-02", "2020-01-03", "2020-01-07")
    assert join(spx, "1d", vix, "1d", [1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]


def test_join_hourly_to_daily_ends_with_the_date():
    spx = moments("2020-01-02")
    vix = moments("2020-01-02T20:10", "2020-01-02T22:10", "2020-01-02T23:10", "2020-01-03T08:10")
    assert join(spx, "1d", vix, "1h", [1.0, 2.0, 3.0, 4.0]).tolist() == [2.0]


def test_join_across_daylight_saving_and_a_half_day():
    # New York opens at 14:30Z on 2020-03-06 and at 13:30Z from 2020-03-09; VIX bars start at ten past each hour.
    spx = moments("2020-03-06T20:30", "2020-03-09T13:30", "2020-11-27T17:30", "2020-11-30T14:30")
    vix = moments("2020-03-06T20:10", "2020-03-09T13:10", "2020-11-27T17:10", "2020-11-30T13:10", "2020-11-30T14:10")
    expected = [1.0, 2.0, 3.0, 5.0]
    assert join(spx, "1h", vix, "1h", [1.0, 2.0, 3.0, 4.0, 5.0]).tolist() == expected


def test_join_leaves_stale_unknown_and_missing_values_nan():
    spx = moments("2020-01-01", "2020-01-02", "2020-01-09", "2020-01-10", "2020-01-13")
    vix = moments("2020-01-02", "2020-01-13")
    joined = join(spx, "1d", vix, "1d", [1.0, np.nan])
    assert np.array_equal(joined, [np.nan, 1.0, 1.0, np.nan, np.nan], equal_nan=True)
    assert np.isnan(join(spx, "1d", vix[:0], "1d", [])).all()


def test_bar_spacing_finds_two_hourly_bars_labelled_hourly():
    vix = moments(
        "2018-12-28T14:10", "2018-12-28T16:10", "2018-12-28T18:10", "2018-12-31T14:10",
        "2019-01-02T14:10", "2019-01-02T15:10", "2019-01-02T17:10",
    )  # fmt: skip
    # A date with one bar is as the date before it; a hole in a date does not make its bars longer.
    assert (bar_spacing(vix, HOUR) / HOUR).tolist() == [2, 2, 2, 2, 1, 1, 1]


def test_two_hourly_bar_labelled_hourly_is_not_known_early():
    spx = moments("2018-12-28T14:30", "2018-12-28T15:30")
    vix = moments("2018-12-28T12:10", "2018-12-28T14:10", "2018-12-28T16:10")
    # By its label the bar of 14:10 would be known at 15:10; it ends at 16:10.
    assert join(spx, "1h", vix, "1h", [1.0, 2.0, 3.0]).tolist() == [1.0, 2.0]


def test_bar_end_of_a_long_bar_is_capped_by_the_next_start():
    vix = moments("2018-12-28T02:00", "2018-12-28T22:00", "2018-12-29T01:00", "2018-12-29T02:00")
    assert (np.diff(bar_end(vix, "1h")) >= 0).all()
    assert bar_end(vix, "1h")[1] == vix[2]


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=40, unique=True),
    st.lists(st.integers(0, 500), min_size=0, max_size=40, unique=True),
    st.sampled_from([HOUR, 3 * HOUR, DAY]),
    st.integers(1, 200),
)
def test_join_matches_its_definition(starts, other_starts, length, staleness):
    bars, other = (np.array(sorted(one), dtype=np.int64) * HOUR // 2 for one in (starts, other_starts))
    end, other_end = bars + length, bar_end(other, "1h")
    value = np.arange(len(other), dtype=float)
    joined = join_by_end(end, other_end, value, max_staleness=staleness * HOUR)
    for at, got in zip(end, joined, strict=True):
        known = [place for place in range(len(other)) if other_end[place] <= at]
        fresh = known and at - other_end[known[-1]] <= staleness * HOUR
        assert np.array_equal(got, value[known[-1]] if fresh else np.nan, equal_nan=True)
    assert (other_end >= other + HOUR).all()
