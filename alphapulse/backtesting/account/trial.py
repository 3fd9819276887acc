"""One trial of an account with its curves, fills and trades written out: the same run, and bits, as in a batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alphapulse.backtesting.account.batch import AccountRecording, simulate_account
from alphapulse.backtesting.account.state import DELISTED_FILL
from alphapulse.backtesting.batch import FAILED, RUINED, EngineColumns
from alphapulse.backtesting.curve_metrics import curve_metrics
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.models import BacktestResult, EngineParams, Position
from alphapulse.backtesting.trades import Trade, excursions
from alphapulse.backtesting.trial import fill_table, trade_table
from alphapulse.market.account import member_bars
from alphapulse.market.market import Market
from alphapulse.typing import Float64Array2D, Int64Array1D

AT_CLOSE = "next_close", "same_close"


@dataclass
class OneAccount:
    """Targets and average true ranges (n_bars, n_symbols) of one trial that are there already: `AccountTargets`."""

    target: Float64Array2D
    atr: Float64Array2D
    failures: Mapping[int, str] = field(default_factory=dict)

    def groups(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield the trial."""
        yield np.zeros(1, dtype=np.int64), self.target, self.atr


def run_account_trial(
    market: Market, target: Float64Array2D, atr: Float64Array2D | None, params: EngineParams
) -> BacktestResult:
    """Run one trial over the scored bars of an account's market and keep its curves, fills and trades.

    Parameters
    ----------
    market : Market
        Of an account, see `account_market`.
    target : (n_bars, n_symbols) float64
        Decided at the close of each bar, warm-up included [1].
    atr : (n_bars, n_symbols) float64, optional
        Average true ranges [quote]; NaN, or None, where undefined.
    params : EngineParams

    Raises
    ------
    ValueError
        If a target that the scored bars need is NaN or infinite, or a shape differs.
    """
    bars, shape = market.bars, (len(market.bars), len(market.bars.symbols))
    for name, given in (("target", target), ("atr", atr)):
        if given is not None and np.shape(given) != shape:
            raise ValueError(f"`{name}` must have one value a bar and symbol, {shape}, but got {np.shape(given)}.")
    ranges = np.full(shape, np.nan) if atr is None else np.asarray(atr, dtype=np.float64)
    recording = AccountRecording()
    outcome = simulate_account(market, OneAccount(target, ranges), EngineColumns.build(params), recording=recording)
    if outcome.status[0] == FAILED:
        raise ValueError("`target` must be finite on every bar and symbol; a strategy says 0 for no position.")
    times = pd.DatetimeIndex(bars.timestamp.astype("datetime64[ns]"), tz="UTC", name="timestamp")
    index = times[market.first :]
    equity = recording.equity
    before = np.r_[params.initial_capital, equity[:-1]]
    returns = np.divide(equity, before, out=np.ones_like(equity), where=before > 0.0) - 1.0
    held = recording.curves[:, 2:] * _marks(market)
    weights = np.divide(held, equity[:, None], out=np.zeros_like(held), where=equity[:, None] > 0.0)
    trips, symbols = _round_trips(market, recording, at_open=params.execution not in AT_CLOSE)
    fills = recording.fills
    names = np.array(bars.symbols, dtype=object)
    filled = fill_table(fills, times)
    filled.insert(1, "symbol", names[fills[:, 8].astype(np.int64)])
    trades = trade_table(trips, times)
    trades.insert(1, "symbol", names[np.array(symbols, dtype=np.int64)])
    metrics = {name: float(value) for name, value in zip(METRICS, outcome.metrics[0], strict=True)}
    return BacktestResult(
        equity=pd.Series(equity, index, name="equity"),
        returns=pd.Series(returns, index, name="returns"),
        allocation=pd.Series(weights.sum(axis=1), index, name="allocation"),
        trades=trades,
        fills=filled,
        metrics=metrics | curve_metrics(returns, index.asi8, trips),
        ruined=bool(outcome.status[0] == RUINED),
        n_both=recording.n_both,
        weights=pd.DataFrame(weights, index, columns=list(bars.symbols)),
        positions=tuple(_positions(market, recording, trips, symbols, times)),
        targets=dict(zip(bars.symbols, target[-1].tolist(), strict=True)),
    )


def _marks(market: Market) -> Float64Array2D:
    """Return the last close of each symbol at each scored bar (n_scored, n_symbols) [quote]; 0 before its first."""
    marks = pd.DataFrame(market.bars.matrix()).ffill().fillna(0.0).to_numpy()
    found: Float64Array2D = marks[market.first :]
    return found


def _round_trips(market: Market, recording: AccountRecording, *, at_open: bool) -> tuple[list[Trade], list[int]]:
    """Return the round trips of all symbols in the order of their openings, and the symbol of each.

    Bars are those of the account; excursions are those of the symbol's own bars.
    """
    trips: list[Trade] = []
    symbols: list[int] = []
    running: dict[int, Trade] = {}
    for bar, reason, price, _, _, _, equity, after, place, profit in map(np.ndarray.tolist, recording.fills):
        s = int(place)
        trade = running.get(s)
        if trade is not None and (after == 0.0 or (after > 0.0) != (trade.units > 0.0)):
            trade.exit_bar, trade.exit_price, trade.cause, trade.net_profit = int(bar), price, reason, profit
            del running[s]
        if s not in running and after != 0.0:
            running[s] = Trade(after, int(bar), price, equity, 0.0)
            trips.append(running[s])
            symbols.append(s)
    for s, trade in running.items():
        trade.exit_bar, trade.net_profit = len(market.bars) - 1, float(recording.profit[s])
    marks = _marks(market)[-1]
    for s in set(symbols):
        own = member_bars(market.bars, market.bars.symbols[s])
        place_of = np.searchsorted(own.timestamp, market.bars.timestamp)
        for trade, symbol in zip(trips, symbols, strict=True):
            if symbol == s:
                if trade.cause < 0.0:
                    trade.exit_price = float(marks[s])
                entry, left = int(place_of[trade.entry_bar]), min(int(place_of[trade.exit_bar]), len(own) - 1)
                alike = Trade(trade.units, entry, trade.entry_price, 0.0, 0.0, left, trade.exit_price, trade.cause)
                alike.cause = -1.0 if trade.cause == DELISTED_FILL else trade.cause
                trade.worst, trade.best = excursions(own, alike, at_open)
    return trips, symbols


def _positions(
    market: Market, recording: AccountRecording, trips: list[Trade], symbols: list[int], times: pd.DatetimeIndex
) -> Iterator[Position]:
    units, marks = recording.curves[-1, 2:], _marks(market)[-1]
    for trade, s in zip(trips, symbols, strict=True):
        if trade.cause >= 0.0:
            continue
        d = trade.direction
        levels: list[Any] = [float(d * x) if np.isfinite(x) else None for x in (recording.stop[s], recording.take[s])]
        yield Position(
            symbol=market.bars.symbols[s],
            units=float(units[s]),
            entry_time=times[trade.entry_bar],
            entry_price=trade.entry_price,
            stop=levels[0],
            take_profit=levels[1],
            value=float(units[s] * marks[s]),
            unrealised_profit=trade.net_profit,
        )
