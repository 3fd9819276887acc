"""The bars that an engine runs over, with their calendar: of a search, of a hold-out, or of a single backtest."""

from dataclasses import dataclass

from alphapulse.market.bars import Bars
from alphapulse.market.calendar import calendar_blocks, starts_period
from alphapulse.typing import BoolArray1D, Int64Array1D


@dataclass(frozen=True)
class Market:
    """Warm-up and scored bars, with the calendar that frequencies and block moments need.

    Attributes
    ----------
    bars : Bars
        Warm-up bars first, then the scored ones; nothing after them.
    first : int
        Place of the first scored bar in `bars`.
    block_end : (n_blocks,) int64
        Place in `bars` one past the last bar of each calendar block; the first block starts at `first`,
        the last ends with the bars.
    block_unit : {"day", "week", "month"}
        What a block is.
    week_start, month_start : (n_bars,) bool
        Whether a bar is the first of a new ISO week or calendar month (by its start, UTC).
    fingerprint : str
        Hexadecimal hash of the data of the study, hold-out included; empty where there is no study.
    members : tuple of Market
        Of a universe the markets of its symbols, see `universe.universe_market`; empty where one symbol is traded.
    """

    bars: Bars
    first: int
    block_end: Int64Array1D
    block_unit: str
    week_start: BoolArray1D
    month_start: BoolArray1D
    fingerprint: str
    members: tuple["Market", ...] = ()

    @classmethod
    def of(cls, bars: Bars, first: int, fingerprint: str) -> "Market":
        """Return the market of `bars`, scored from place `first` on, with its calendar."""
        block_end, block_unit = calendar_blocks(bars.timestamp, first=first)
        week_start = starts_period(bars.timestamp, "week", first=first)
        month_start = starts_period(bars.timestamp, "month", first=first)
        for array in (block_end, week_start, month_start):
            array.flags.writeable = False
        return cls(bars, first, block_end, block_unit, week_start, month_start, fingerprint)

    @property
    def is_account(self) -> bool:
        """Whether many symbols are traded in one account, see `account.account_market`."""
        return bool(self.bars.symbols)

    @property
    def n_blocks(self) -> int:
        """Calendar blocks in the scored window."""
        return len(self.block_end)

    @property
    def n_scored(self) -> int:
        """Bars in the scored window."""
        return len(self.bars) - self.first
