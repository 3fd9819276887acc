import numpy as np
import pandas as pd

from alphapulse.market.gaps import find_gaps


def stamps(index):
    return pd.DatetimeIndex(index).as_unit("ns").asi8


def test_nights_and_weekends_are_no_gaps():
    days = pd.bdate_range("2024-01-01", periods=60)
    minutes = [day + pd.Timedelta(minutes=870 + minute) for day in days for minute in range(390)]
    assert len(find_gaps(stamps(minutes), "1m")) == 0
    assert len(find_gaps(stamps(days), "1d")) == 0
    # Currencies trade from Sunday evening to Friday evening.
    hours = pd.date_range("2024-01-07 22:00", periods=24 * 7 * 12, freq="h")
    week = hours[(hours - pd.Timedelta(hours=22)).day_of_week.isin([6, 0, 1, 2, 3])]
    assert len(find_gaps(stamps(week), "1h")) == 0


def test_what_is_missing_is_found_with_its_size():
    hours = pd.date_range("2024-01-01", periods=24 * 60, freq="h")
    gaps = find_gaps(stamps(hours.delete(range(500, 520))), "1h")
    assert (gaps.before.tolist(), gaps.n_missing.tolist()) == ([stamps(hours)[499]], [20])
    days = pd.bdate_range("2024-01-01", periods=200)
    gaps = find_gaps(stamps(days.delete([50, *range(100, 110)])), "1d")
    # A holiday is none, two weeks are.
    assert len(gaps) == 1
    assert gaps.after[0] == stamps(days)[110]


def test_few_bars_have_no_gaps():
    assert len(find_gaps(np.empty(0, dtype=np.int64), "1d")) == 0
    assert len(find_gaps(stamps(["2024-01-01"]), "1h")) == 0
    assert len(find_gaps(stamps(pd.date_range("2024-01-01", periods=30, freq="MS")), "1mo")) == 0
