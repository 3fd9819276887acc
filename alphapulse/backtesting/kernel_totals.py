"""How a group's state begins, and how its sums become metrics."""

import math
from collections.abc import Mapping

import numpy as np

from alphapulse.backtesting import metrics as places
from alphapulse.backtesting.kernel_state import (
    ACTIVE,
    ATR_ROW,
    ATR_STOP,
    BAD,
    BAND,
    BEFORE,
    BORROW,
    BY_RANGE,
    CASH,
    COST,
    COSTS,
    CUBE,
    DISTANCE,
    DOWNSIDE,
    EXPOSED,
    FILLS,
    FOURTH,
    HIGH,
    HIGHEST,
    INTEREST,
    LANES,
    LAST_TARGET,
    LEVERAGE,
    LOSSES,
    LOW,
    LOWEST,
    MULTIPLIER,
    N_GAINS,
    N_LOSSES,
    N_ROWS,
    PEAK,
    PERCENT,
    PERCENT_STOP,
    REENTRY,
    RISK_FREE,
    RUINED,
    SQUARE,
    STOP,
    STOP_COST,
    STOPPED,
    SUM,
    TRADED,
    TRAILING,
    UNITS,
    WATCH_BAND,
)
from alphapulse.backtesting.metrics import N_SUMS, finalise, per_bar_rate
from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D, Int64Array2D


def initial_states(
    values: Mapping[str, Float64Array1D], trials: Int64Array2D, atr_row: Float64Array1D, periods: Float64Array1D
) -> Float64Array2D:
    """Return the state (n_groups, N_ROWS * LANES) of trials that have seen no bar.

    Parameters
    ----------
    values : mapping of str to (n_trials,) float64
        Engine fields, as in `EngineColumns`.
    trials : (n_groups, LANES) int64
        Trial of each lane.
    atr_row : (n_trials,) float64
        Row of the average true range that each trial uses.
    periods : (n_trials,) float64
        Bars in a year [1].
    """
    states = np.zeros((len(trials), N_ROWS, LANES))
    cost = values["commission"] + values["slippage"]
    band = values["rebalance_band"]
    rows = {
        CASH: values["initial_capital"],
        BEFORE: values["initial_capital"],
        PEAK: values["initial_capital"],
        LOW: values["initial_capital"],
        HIGH: values["initial_capital"],
        COST: cost,
        STOP_COST: cost + values["stop_slippage"],
        BAND: band,
        # The watch multiplies where the definition divides; what rounding could hide is looked at closely.
        WATCH_BAND: band * (1.0 - 1e-9) - 1e-13,
        LEVERAGE: values["max_leverage"],
        INTEREST: values["cash_rate"] / periods,
        BORROW: values["short_borrow_rate"] / periods,
        BY_RANGE: values["stop.kind"] == ATR_STOP,
        PERCENT: np.where(values["stop.kind"] == PERCENT_STOP, values["stop.percent"], math.inf),
        MULTIPLIER: values["stop.multiplier"],
        TRAILING: values["stop.trailing"],
        REENTRY: values["reentry"],
        ATR_ROW: atr_row,
    }
    for row, column in rows.items():
        states[:, row] = column[trials]
    if values["risk_free_rate"].any():
        rates = [per_bar_rate(float(a), float(p)) for a, p in zip(values["risk_free_rate"], periods, strict=True)]
        states[:, RISK_FREE] = np.array(rates)[trials]
    for row in (STOP, HIGHEST):
        states[:, row] = -math.inf
    for row in (DISTANCE, LOWEST):
        states[:, row] = math.inf
    states[:, STOPPED] = -1.0
    return states.reshape(len(trials), N_ROWS * LANES)


def set_first_target(states: Float64Array2D, trials: Int64Array2D, target: Float64Array1D) -> None:
    """Make `target` (n_trials,) [1], decided at the bar before the first, the one that is due there."""
    rows = states.reshape(len(trials), N_ROWS, LANES)
    a = target[trials]
    rows[:, BAD] = ~np.isfinite(a)
    rows[:, LAST_TARGET] = np.clip(np.nan_to_num(a), -rows[:, LEVERAGE], rows[:, LEVERAGE])


@jit
def sum_benchmark(benchmark: Float64Array1D, first: int) -> Float64Array1D:
    """Return the sums of the benchmark's returns and of their squares over the scored bars."""
    sums = np.zeros(2)
    for t in range(first, benchmark.shape[0]):
        sums[0] += benchmark[t]
        sums[1] += benchmark[t] * benchmark[t]
    return sums


@jit
def collect(
    states: Float64Array2D,
    trials: Int64Array2D,
    n_lanes: Int64Array1D,
    n_scored: int,
    n_bars: int,
    benchmark_sums: Float64Array1D,
    periods: Float64Array1D,
    capital: Float64Array1D,
    metrics: Float64Array2D,
    status: Int8Array1D,
) -> None:
    """Fill the `metrics` (n_trials, 19) and `status` (n_trials,) of the trials of some groups from their states."""
    sums = np.empty(N_SUMS)
    n = float(n_scored)
    for group in range(trials.shape[0]):
        state = states[group].reshape(N_ROWS, LANES)
        for lane in range(n_lanes[group]):
            trial = trials[group, lane]
            mean = state[SUM, lane] / n
            square = state[SQUARE, lane]
            benchmark_mean = benchmark_sums[0] / n
            active_mean = mean - benchmark_mean
            m2 = square - n * mean * mean
            sums[places.N] = n
            sums[places.MEAN] = mean
            sums[places.M2] = m2
            sums[places.M3] = state[CUBE, lane] - 3.0 * mean * square + 2.0 * n * mean * mean * mean
            sums[places.M4] = (
                state[FOURTH, lane]
                - 4.0 * mean * state[CUBE, lane]
                + 6.0 * mean * mean * square
                - 3.0 * n * mean * mean * mean * mean
            )
            sums[places.LOWEST] = state[LOWEST, lane]
            sums[places.HIGHEST] = state[HIGHEST, lane]
            sums[places.DOWNSIDE] = state[DOWNSIDE, lane]
            sums[places.GAINS] = state[SUM, lane] - state[LOSSES, lane]
            sums[places.LOSSES] = state[LOSSES, lane]
            sums[places.N_GAINS] = state[N_GAINS, lane]
            sums[places.N_LOSSES] = state[N_LOSSES, lane]
            sums[places.DRAWDOWN] = state[LOW, lane] / state[HIGH, lane] - 1.0
            sums[places.GROWTH] = state[BEFORE, lane] / capital[trial]
            sums[places.BENCHMARK_MEAN] = benchmark_mean
            sums[places.BENCHMARK_M2] = benchmark_sums[1] - n * benchmark_mean * benchmark_mean
            sums[places.ACTIVE_M2] = state[ACTIVE, lane] - n * active_mean * active_mean
            # 2 cov(r, b) = var(r) + var(b) - var(r - b): one sum less in the loop over bars.
            sums[places.CROSS] = 0.5 * (m2 + sums[places.BENCHMARK_M2] - sums[places.ACTIVE_M2])
            exposed = state[EXPOSED, lane]
            if state[UNITS, lane] != 0.0:
                exposed += n_bars
            sums[places.N_EXPOSED] = exposed
            sums[places.N_FILLS] = state[FILLS, lane]
            sums[places.TRADED] = state[TRADED, lane]
            sums[places.COSTS] = state[COSTS, lane]
            finalise(sums, state[RISK_FREE, lane], periods[trial], metrics[trial])
            if state[BAD, lane] != 0.0:
                status[trial] = 2
            elif state[RUINED, lane] != 0.0:
                status[trial] = 1
