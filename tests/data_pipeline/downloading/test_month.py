"""A month of nights, as a feed really is: splits, dividends, revisions, refusals, rows that are no bars, a stop."""

from dataclasses import dataclass, field

import made_bars
import numpy as np
import pandas as pd
import pytest
from yahoo_server import Answer, Listing

from alphapulse.data_pipeline.downloading.night import Wanted, refresh_all
from alphapulse.data_pipeline.providers.yfinance_provider import YFinanceProvider
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.quarantine import list_held

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SYMBOLS = tuple(f"S{number}" for number in range(6))
NIGHTS = made_bars.sessions("2022-03-01", "2022-03-31")
PRICES = ["open", "high", "low", "close"]
HOURS = (570, 960)


@dataclass
class Share:
    """What is true of a share: its prices as traded on each day, what was paid, and how it was split."""

    traded: pd.DataFrame
    splits: dict[pd.Timestamp, float] = field(default_factory=dict)
    dividends: dict[pd.Timestamp, float] = field(default_factory=dict)
    stuck_from: pd.Timestamp | None = None

    def as_of(self, night: pd.Timestamp) -> tuple[pd.DataFrame, pd.Series, dict]:
        """Return bars, dividends and splits as the feed has them on a night: all in the shares of that day."""
        bars = self.traded[self.traded["timestamp"] <= night].reset_index(drop=True).copy()
        if self.stuck_from is not None:
            bars = bars[bars["timestamp"] < self.stuck_from].reset_index(drop=True)
        known = {date: ratio for date, ratio in self.splits.items() if date <= night}
        paid = {date: amount for date, amount in self.dividends.items() if date <= night}
        for date, ratio in known.items():
            earlier = bars["timestamp"] < date
            bars.loc[earlier, PRICES] /= ratio
            bars.loc[earlier, "volume"] = np.round(bars.loc[earlier, "volume"] * ratio)
            paid = {day: amount / ratio if day < date else amount for day, amount in paid.items()}
        return bars, pd.Series(paid, dtype=float, index=pd.DatetimeIndex(list(paid))), known


def shares() -> dict[str, Share]:
    days = made_bars.sessions("2021-06-01", "2022-04-05")
    made = {}
    for number, symbol in enumerate(SYMBOLS):
        rng = np.random.default_rng(number)
        close = made_bars.random_walk(rng, len(days), 0.015, 100.0)
        made[symbol] = Share(made_bars.labelled(made_bars.bars_around(rng, days, close, 0.01), symbol, "1d"))
    made["S0"].splits[NIGHTS[5]] = 4.0
    made["S1"].splits |= {NIGHTS[3]: 0.1, NIGHTS[15]: 2.0}
    made["S2"].dividends |= {NIGHTS[2]: 1.0, NIGHTS[12]: 1.0}
    made["S3"].dividends |= {NIGHTS[8]: 0.5}
    made["S3"].splits[NIGHTS[10]] = 3.0
    for symbol, share in made.items():
        for date, ratio in share.splits.items():
            later = share.traded["timestamp"] >= date
            share.traded.loc[later, PRICES] /= ratio
        assert symbol in SYMBOLS
    made["S5"].stuck_from = NIGHTS[9]
    return made


def test_a_month_of_nights_stores_nothing_wrong_and_loses_nothing(database, yahoo, monkeypatch):
    rng = np.random.default_rng(1)
    truth = shares()
    refused: dict[str, int] = {}

    def interfere(symbol):
        # One request in eight is refused, some three times in a row, and then it is let through.
        left = refused.get(symbol, 0)
        if left > 0:
            refused[symbol] = left - 1
            status = int(rng.choice([429, 500, 503]))
            return Answer(status, "<html>later</html>", "text/html")
        if rng.random() < 0.125:
            refused[symbol] = int(rng.integers(0, 3))
            return Answer(429, "Too Many Requests", "text/plain")
        return None

    monkeypatch.setattr(yahoo, "interfere", interfere)
    said: list[str] = []
    held: set[str] = set()
    for number, night in enumerate(NIGHTS):
        for symbol, share in truth.items():
            bars, paid, splits = share.as_of(night)
            # What is published tonight is revised tomorrow; now and then a row is no bar, or a hundred times too high.
            if number % 4 == 1 and symbol == "S4":
                bars.loc[bars.index[-1], "close"] *= 1.001
                bars.loc[bars.index[-1], "high"] = bars.loc[bars.index[-1], PRICES].max()
            if number % 5 == 2 and symbol == "S2":
                bars.loc[bars.index[-1], "open"] = 0.0
            if number % 7 == 3 and symbol == "S4":
                bars.loc[bars.index[-3], PRICES] *= 100.0
            yahoo.listings[symbol] = Listing("EQUITY", "America/New_York", HOURS, {"1d": bars}, paid, splits)
        from yfinance import data

        data.YfData.cache_get.cache_clear()
        feed = YFinanceProvider(
            requests_per_minute=1e6, workers=2, now=lambda night=night: night + pd.Timedelta(hours=30)
        )
        monkeypatch.setattr(feed.client, "_sleep", lambda seconds: None)
        monkeypatch.setattr(feed.client, "_say", said.append)
        symbols = [*SYMBOLS, "NOPE"]
        done, failures = refresh_all(database, feed, Wanted(symbols, ("1d",)))
        assert [one.symbol for one in failures] == ["NOPE"], failures
        said += [line for one in done for line in one.notes]
        held |= {row.where for row in list_held(database)}
        for symbol, share in truth.items():
            expected, _, _ = share.as_of(night)
            stored = read_bars(database, symbol, "1d").frame()
            merged = expected.merge(stored, on="timestamp", how="outer", suffixes=("", "_stored"), indicator=True)
            # Only the last bars may be missing or provisional, and none may be from nowhere.
            assert not (merged["_merge"] == "right_only").any(), (night, symbol)
            missing = merged.loc[merged["_merge"] == "left_only", "timestamp"]
            assert (missing >= night - pd.Timedelta(days=6)).all(), (night, symbol, missing)
            both = merged[merged["_merge"] == "both"]
            settled = both[both["timestamp"] < night]
            np.testing.assert_allclose(
                settled["close_stored"], settled["close"], rtol=1e-6, err_msg=f"{night} {symbol}"
            )
    for symbol in SYMBOLS:
        del yahoo.listings[symbol]
    # Everything that happened was said.
    for words in (
        "S0 1d: read again whole",
        "S1 1d: read again whole",
        "S3 1d: read again whole",
        "S5 1d: no bar after",
    ):
        assert any(words in line for line in said), (words, said)
    assert held
    # What is not stored is held: the row that is no bar of the last night.
    last, _, _ = truth["S2"].as_of(NIGHTS[-1])
    kept = [row.where for row in list_held(database, ["S2"])]
    assert kept == [f"{NIGHTS[-1]:%Y-%m-%d}"]
    assert len(read_bars(database, "S2", "1d")) + len(kept) == len(last)
    paid = database.fetch("SELECT value FROM corporate_action WHERE symbol = 'S3' AND kind = 'dividend'")
    assert [row["value"] for row in paid] == [pytest.approx(0.5 / 3.0)]
