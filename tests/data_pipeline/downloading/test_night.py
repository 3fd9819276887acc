import threading
from dataclasses import replace

import made_bars
import pandas as pd
import pytest
from yahoo_server import Answer

from alphapulse.data_pipeline.downloading.night import Wanted, refresh_all
from alphapulse.data_pipeline.providers.yfinance_provider import YFinanceProvider
from alphapulse.data_pipeline.storage.bar_reader import read_bars

pytestmark = pytest.mark.postgres


def moment(text):
    return pd.Timestamp(text, tz="UTC")


def feed(**options):
    options = {"attempts": 1, "now": lambda: moment("2022-12-31"), "requests_per_minute": 6000.0} | options
    return YFinanceProvider(**options)


def wanted(*symbols, timeframes=("1d",)):
    return Wanted(symbols, timeframes, moment("2022-01-03"))


@pytest.mark.usefixtures("yahoo")
def test_a_failing_symbol_costs_itself(database):
    counted = []
    done, failures = refresh_all(
        database, feed(), wanted("NOPE", "SPY", "DOWN", "^GSPC", "TOO-MANY", "CRUMB", "^VIX"), counted.append
    )
    assert [one.written.symbol for one in done] == ["SPY", "^GSPC", "^VIX"]
    reasons = {one.symbol: one.reason for one in failures}
    assert "unknown symbol" in reasons["NOPE"] or "No data found" in reasons["NOPE"]
    assert "Yahoo is out of order for 'DOWN' 1d (its server answers with HTTP 503)" in reasons["DOWN"]
    assert "Yahoo refuses 'TOO-MANY' 1d for now (too many requests)" in reasons["TOO-MANY"]
    assert "cannot be read" in reasons["CRUMB"]
    assert len(counted) == 7
    assert len(read_bars(database, "SPY", "1d")) == len(made_bars.sessions("2022-01-03"))


def test_the_rest_is_not_asked_for_when_nobody_answers(database, yahoo):
    done, failures = refresh_all(database, feed(workers=1), wanted("DOWN", "DOWN", "DOWN", "SPY", "^GSPC"))
    assert done == []
    assert "not asked for, since nobody answered before: Yahoo is out of order" in failures[-1].reason
    assert not [symbol for symbol, _ in yahoo.requests if symbol == "SPY"]


def test_a_split_reads_the_other_timeframes_again(database, yahoo):
    rows = made_bars.hourly_index()
    listing = yahoo.listings["^GSPC"]
    yahoo.listings["ACME"] = replace(listing, bars={"1d": listing.bars["1d"], "1h": rows})
    refresh_all(database, feed(), wanted("ACME", timeframes=("1d", "1h")))

    def halved(table):
        return table.assign(**{name: table[name] / 2 for name in ("open", "high", "low", "close")})

    bars = {name: halved(table) for name, table in yahoo.listings["ACME"].bars.items()}
    yahoo.listings["ACME"] = replace(listing, bars=bars, splits={moment("2022-12-30"): 2})
    from yfinance import data

    data.YfData.cache_get.cache_clear()
    done, failures = refresh_all(database, feed(), wanted("ACME"))
    del yahoo.listings["ACME"]
    assert failures == []
    assert [(one.written.timeframe, one.was_split) for one in done] == [("1d", True), ("1h", True)]
    assert read_bars(database, "ACME", "1h").close[-1] == rows["close"].iloc[-1] / 2


def test_what_passes_is_asked_for_again(database, yahoo, monkeypatch):
    from yahoo_server import REFUSALS

    answers = iter([503, 429, 500])

    def next_answer(symbol):
        status = next(answers, None)
        return status and Answer(status, "<html>busy</html>", "text/html")

    monkeypatch.setattr(yahoo, "interfere", next_answer)
    assert "SPY" not in REFUSALS
    said = []
    provider = feed(attempts=None, workers=1)
    monkeypatch.setattr(provider.client, "_say", said.append)
    monkeypatch.setattr(provider.client, "_sleep", lambda seconds: None)
    done, failures = refresh_all(database, provider, wanted("SPY"))
    assert failures == []
    assert done[0].written.n_new == len(made_bars.sessions("2022-01-03"))
    assert len(said) == 1
    assert "Yahoo on 'SPY' 1d: too many requests; next try in" in said[0]


@pytest.mark.usefixtures("yahoo")
def test_giving_up_waits_for_nobody(database):
    provider = feed(attempts=None)
    threading.Timer(1.0, provider.abandon).start()
    _, failures = refresh_all(database, provider, wanted("TOO-MANY"))
    assert len(failures) == 1
