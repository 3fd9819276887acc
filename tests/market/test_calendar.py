import itertools

import numpy as np
import pandas as pd
import pytest

from alphapulse.market.calendar import calendar_blocks, count_periods_per_year, starts_period


def stamps(index):
    return pd.DatetimeIndex(index).as_unit("ns").asi8


def weekdays(start, n):
    return pd.bdate_range(start, periods=n, tz="UTC")


@pytest.mark.parametrize(("n", "unit"), [(5031, "month"), (1250, "week"), (300, "day"), (50, "day"), (20000, "month")])
def test_calendar_blocks_choose_the_unit(n, unit):
    ends, got = calendar_blocks(stamps(weekdays("1999-01-04", n)))
    assert got == unit
    assert ends[-1] == n
    assert (np.diff(ends) > 0).all()


def test_calendar_blocks_cut_at_months_of_the_scored_bars():
    index = weekdays("2000-01-03", 4000)
    first = 30
    ends, unit = calendar_blocks(stamps(index), first=first)
    assert unit == "month"
    months = index.tz_localize(None).to_period("M")
    places = [first, *ends]
    for start, end in itertools.pairwise(places):
        assert months[start:end].nunique() == 1
    assert months[ends[:-1] - 1].nunique() == len(ends) - 1


def test_starts_period_of_iso_weeks_and_months():
    index = pd.date_range("2020-12-28", "2021-02-02", tz="UTC")
    week, month = starts_period(stamps(index), "week"), starts_period(stamps(index), "month")
    assert [day.isoformat()[:10] for day in index[month]] == ["2020-12-28", "2021-01-01", "2021-02-01"]
    assert set(index[week].day_of_week) == {0}
    assert week.sum() == 6


def test_starts_period_begins_one_at_the_first_scored_bar():
    index = pd.date_range("2021-01-04", periods=5, tz="UTC")
    assert starts_period(stamps(index), "week", first=2).tolist() == [True, False, True, False, False]


def hours(start, n_days, times, freq="B"):
    days = pd.bdate_range(start, periods=n_days) if freq == "B" else pd.date_range(start, periods=n_days)
    return stamps([day + pd.Timedelta(hours=hour) for day in days for hour in times])


@pytest.mark.parametrize(
    ("timestamp", "timeframe", "expected"),
    [
        (stamps(weekdays("2000-01-03", 100)), "1d", 252.0),
        (hours("2020-01-01", 200, np.arange(14.5, 21.0)), "1h", 1764.0),
        (hours("2020-01-01", 60, range(24), "D"), "1h", 8766.0),
        (hours("2020-01-01", 60, np.arange(0, 24, 0.25), "D"), "15m", 35064.0),
        (stamps(pd.date_range("2000-01-03", periods=20, freq="7D")), "1w", 365.25 / 7),
        (stamps(pd.date_range("2000-01-03", periods=20, freq="14D")), "2wk", 365.25 / 14),
        (stamps(pd.date_range("2000-01-01", periods=20, freq="MS")), "1mo", 12.0),
        (stamps(pd.date_range("2000-01-01", periods=9, freq="3MS")), "3mo", 4.0),
        (stamps(pd.date_range("2000-01-01", periods=100)), "1d", 365.25),
        (stamps(pd.date_range("2000-01-01", periods=60, freq="2D")), "2d", 365.25 / 2),
        # A broker's days begin at 22:00Z from Sunday to Thursday, those of currencies from Sunday to Friday.
        (stamps(weekdays("2000-01-03", 100) - pd.Timedelta(hours=2)), "1d", 252.0),
        (stamps(day for day in pd.date_range("2000-01-02", periods=100) if day.day_of_week != 5), "1d", 6 * 365.25 / 7),
        # Weeks without a bar say nothing, and neither do holidays.
        (np.r_[stamps(weekdays("2000-01-03", 30)), stamps(weekdays("2010-01-04", 30))], "1d", 252.0),
        (np.delete(stamps(weekdays("2000-01-03", 100)), [0, 7, 50]), "1d", 252.0),
        # Four bars are too few to tell a weekday from a holiday.
        (stamps(pd.date_range("2000-01-03", periods=4)), "1d", 252.0),
        (hours("2020-01-01", 4, range(24), "D"), "1h", 24 * 365.25),
        (stamps(pd.date_range("2000-01-03", periods=1)), "1h", 252.0),
    ],
)
def test_count_periods_per_year(timestamp, timeframe, expected):
    assert count_periods_per_year(timestamp, timeframe) == pytest.approx(expected)
