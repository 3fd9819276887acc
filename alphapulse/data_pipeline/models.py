"""One bar as a record of its own, checked; the pipeline itself passes whole tables, see `providers.base`."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from alphapulse.market.bars import PRICES, impossible_prices, impossible_volumes
from alphapulse.market.timeframes import parse_timeframe

COLUMNS = ("timestamp", "symbol", "timeframe", *PRICES, "volume")


@dataclass(frozen=True)
class OHLCVRecord:
    """One bar.

    Open and close may lie outside [low, high]: real feeds publish such bars (the VIX's opens), and they are
    stored as published and warned about (`quality.data_warnings`).

    Attributes
    ----------
    timestamp : datetime
        Start of the bar, with a time zone; kept as UTC. A daily bar is its date at 00:00Z.
    symbol, timeframe : str
        What is traded, and the length of the bar ("1d", "1h").
    open, high, low, close : float
        Prices [quote], positive and finite, high not below low.
    volume : float
        Traded volume, not negative; NaN where unknown.

    Raises
    ------
    ValueError, TypeError
        If one of these does not hold.
    """

    timestamp: datetime
    symbol: str
    timeframe: str
    open: float
    high: float
    low: float
    close: float
    volume: float = math.nan

    def __post_init__(self) -> None:
        if not isinstance(self.timestamp, datetime):
            raise TypeError(f"`timestamp` must be a datetime, but got {self.timestamp!r}.")
        if self.timestamp.utcoffset() is None:
            raise ValueError(f"`timestamp` must carry a time zone, but got {self.timestamp.isoformat()}; use UTC.")
        object.__setattr__(self, "timestamp", self.timestamp.astimezone(UTC))
        if not isinstance(self.symbol, str) or not self.symbol:
            raise ValueError(f"`symbol` must be a non-empty text, but got {self.symbol!r}.")
        object.__setattr__(self, "timeframe", str(parse_timeframe(self.timeframe)))
        for name in PRICES:
            price = float(getattr(self, name))
            object.__setattr__(self, name, price)
            if impossible_prices(price):
                raise ValueError(f"`{name} > 0` and finite must hold, but got {name}={price!r} for {self.symbol!r}.")
        if self.high < self.low:
            raise ValueError(
                f"`high >= low` must hold, but got high={self.high!r}, low={self.low!r} for {self.symbol!r}."
            )
        object.__setattr__(self, "volume", float(self.volume))
        if impossible_volumes(self.volume):
            raise ValueError(f"`volume >= 0` must hold, but got volume={self.volume!r} for {self.symbol!r}.")
