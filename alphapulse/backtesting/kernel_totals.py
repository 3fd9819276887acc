"""How a group's state begins, and the sums of its trials at its end."""

import math
from collections.abc import Mapping

import numpy as np

from alphapulse.backtesting.kernel_state import (
    ACTIVE,
    ATR_ROW,
    BAD,
    BAND,
    BEFORE,
    BORROW,
    CASH,
    COST,
    COSTS,
    CUBE,
    DISTANCE,
    DOWNSIDE,
    EXPOSED,
    FACTOR,
    FILLS,
    FOURTH,
    HIGH,
    HIGHEST,
    INTEREST,
    KIND,
    LANES,
    LAST_TARGET,
    LEVERAGE,
    LOSSES,
    LOW,
    LOWEST,
    N_GAINS,
    N_LOSSES,
    N_ROWS,
    PEAK,
    REENTRY,
    RISK_FREE,
    SQUARE,
    STOP,
    STOP_COST,
    STOPPED,
    SUM,
    TRADED,
    TRAILING,
    UNITS,
    WATCH_BAND,
    Lanes,
    Tape,
)
from alphapulse.backtesting.models import stop_factors
from alphapulse.backtesting.sums import Sums
from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array2D


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
        KIND: values["stop.kind"],
        FACTOR: stop_factors(values),
        TRAILING: values["stop.trailing"],
        REENTRY: values["reentry"],
        ATR_ROW: atr_row,
    }
    for row, column in rows.items():
        states[:, row] = column[trials]
    given, cash = values["risk_free_rate"], values["cash_rate"]
    states[:, RISK_FREE] = (np.where(np.isnan(given), cash, given) / periods)[trials]
    for row in (STOP, HIGHEST):
        states[:, row] = -math.inf
    for row in (DISTANCE, LOWEST):
        states[:, row] = math.inf
    states[:, STOPPED] = -1.0
    return states.reshape(len(trials), N_ROWS * LANES)


def set_first_target(lanes: Lanes, target: Float64Array1D) -> None:
    """Make `target` (n_trials,) [1], decided at the bar before the first, the one that is due there."""
    rows = lanes.states.reshape(len(lanes.trials), N_ROWS, LANES)
    a = target[lanes.trials]
    rows[:, BAD] = ~np.isfinite(a)
    rows[:, LAST_TARGET] = np.clip(np.nan_to_num(a), -rows[:, LEVERAGE], rows[:, LEVERAGE])


@jit
def sum_benchmark(tape: Tape) -> Float64Array1D:
    """Return the sums (2,) of the benchmark's returns and of their squares over the scored bars (4.4)."""
    benchmark = tape.benchmark
    sums = np.zeros(2)
    for t in range(tape.first, benchmark.shape[0]):
        sums[0] += benchmark[t]
        sums[1] += benchmark[t] * benchmark[t]
    return sums


def last_rows(states: Float64Array2D, n_trials: int) -> Float64Array2D:
    """Return the rows (N_ROWS, n_trials) of the first `n_trials` lanes of some groups' states."""
    rows: Float64Array2D = states.reshape(len(states), N_ROWS, LANES).swapaxes(0, 1).reshape(N_ROWS, -1)
    return rows[:, :n_trials]


@np.errstate(all="ignore")
def sums_of_states(
    rows: Float64Array2D,
    n_scored: int,
    n_bars: int,
    benchmark_sums: Float64Array1D,
    periods: Float64Array1D,
    capital: Float64Array1D,
) -> Sums:
    """Return the sums of trials from their states after the last bar.

    Parameters
    ----------
    rows : (N_ROWS, n_trials) float64
        As `last_rows` returns them.
    n_scored, n_bars : int
        Scored bars, and bars with the warm-up.
    benchmark_sums : (2,) float64
        As `sum_benchmark` returns them.
    periods, capital : (n_trials,) float64
        Bars in a year [1], and equity before the first bar [quote].
    """
    n = np.full(rows.shape[1], float(n_scored))
    mean = rows[SUM] / n
    square, cube = rows[SQUARE], rows[CUBE]
    m2 = square - n * mean * mean
    benchmark_mean = benchmark_sums[0] / n
    benchmark_m2 = benchmark_sums[1] - n * benchmark_mean * benchmark_mean
    active_mean = mean - benchmark_mean
    active_m2 = rows[ACTIVE] - n * active_mean * active_mean
    return Sums(
        n=n,
        mean=mean,
        m2=m2,
        m3=cube - 3.0 * mean * square + 2.0 * n * mean * mean * mean,
        m4=rows[FOURTH] - 4.0 * mean * cube + 6.0 * mean * mean * square - 3.0 * n * mean * mean * mean * mean,
        lowest=rows[LOWEST],
        highest=rows[HIGHEST],
        downside=rows[DOWNSIDE],
        gains=rows[SUM] - rows[LOSSES],
        losses=rows[LOSSES],
        n_gains=rows[N_GAINS],
        n_losses=rows[N_LOSSES],
        drawdown=rows[LOW] / rows[HIGH] - 1.0,
        growth=rows[BEFORE] / capital,
        benchmark_mean=benchmark_mean,
        benchmark_m2=benchmark_m2,
        # 2 cov(r, b) = var(r) + var(b) - var(r - b): one sum less in the loop over bars.
        cross=0.5 * (m2 + benchmark_m2 - active_m2),
        active_m2=active_m2,
        n_fills=rows[FILLS],
        n_exposed=rows[EXPOSED] + np.where(rows[UNITS] != 0.0, float(n_bars), 0.0),
        traded=rows[TRADED],
        costs=rows[COSTS],
        risk_free=rows[RISK_FREE],
        periods_per_year=periods,
    )
