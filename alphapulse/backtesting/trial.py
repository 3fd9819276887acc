"""One trial with its curves and fills written out: the same run, and the same bits, as a lane of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from alphapulse.backtesting.batch import FAILED, RUINED, EngineColumns, simulate_batch
from alphapulse.backtesting.curve_metrics import curve_metrics
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.models import BacktestResult, EngineParams, Position
from alphapulse.backtesting.recording import Recording
from alphapulse.backtesting.trades import FILL_REASONS, Trade, round_trips
from alphapulse.market.market import Market
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

SIDES = np.array(["sell", "buy"], dtype=object)
REASONS = np.array(list(FILL_REASONS.values()), dtype=object)


@dataclass
class ArrayTargets:
    """Targets that are there already, (n_trials, n_bars) [1], with one average true range for all trials."""

    target: Float64Array2D
    atr: Float64Array2D
    atr_row: Int64Array1D
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def order(self) -> Int64Array1D:
        """The trials as they come."""
        return np.arange(len(self.target))

    @classmethod
    def of(cls, target: Float64Array1D, atr: Float64Array1D | None = None) -> "ArrayTargets":
        """Return the block of one trial with `target` and `atr` (n_bars,) [quote]; without `atr` no atr stop is set."""
        column = np.ascontiguousarray(target, dtype=np.float64)
        rows = np.full(len(column), np.nan) if atr is None else np.ascontiguousarray(atr, dtype=np.float64)
        return cls(column[np.newaxis], rows[np.newaxis], np.zeros(1, dtype=np.int64))

    def fill(self, start: int, stop: int, trials: Int64Array1D, out: Float64Array2D) -> None:
        """Copy the targets of `trials` for bars [start, stop) to `out`."""
        out[:] = self.target[trials, start:stop]


def run_trial(
    market: Market,
    target: Float64Array1D,
    atr: Float64Array1D | None,
    params: EngineParams,
    *,
    benchmark: Float64Array1D | None = None,
) -> BacktestResult:
    """Run one trial over the scored bars of `market` and keep its curves and fills.

    Parameters
    ----------
    market : Market
        It gives the bars and the calendar.
    target : (n_bars,) float64
        Target allocation decided at the close of each bar, warm-up included [1].
    atr : (n_bars,) float64, optional
        Average true range that an atr stop takes its distance from [quote]; NaN, or None, where undefined: no stop.
    params : EngineParams
        It holds the engine's fields.
    benchmark : (n_bars,) float64, optional
        Per-bar returns of the benchmark [1]; by default buy and hold of the traded symbol.

    Returns
    -------
    BacktestResult
        Its bits are those that `simulate_batch` gives the trial.

    Raises
    ------
    ValueError
        If a target that the scored bars need is NaN or infinite, or lengths differ.
    """
    for name, given in (("target", target), ("atr", atr), ("benchmark", benchmark)):
        if given is not None and np.shape(given) != (len(market.bars),):
            raise ValueError(f"`{name}` must have one value a bar, ({len(market.bars)},), but got {np.shape(given)}.")
    recording = Recording.of(market)
    outcome = simulate_batch(
        market, ArrayTargets.of(target, atr), EngineColumns.build(params), recording=recording, benchmark=benchmark
    )
    if outcome.status[0] == FAILED:
        needed = np.arange(len(target)) >= max(market.first - (params.execution != "same_close"), 0)
        place = int(np.flatnonzero(needed & ~np.isfinite(target))[0])
        when = pd.Timestamp(market.bars.timestamp[place], tz="UTC")
        raise ValueError(
            f"`target` must be finite, but is {target[place]} at {when}; a strategy says 0 for no position."
        )
    result = _result(market, recording, params, outcome.metrics[0], bool(outcome.status[0] == RUINED))
    return replace(result, target=float(target[-1]))


def _result(
    market: Market, recording: Recording, params: EngineParams, metrics: Float64Array1D, ruined: bool
) -> BacktestResult:
    times = pd.DatetimeIndex(market.bars.timestamp.astype("datetime64[ns]"), tz="UTC", name="timestamp")
    index = times[market.first :]
    # Copies, or the result would hold all curves of the recording.
    equity, units = recording.curves[:, 0].copy(), recording.curves[:, 1]
    before = np.r_[params.initial_capital, equity[:-1]]
    alive = before > 0
    returns = np.zeros(len(equity))
    returns[alive] = equity[alive] / before[alive] - 1.0
    allocation = np.zeros(len(equity))
    allocation[equity > 0] = (units * market.bars.close[market.first :])[equity > 0] / equity[equity > 0]
    fills = recording.filled
    at_open = params.execution == "next_open"
    trips = round_trips(market.bars, market.first, fills, equity, recording.curves[:, 3], at_open=at_open)
    trades = trade_table(trips, times)
    values = {name: float(value) for name, value in zip(METRICS, metrics, strict=True)}
    return BacktestResult(
        equity=pd.Series(equity, index, name="equity"),
        returns=pd.Series(returns, index, name="returns"),
        allocation=pd.Series(allocation, index, name="allocation"),
        trades=trades,
        fills=fill_table(fills, times),
        metrics=values | curve_metrics(returns, index.asi8, trips),
        ruined=ruined,
        position=_position(market, recording, trips, times),
        n_both=int(recording.ends[2]),
    )


def fill_table(fills: Float64Array2D, times: pd.DatetimeIndex) -> pd.DataFrame:
    """Return fills (n_fills, n), whose first columns are `FILL_COLUMNS`, as a table, see `BacktestResult.fills`."""
    return pd.DataFrame(
        {
            "timestamp": times[fills[:, 0].astype(np.int64)],
            "side": SIDES[(fills[:, 3] > 0).astype(np.int64)],
            "reason": REASONS[fills[:, 1].astype(np.int64)],
            "price": fills[:, 2],
            "units": fills[:, 3],
            "value": fills[:, 4],
            "cost": fills[:, 5],
            "equity": fills[:, 6],
            "position": fills[:, 7],
        }
    )


def trade_table(trips: list[Trade], times: pd.DatetimeIndex) -> pd.DataFrame:
    """Return round trips as a table, see `BacktestResult.trades`."""

    def column(name: str) -> np.ndarray:
        return np.array([getattr(trip, name) for trip in trips], dtype=np.float64)

    def moment(name: str) -> pd.DatetimeIndex:
        return times[column(name).astype(np.int64)]

    return pd.DataFrame(
        {
            "timestamp": moment("entry_bar"),
            "exit_timestamp": moment("exit_bar"),
            "side": np.array(["long" if trip.units > 0 else "short" for trip in trips], dtype=object),
            "units": column("units"),
            "price": column("entry_price"),
            "exit_price": column("exit_price"),
            "reason": np.array([trip.reason for trip in trips], dtype=object),
            "net_profit": column("net_profit"),
            "return": column("net_profit") / column("equity"),
            "bars": column("exit_bar").astype(np.int64) - column("entry_bar").astype(np.int64),
            "worst_excursion": column("worst"),
            "best_excursion": column("best"),
        }
    )


def _position(market: Market, recording: Recording, trips: list[Trade], times: pd.DatetimeIndex) -> Position | None:
    units = float(recording.curves[-1, 1])
    if units == 0.0:
        return None
    trade, direction = trips[-1], np.sign(units)
    stop, take, _ = recording.ends.tolist()
    return Position(
        symbol=market.bars.symbol,
        units=units,
        entry_time=times[trade.entry_bar],
        entry_price=trade.entry_price,
        stop=float(direction * stop) if np.isfinite(stop) else None,
        take_profit=float(direction * take) if np.isfinite(take) else None,
        value=float(units * market.bars.close[-1]),
        unrealised_profit=trade.net_profit,
    )
