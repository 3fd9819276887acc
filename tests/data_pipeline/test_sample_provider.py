import pandas as pd
import pytest
from arch.data import nasdaq, sp500

from alphapulse.data_pipeline.models import COLUMNS
from alphapulse.data_pipeline.providers.sample_provider import SampleProvider
from alphapulse.errors import DataError


def test_fetch_gives_twenty_years_of_both_symbols():
    fetched = {one.symbol: one for one in SampleProvider().fetch([], [], None, None)}
    assert set(fetched) == {"SAMPLE_SP500", "SAMPLE_NASDAQ"}
    for one in fetched.values():
        assert list(one.bars.columns) == list(COLUMNS)
        assert len(one.bars) == 5031
        assert not one.rejected
        assert one.bars["timestamp"].is_monotonic_increasing
    first = fetched["SAMPLE_SP500"].bars.iloc[0]
    assert first["timestamp"] == pd.Timestamp("1999-01-04", tz="UTC")
    assert first["close"] == 1228.099976


@pytest.mark.parametrize(("symbol", "source"), [("SAMPLE_SP500", sp500), ("SAMPLE_NASDAQ", nasdaq)])
def test_fetch_gives_the_figures_of_their_source(symbol, source):
    (fetched,) = SampleProvider().fetch([symbol], [], None, None)
    published = source.load()
    assert fetched.bars["timestamp"].tolist() == published.index.tz_localize("UTC").tolist()
    for name in ("open", "high", "low", "close", "volume"):
        assert fetched.bars[name].tolist() == published[name.capitalize()].tolist()


def test_fetch_selects_a_range():
    start, stop = pd.Timestamp("2010-01-04", tz="UTC"), pd.Timestamp("2010-01-09", tz="UTC")
    (fetched,) = SampleProvider().fetch(["SAMPLE_SP500"], ["1d"], start, stop)
    assert len(fetched.bars) == 5


def test_fetch_refuses_other_symbols_and_timeframes():
    with pytest.raises(DataError, match=r"did you mean 'SAMPLE_SP500'\?"):
        list(SampleProvider().fetch(["SAMPLE_SP50"], [], None, None))
    with pytest.raises(DataError, match="timeframe 1d only, but got '1h'"):
        list(SampleProvider().fetch([], ["1h"], None, None))
