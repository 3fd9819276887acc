"""What the names of files, columns and lengths of bars say in the words of those who write them."""

import re
from collections.abc import Mapping

from alphapulse.market.timeframes import read_timeframe

ROLES = ("timestamp", "date", "time", "symbol", "timeframe", "open", "high", "low", "close", "volume")
"""What a column can be; date and time together are a timestamp."""

_ALIASES: Mapping[str, str] = {
    "timestamp": "timestamp, datetime, date time, gmt time, local time, open time, time open, open timestamp, unix, "
    "unix time, unix timestamp, epoch, ts, start, bar time, kline open time, opentime, "
    "window start",
    "date": "date, day, dtyyyymmdd, trade date, trading day, datum",
    "time": "time, hour",
    "symbol": "symbol, ticker, tic, sym, instrument, pair, security, code",
    "timeframe": "timeframe, per, period, interval, tf, resolution",
    "open": "open, o, open price, opening price, 1. open, bidopen, first, erster, eröffnung",
    "high": "high, h, high price, max, 2. high, bidhigh, hoch",
    "low": "low, l, low price, min, 3. low, bidlow, tief",
    "close": "close, c, close price, closing price, last, price, close/last, 4. close, bidclose, schluss, schlusskurs",
    "volume": "volume, vol, vol., v, 5. volume, total volume, tickvol, tick volume, tickqty, real volume, "
    "stuecke, stück, volumen",
}
ALIASES = {alias.strip(): role for role, aliases in _ALIASES.items() for alias in aliases.split(",")}

_METATRADER = {"M1": "1m", "M5": "5m", "M15": "15m", "M30": "30m", "H1": "1h", "H4": "4h", "D1": "1d", "W1": "1wk"}
_WORDS = {"D": "1d", "W": "1wk", "M": "1mo", "MN1": "1mo", "MN": "1mo", "H": "1h"}
_WORDS |= {"DAILY": "1d", "WEEKLY": "1wk", "MONTHLY": "1mo", "HOURLY": "1h"} | _METATRADER

_LENGTH = r"\d{1,4} ?(?:m|min|h|hour|d|day|w|wk|week|mo|month|M|H|D|W)"
_FILES = (
    # Binance and its like: BTCUSDT-1h-2024-01
    rf"(?P<symbol>[A-Za-z0-9]+)-(?P<length>{_LENGTH})-\d{{4}}(?:-\d\d)*",
    # MetaTrader: EURUSD_M1_202401020000_202401312359, EURUSD1440
    r"(?P<symbol>[^_]+)_(?P<length>M1|M5|M15|M30|H1|H4|D1|W1|MN1|Daily|Weekly|Monthly)(?:_\d{8,12}){0,2}",
    # Dukascopy: EURUSD_Candlestick_1_h_BID_01.01.2024-31.01.2024
    r"(?P<symbol>[^_]+)_Candlestick_(?P<length>\d+_[A-Za-z]+)_(?:BID|ASK)_.*",
    # TradingView: NASDAQ_AAPL, 1D_5f3a1
    r"(?:[A-Z]+_)?(?P<symbol>[^,]+), (?P<length>\w+?)(?:_\w+)?",
    # Kraken: XBTUSD_60
    r"(?P<symbol>[A-Z0-9.]{3,})_(?P<length>1|5|15|30|60|240|720|1440)",
    # investing.com: Apple Historical Data
    r"(?P<symbol>.+?) (?:Stock Price )?(?:History|Historical (?:Data|Prices))",
    # SPY_1d, SPY.1h, SPY-5min
    rf"(?P<symbol>.+?)[-_. ](?P<length>{_LENGTH})",
    r"(?P<symbol>.+?)[-_. ](?P<length>[dw]|daily|weekly|monthly)",
    # FirstRate: AAPL_1min_firstratedata, AAPL_full_1hour_adjsplit
    rf"(?P<symbol>[^_ ]+)_(?:full_)?(?P<length>{_LENGTH})_\w+",
)


def plain_name(text: str) -> str:
    """Return the name of a column as `ALIASES` has it."""
    name = text.strip().strip("\"'").strip("<>").strip().lower().replace("_", " ")
    return re.sub(r"\s*\((?:utc|gmt|usd|eur)\)$", "", name)


def read_label(text: str) -> str | None:
    """Return the label of a length of bars in a vendor's words too: D, 60, H4, daily; None if it is none."""
    text = text.strip()
    if text.isdecimal():
        # A bare number is one of minutes.
        text = f"{int(text)}m" if int(text) else ""
    timeframe = read_timeframe(
        _WORDS.get(text.upper() if text != "m" else text, text.replace("_", "").replace(" ", ""))
    )
    return None if timeframe is None else str(timeframe)


def read_file_name(name: str) -> tuple[str, str | None]:
    """Return the symbol and the length of bars that the name of a file says; None where it says no length."""
    name = re.sub(r" ?\(\d+\)$", "", name.strip())
    for pattern in _FILES:
        match = re.fullmatch(pattern, name)
        if match is not None:
            found = match.groupdict()
            label = read_label(found["length"]) if found.get("length") else None
            if label is not None or found.get("length") is None:
                return found["symbol"].strip(), label
    return name, None
