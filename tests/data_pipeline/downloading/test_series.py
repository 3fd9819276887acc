from dataclasses import replace

import made_bars
import numpy as np
import pandas as pd
import pytest
from yahoo_server import Listing

from alphapulse.config.schema import DataConfig
from alphapulse.data_pipeline.downloading.series import refresh_series
from alphapulse.data_pipeline.loading import load_backtest_data, load_history
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.providers.yfinance_provider import YFinanceProvider
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.storage.ingests import SecondSourceError, Source
from alphapulse.data_pipeline.storage.quarantine import list_held, release_held
from alphapulse.errors import DataError

pytestmark = pytest.mark.postgres

SPLIT = (pd.Timestamp("2022-06-01", tz="UTC"), 4)


def moment(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def share(yahoo):
    """A share that splits 4 for 1 on `SPLIT`; `share(date)` lists it as Yahoo knew it on that date."""

    def listed(date, dividends=None):
        bars = made_bars.fund()
        bars = bars[bars["timestamp"] <= moment(date)].reset_index(drop=True)
        splits = {SPLIT[0]: SPLIT[1]} if moment(date) >= SPLIT[0] else {}
        if not splits:
            bars[["open", "high", "low", "close"]] *= SPLIT[1]
        paid = made_bars.fund_dividends() if dividends is None else dividends
        paid = paid[paid.index <= moment(date)] * (1 if splits else SPLIT[1])
        yahoo.listings["ACME"] = Listing("EQUITY", "America/New_York", (570, 960), {"1d": bars}, paid, splits)
        yahoo.requests.clear()
        return YFinanceProvider(attempts=1, now=lambda: moment(date) + pd.Timedelta(hours=30))

    yield listed
    del yahoo.listings["ACME"]


def refresh(database, feed, start=None, end=None, **options):
    return refresh_series(database, feed, "ACME", "1d", start and moment(start), end and moment(end), **options)


def test_refresh_asks_for_what_follows_the_last_bar(database, share, yahoo):
    refresh(database, share("2022-03-01"))
    done = refresh(database, share("2022-03-08"))
    assert (done.written.n_new, done.written.n_changed, done.notes) == (5, 0, [])
    (asked,) = [query for symbol, query in yahoo.requests if "period1" in query]
    assert moment("2022-02-18") <= pd.Timestamp(int(asked["period1"]), unit="s", tz="UTC") <= moment("2022-02-20")
    rows = database.fetch("SELECT start_at, end_at FROM ingest WHERE symbol = 'ACME' ORDER BY id")
    assert pd.Timestamp(rows[1]["end_at"]) == moment("2022-03-09")


def test_a_new_dividend_changes_no_stored_bar(database, share):
    refresh(database, share("2022-02-28"))
    before = read_bars(database, "ACME", "1d").close
    done = refresh(database, share("2022-03-04"))
    assert (done.written.n_new, done.written.n_changed) == (4, 0)
    assert np.array_equal(read_bars(database, "ACME", "1d").close[: len(before)], before)


def test_a_split_between_two_downloads_leaves_no_seam(database, share):
    refresh(database, share("2022-05-31"))
    done = refresh(database, share("2022-06-03"))
    assert "read again whole, since stored prices are 4 times" in done.notes[0]
    made = made_bars.fund()
    stored = read_bars(database, "ACME", "1d")
    assert np.array_equal(stored.close, made["close"][made["timestamp"] <= moment("2022-06-03")])
    paid = database.fetch("SELECT DISTINCT value FROM corporate_action WHERE kind = 'dividend'")
    assert [row["value"] for row in paid] == [made_bars.DIVIDEND]


def test_a_split_is_seen_where_only_what_follows_is_asked_for(database, share):
    refresh(database, share("2022-05-31"))
    done = refresh(database, share("2022-06-30"), start="2022-06-01")
    assert "read again whole" in done.notes[0]
    stored = read_bars(database, "ACME", "1d")
    assert np.abs(np.diff(np.log(stored.close))).max() < 0.2


def test_what_a_feed_no_longer_has_is_brought_to_the_new_prices(database, share, yahoo):
    refresh(database, share("2022-05-31"))
    feed = share("2022-06-03")
    listing = yahoo.listings["ACME"]
    short = listing.bars["1d"].iloc[-100:].reset_index(drop=True)
    yahoo.listings["ACME"] = replace(listing, bars={"1d": short})
    done = refresh(database, feed)
    assert done.written.n_rescaled == len(made_bars.fund()) - 100 - sum(
        made_bars.fund()["timestamp"] > moment("2022-06-03")
    )
    assert "bars that yfinance no longer has are divided by 4" in done.notes[1]
    made = made_bars.fund()
    np.testing.assert_allclose(read_bars(database, "ACME", "1d").close, made["close"][: done.written.n_rescaled + 100])


def test_prices_that_are_not_adjusted_yet_are_left_out(database, share, yahoo):
    refresh(database, share("2022-05-31"))
    feed = share("2022-06-02")
    listing = yahoo.listings["ACME"]
    late = listing.bars["1d"].copy()
    late.loc[late["timestamp"] < SPLIT[0], ["open", "high", "low", "close"]] *= SPLIT[1]
    yahoo.listings["ACME"] = replace(listing, bars={"1d": late})
    done = refresh(database, feed)
    assert "2 bars from 2022-06-01 on are left out" in done.notes[0]
    assert done.written.last == "2022-05-31T00:00:00Z"
    done = refresh(database, share("2022-06-03"))
    assert done.written.last == "2022-06-03T00:00:00Z"
    assert np.abs(np.diff(np.log(read_bars(database, "ACME", "1d").close))).max() < 0.2


def test_bars_of_an_unknown_source_are_read_again_whole(database, share):
    rows = made_bars.fund()
    rows = rows[rows["timestamp"] <= moment("2022-06-03")]
    adjusted = rows.assign(**{name: rows[name] * 0.9 for name in ("open", "high", "low", "close")})
    extra = rows.iloc[[0]].assign(timestamp=moment("2022-05-28"))
    write_bars(database, [checked("ACME", "1d", pd.concat([adjusted, extra]))])
    done = refresh(database, share("2022-06-03"))
    assert "its bars were of an unknown source" in done.notes[0]
    assert (done.written.n_changed, done.written.n_removed) == (len(rows), 1)
    assert np.array_equal(read_bars(database, "ACME", "1d").close, rows["close"])
    assert refresh(database, share("2022-06-03")).notes == []


def test_another_source_is_asked_for(database, share):
    rows = made_bars.fund().iloc[-200:]
    rows = rows.assign(close=rows["close"] * 1.001)
    write_bars(database, [checked("ACME", "1d", rows)], Source("csv", "acme.csv"))
    with pytest.raises(SecondSourceError, match=r"differ from those that .*acme\.csv.*replace=true"):
        refresh(database, share("2022-12-30"))
    refresh(database, share("2022-12-30"), replace=True)
    assert np.array_equal(read_bars(database, "ACME", "1d").close, made_bars.fund()["close"])


def test_dividends_are_in_what_is_loaded(database, share):
    refresh(database, share("2022-12-30"))
    made = made_bars.fund().set_index("timestamp")
    paid = made_bars.fund_dividends().reindex(made.index, fill_value=0.0)
    earned = made["close"] / (made["close"].shift() - paid) - 1
    total = load_backtest_data("ACME", "1d", database=database)["ACME"]
    np.testing.assert_allclose(total["close"].pct_change()[1:], earned[1:], rtol=1e-9)
    np.testing.assert_allclose(total["open"] / total["close"], made["open"] / made["close"], rtol=1e-12)
    split = load_backtest_data("ACME", "1d", adjust="split", database=database)["ACME"]
    assert np.array_equal(split["close"], made["close"])
    data = DataConfig(source="database", symbols=("ACME",), start="2016-01-04", end="2020-12-31")
    bars, plain = (load_history(database, one, 20) for one in (data, replace(data, adjust="split")))
    assert bars.fingerprint != plain.fingerprint
    assert bars.bars.close[-1] == plain.bars.close[-1]
    # A dividend after the end changes nothing of what was loaded.
    database.fetch("INSERT INTO corporate_action VALUES ('ACME', '2021-06-07Z', 'dividend', 3.0)")
    assert load_history(database, data, 20).fingerprint == bars.fingerprint


def test_refresh_says_what_the_feed_lacks(database, share):
    with pytest.raises(DataError, match="Yahoo has no bars for 'NOPE'"):
        refresh_series(database, share("2022-06-03"), "NOPE", "1d", None, None)


def test_rows_that_are_no_bars_are_held_back_until_somebody_decides(database, share, yahoo):
    feed = share("2022-03-08")
    listing = yahoo.listings["ACME"]
    bars = listing.bars["1d"].copy()
    bars.loc[bars.index[-3], "open"] = 0.0
    bars.loc[bars.index[-2], "close"] = np.nan
    yahoo.listings["ACME"] = replace(listing, bars={"1d": bars})
    done = refresh(database, feed)
    assert [row.reason for row in done.fetched.rejected] == ["open is not positive", "close is not a number"]
    assert [row.where for row in list_held(database)] == ["2022-03-04", "2022-03-07"]
    (open_, _) = list_held(database)
    release_held(database, [open_.id])
    # The next night has the same row, which is decided, and the other one is whole by now.
    bars.loc[bars.index[-2], "close"] = bars.loc[bars.index[-2], "low"]
    done = refresh(database, feed)
    assert list(done.fetched.rejected) == []
    assert (done.written.n_new, done.written.n_rejected) == (1, 0)
    assert list_held(database) == []
    assert len(read_bars(database, "ACME", "1d")) == len(bars)
