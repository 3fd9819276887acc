from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alphapulse.config.schema import QualityConfig
from alphapulse.data_pipeline.downloading.screening import ImplausibleError, screen
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.storage.ingests import Source
from alphapulse.data_pipeline.storage.quarantine import list_held, release_held

pytestmark = pytest.mark.postgres


def bars(start=0, n=100, *, factors=None):
    """Return days of a walk from its day `start` on, some of them times a factor."""
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 400)))
    for place, factor in (factors or {}).items():
        close[place] *= factor
    rows = pd.DataFrame({"timestamp": pd.date_range("2020-01-01", periods=400, tz="UTC"), "open": close})
    rows = rows.assign(high=close * 1.01, low=close * 0.99, close=close, volume=1.0)
    return checked("A", "1d", rows.iloc[start : start + n])


def test_a_spike_is_held_back_and_what_is_released_is_believed(database):
    spiked = bars(factors={50: 100.0})
    fetched = screen(database, spiked, QualityConfig())
    assert len(fetched.bars) == 99
    (row,) = fetched.rejected
    assert row.where == "2020-02-20T00:00:00+00:00"
    assert "it is out of line with the bars before and after it (1" in row.reason
    write_bars(database, [fetched], Source("csv", "a.csv"))
    release_held(database, [list_held(database)[0].id])
    assert len(read_bars(database, "A", "1d")) == 100
    assert len(screen(database, spiked, QualityConfig()).bars) == 100


def test_a_spike_that_was_stored_as_the_last_bar_is_taken_out_when_it_is_found(database):
    first = screen(database, bars(n=51, factors={50: 3.0}), QualityConfig())
    assert "1 bars jump to another level" in first.notes[0]
    write_bars(database, [first], Source("yfinance"))
    night = screen(database, bars(45, 8, factors={50: 3.0}), QualityConfig())
    assert len(night.rejected) == 1
    write_bars(database, [night], Source("yfinance"))
    stored = read_bars(database, "A", "1d")
    assert len(stored) == 52
    assert np.abs(np.diff(np.log(stored.close))).max() < 0.1


def test_new_bars_are_measured_with_the_stored_ones(database):
    write_bars(database, [bars(0, 100)], Source("yfinance"))
    new = bars(100, 2)
    split = replace(
        new, bars=new.bars.assign(**{name: new.bars[name] / 4 for name in ("open", "high", "low", "close")})
    )
    (line,) = screen(database, split, QualityConfig()).notes
    assert "A 1d: 1 bars jump to another level and stay there" in line
    assert "the first 2020-04-10 (0.2" in line
    held = screen(database, split, QualityConfig(jumps="quarantine"))
    assert (len(held.bars), len(held.rejected)) == (0, 2)
    with pytest.raises(ImplausibleError, match=r"1 bars are refused, the first 2020-04-10.*quality\.jumps=warn"):
        screen(database, split, QualityConfig(jumps="refuse"))
    assert screen(database, split, QualityConfig(jumps="refuse"), alone=True).notes == ()


def test_warned_about_is_stored(database):
    fetched = screen(database, bars(factors={50: 100.0}), QualityConfig(spikes="warn"))
    assert len(fetched.bars) == 100
    assert "1 bars are out of line with those before and after them, the first 2020-02-20" in fetched.notes[0]
