import made_bars
import pandas as pd
import pytest

from alphapulse.data_pipeline.providers.base import UnreachableError
from alphapulse.data_pipeline.providers.yfinance_provider import YFinanceProvider
from alphapulse.errors import DataError


def moment(text):
    return pd.Timestamp(text, tz="UTC")


def fetch(symbol, timeframe="1d", start=None, end=None, **options):
    (fetched,) = YFinanceProvider(attempts=1, **options).fetch(
        [symbol], [timeframe], start and moment(start), end and moment(end)
    )
    return fetched


@pytest.mark.usefixtures("yahoo")
def test_fetch_stamps_daily_bars_with_their_date():
    bars = fetch("^GSPC", start="2020-03-02", end="2020-03-07").bars
    assert bars["timestamp"].dt.strftime("%Y-%m-%dT%H:%MZ").tolist() == [
        f"2020-03-0{day}T00:00Z" for day in range(2, 7)
    ]
    assert set(bars["symbol"]) == {"^GSPC"}
    made = made_bars.daily_index()
    pd.testing.assert_frame_equal(bars, made[made["timestamp"].isin(bars["timestamp"])].reset_index(drop=True))


@pytest.mark.usefixtures("yahoo")
def test_fetch_gives_the_whole_daily_history_without_a_start():
    made = made_bars.daily_volatility()
    bars = fetch("^VIX").bars
    assert bars["timestamp"].tolist() == made["timestamp"].tolist()
    assert bars["close"].tolist() == made["close"].tolist()


@pytest.mark.usefixtures("yahoo")
def test_fetch_gives_prices_without_dividends_and_what_was_paid():
    fetched = fetch("SPY")
    pd.testing.assert_frame_equal(fetched.bars, made_bars.fund())
    split, ratio = made_bars.SPLIT
    paid = [(one.timestamp, one.value) for one in fetched.actions if one.kind == "dividend"]
    assert paid == list(made_bars.fund_dividends().items())
    assert [(one.timestamp, one.value) for one in fetched.actions if one.kind == "split"] == [(split, ratio)]
    assert fetched.actions_of == tuple(made_bars.fund()["timestamp"].iloc[[0, -1]])


@pytest.mark.usefixtures("yahoo")
def test_fetch_keeps_hourly_stamps_across_daylight_saving():
    bars = fetch("^GSPC", "1h", "2022-03-10", "2022-03-16").bars
    first_of_day = bars.groupby(bars["timestamp"].dt.date)["timestamp"].first().dt.strftime("%H:%M").tolist()
    assert first_of_day == ["14:30", "14:30", "13:30", "13:30"]


@pytest.mark.usefixtures("yahoo")
def test_fetch_drops_the_bar_that_has_not_ended():
    bars = fetch("^GSPC", start="2020-03-02", end="2020-03-20", now=lambda: moment("2020-03-06T20:00")).bars
    assert bars["timestamp"].iloc[-1] == moment("2020-03-05")


@pytest.mark.usefixtures("yahoo")
@pytest.mark.parametrize(
    ("symbol", "timeframe", "year", "words"),
    [
        ("NOPE", "1d", 2020, "Yahoo has no bars for 'NOPE' 1d in [2020-01-01, 2020-02-01)"),
        ("^GSPC", "1h", 2020, "The requested range must be within the last 730 days); check"),
        ("SPY", "1d", 1990, "Yahoo has no bars for 'SPY' 1d in [1990-01-01, 1990-02-01) (Data doesn't exist"),
        ("EMPTY", "1d", 2020, "Yahoo has no bars for 'EMPTY' 1d"),
        ("CRUMB", "1d", 2020, "Yahoo's answer for 'CRUMB' 1d cannot be read"),
    ],
)
def test_fetch_says_what_yahoo_lacks_in_one_line(symbol, timeframe, year, words):
    with pytest.raises(DataError) as caught:
        fetch(symbol, timeframe, f"{year}-01-01", f"{year}-02-01")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("yahoo")
def test_fetch_says_what_to_do_when_yahoo_refuses():
    with pytest.raises(UnreachableError, match=r"too many requests.*run the same command again"):
        fetch("TOO-MANY", start="2020-01-01")


@pytest.mark.usefixtures("yahoo")
def test_fetch_says_what_to_do_without_a_network(monkeypatch):
    from yfinance import data

    def unreachable(self, url, *args, **kwargs):
        return self._session.get("http://127.0.0.1:9/", timeout=1)

    monkeypatch.setattr(data.YfData, "_make_request", unreachable)
    with pytest.raises(UnreachableError, match=r"cannot be reached.*check the network"):
        fetch("SPY", start="2020-01-01")


def test_fetch_refuses_an_unknown_timeframe():
    with pytest.raises(DataError, match="but got '3h'"):
        fetch("SPY", "3h")


def test_pieces_are_what_yahoo_gives_at_once():
    provider = YFinanceProvider(now=lambda: moment("2022-12-31"))
    assert list(provider._pieces("1d", moment("1990-01-01"), None)) == [(moment("1990-01-01"), None)]
    minutes = list(provider._pieces("1m", None, None))
    assert minutes[0] == (moment("2022-12-24"), None)
    assert minutes[-1][0] == moment("2022-12-02")
    assert [one[0] for one in minutes[:-1]] == [one[1] for one in minutes[1:]]
    assert list(provider._pieces("1h", moment("2020-01-01"), moment("2022-01-01"))) == [
        (moment("2021-01-01"), moment("2022-01-01")),
        (moment("2020-01-01"), moment("2021-01-01")),
    ]


@pytest.mark.usefixtures("yahoo")
def test_fetch_gives_what_is_in_reach_and_says_where_it_ends():
    fetched = fetch("^GSPC", "1h", "2018-01-02", "2022-12-31", now=lambda: moment("2022-12-31"))
    made = made_bars.hourly_index()
    first = fetched.bars["timestamp"].iloc[0]
    assert moment("2021-01-01") <= first <= moment("2021-01-05")
    assert len(fetched.bars) == (made["timestamp"] >= first).sum()
    (note,) = fetched.notes
    assert "^GSPC 1h: Yahoo keeps no bars before 2021-01-04" in note
    assert fetched.covers[0] == moment("2018-01-02")


@pytest.mark.usefixtures("yahoo")
@pytest.mark.parametrize("start", [None, "2018-01-02"])
def test_fetch_up_to_an_end_gives_all_before_it_that_is_in_reach(start):
    fetched = fetch("^GSPC", "1h", start, "2022-06-30", now=lambda: moment("2022-12-31"))
    assert fetched.bars["timestamp"].iloc[0] < moment("2021-01-05")
    assert fetched.bars["timestamp"].iloc[-1] < moment("2022-06-30")


@pytest.mark.usefixtures("yahoo")
@pytest.mark.parametrize(("start", "end"), [("2022-03-05", "2022-03-07"), ("2022-03-08", None)])
def test_fetch_of_a_weekend_or_of_today_is_no_error(start, end):
    fetched = fetch("^GSPC", start=start, end=end, now=lambda: moment("2022-03-08T20:00"))
    assert len(fetched.bars) == 0
    assert end is None or "Yahoo has no bar in [2022-03-05, 2022-03-07)" in fetched.notes[0]
