from datetime import UTC, date, datetime

import pandas as pd
import pytest

from alphapulse.data_pipeline.ranges import TICK, range_start, range_stop


def moment(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.mark.parametrize("day", ["2020-01-31", "20200131", "2020-W05-5", "2020W055", date(2020, 1, 31)])
def test_a_date_is_its_whole_day(day):
    assert range_start("start", day) == moment("2020-01-31")
    assert range_stop("end", day) == moment("2020-02-01")


@pytest.mark.parametrize(
    "at", ["2020-01-31T09:30:00+00:00", "2020-01-31T04:30-05:00", datetime(2020, 1, 31, 9, 30, tzinfo=UTC)]
)
def test_a_moment_belongs_to_its_range(at):
    assert range_start("start", at) == moment("2020-01-31T09:30")
    assert range_stop("end", at) == moment("2020-01-31T09:30") + TICK


def test_none_is_open():
    assert range_start("start", None) is None
    assert range_stop("end", None) is None


@pytest.mark.parametrize(
    "bad",
    ["soon", "2020", "202001", "20201301", "2020-13-01", "20200131T0930", "2020-01-31T09:30", datetime(2020, 1, 31)],
)
def test_refuses_what_is_no_moment(bad):
    with pytest.raises(ValueError, match="`start` must"):
        range_start("start", bad)
