import numpy as np
import pandas as pd
import pytest

from alphapulse.market.adjustment import dividend_factors
from alphapulse.market.timeframes import DAY, HOUR


def stamps(*texts):
    return pd.DatetimeIndex(texts).as_unit("ns").asi8


def factors(timestamp, close, dividends, length=DAY):
    ex_date = stamps(*(date for date, _ in dividends))
    return dividend_factors(
        timestamp, np.array(close, dtype=float), ex_date, np.array([d for _, d in dividends]), length
    )


def test_dividend_factors_by_hand():
    days = stamps("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-06")
    got = factors(days, [100, 102, 50, 51], [("2020-01-02", 2.0), ("2020-01-04", 5.0)])
    # 5 of 50 off everything up to the third, 2 of 100 off the first too.
    assert got.tolist() == pytest.approx([0.98 * 0.9, 0.9, 0.9, 1.0], rel=1e-15)


def test_dividends_outside_change_nothing():
    days = stamps("2020-01-02", "2020-01-03")
    assert factors(days, [1, 1], [("2020-01-01", 0.5), ("2020-01-02", 0.5), ("2020-01-04", 0.5)]).tolist() == [1, 1]
    assert factors(days[:0], [], [("2020-01-02", 0.5)]).tolist() == []


@pytest.mark.parametrize("amount", [1.0, 7.0, np.nan, -np.inf])
def test_what_is_no_dividend_is_left_out(amount):
    days = stamps("2020-01-02", "2020-01-03", "2020-01-06")
    assert factors(days, [1, 1, 1], [("2020-01-03", amount)]).tolist() == [1, 1, 1]


def test_later_dividends_do_not_change_what_was_loaded_before():
    days = stamps(*pd.date_range("2020-01-01", periods=50))
    close = np.linspace(10, 20, 50)
    dividends = [("2020-01-20", 0.1), ("2020-02-10", 0.2)]
    early = factors(days[:30], close[:30], dividends)
    assert np.array_equal(early, factors(days[:30], close[:30], dividends[:1]))


@pytest.mark.parametrize(
    ("zone", "opening"), [("America/New_York", "09:30"), ("Asia/Tokyo", "09:00"), ("Australia/Sydney", "10:00")]
)
def test_intraday_the_whole_session_of_the_date_is_ex(zone, opening):
    hours = [
        pd.Timestamp(f"{day} {opening}", tz=zone) + pd.Timedelta(hours=hour)
        for day in ("2020-01-08", "2020-01-09", "2020-01-10")
        for hour in range(6)
    ]
    timestamp = pd.DatetimeIndex(hours).tz_convert("UTC").as_unit("ns").asi8
    got = factors(timestamp, np.full(18, 10.0), [("2020-01-09", 1.0)], HOUR)
    assert got.tolist() == [0.9] * 6 + [1.0] * 12


def test_a_week_that_holds_the_date_is_ex():
    weeks = stamps("2020-01-06", "2020-01-13", "2020-01-20")
    assert factors(weeks, [10, 10, 10], [("2020-01-15", 1.0)], 7 * DAY).tolist() == [0.9, 1.0, 1.0]
    assert factors(weeks, [10, 10, 10], [("2020-01-13", 1.0)], 7 * DAY).tolist() == [0.9, 1.0, 1.0]
