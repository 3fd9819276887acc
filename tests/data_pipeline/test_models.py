import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from alphapulse.data_pipeline.models import OHLCVRecord

GOOD = {
    "timestamp": datetime(2020, 1, 2, tzinfo=UTC),
    "symbol": "SPY",
    "timeframe": "1d",
    "open": 10.0,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "volume": 100.0,
}


def test_record_keeps_its_fields_and_stands_in_utc():
    offset = timezone(timedelta(hours=-5))
    record = OHLCVRecord(**GOOD | {"timestamp": datetime(2020, 1, 2, 9, 30, tzinfo=offset), "timeframe": "1h"})
    assert record.timestamp == datetime(2020, 1, 2, 14, 30, tzinfo=UTC)
    assert record.timestamp.tzinfo is UTC
    assert (record.open, record.high, record.low, record.close, record.volume) == (10.0, 12.0, 9.0, 11.0, 100.0)


def test_record_takes_opens_outside_the_range_and_unknown_volume():
    assert OHLCVRecord(**GOOD | {"open": 2.58}).open == 2.58
    assert math.isnan(OHLCVRecord(**{name: value for name, value in GOOD.items() if name != "volume"}).volume)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestamp": datetime(2020, 1, 2)}, "`timestamp` must carry a time zone"),
        ({"symbol": ""}, "`symbol` must be a non-empty text"),
        ({"timeframe": "1x"}, "`timeframe` must be"),
        ({"open": 0.0}, "`open > 0`"),
        ({"close": -1.0}, "`close > 0`"),
        ({"low": math.nan}, "`low > 0`"),
        ({"high": math.inf}, "`high > 0`"),
        ({"high": 8.0}, "`high >= low` must hold"),
        ({"volume": -1.0}, "`volume >= 0` must hold"),
    ],
)
def test_record_refuses_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        OHLCVRecord(**GOOD | change)
    assert "\n" not in str(caught.value)


def test_record_refuses_what_is_no_datetime():
    with pytest.raises(TypeError, match="`timestamp` must be a datetime"):
        OHLCVRecord(**GOOD | {"timestamp": "2020-01-02"})
