"""How a group's state begins, and the sums of its trials at its end."""

import math
from collections.abc import Mapping

import numpy as np

from alphapulse.backtesting.kernel import state as row
from alphapulse.backtesting.kernel.state import EQUAL, LANES, N_ROWS, TINY, Lanes, Outputs, Tape
from alphapulse.backtesting.params import LEVEL_CODES, SIZING_CODES, level_factors
from alphapulse.backtesting.sums import Sums
from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D, Int64Array2D


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
    cost, given = values["commission"] + values["slippage"], values["risk_free_rate"]
    by_risk = values["sizing.kind"] == SIZING_CODES["risk"]
    percent_trails = values["stop.kind"] == LEVEL_CODES["percent"]
    trails = values["stop.trailing"] != 0.0
    most, margin = values["max_leverage"], values["maintenance_margin"]
    # An order leaves a position of at most `max_leverage` times the equity; a little less equity than it leaves makes
    # up for rounding.
    least_equity = _quotient(np.full(len(most), 1.0 - 2.0**-8), most)
    rows = {
        row.CASH: values["initial_capital"],
        row.BEFORE: values["initial_capital"],
        row.PEAK: values["initial_capital"],
        row.LOW: values["initial_capital"],
        row.HIGH: values["initial_capital"],
        row.COST: cost,
        row.STOP_COST: cost + values["stop_slippage"],
        row.BAND: values["rebalance_band"] + EQUAL,
        row.LEVERAGE: most,
        row.SHORTEST: np.where(values["allow_short"] != 0.0, -most, 0.0),
        row.MARGIN: margin,
        row.LONG_EDGE: (1.0 - least_equity) / (1.0 - margin),
        row.SHORT_EDGE: (-1.0 - least_equity) / (1.0 + margin),
        row.INTEREST: values["cash_rate"] / periods,
        row.BORROW: values["short_borrow_rate"] / periods,
        row.RISK_FREE: np.where(np.isnan(given), values["cash_rate"], given) / periods,
        row.KIND: values["stop.kind"],
        row.FACTOR: level_factors(values),
        # An atr stop keeps the distance of the opening, a percent stop takes its own of each close.
        row.TRAIL: np.where(trails, np.where(percent_trails, 0.0, 1.0), math.inf),
        row.TRAIL_RATE: np.where(trails & percent_trails, values["stop.percent"], 0.0),
        row.REENTRY: values["reentry"],
        row.ATR_ROW: atr_row,
        row.PER_ORDER: values["commission_per_order"],
        row.PER_UNIT: values["commission_per_unit"],
        row.MINIMUM: values["commission_minimum"],
        row.COMMISSION: values["commission"],
        row.SLIPPAGE: values["slippage"],
        row.STOP_SLIPPAGE: values["stop_slippage"],
        row.LOT: values["lot"],
        row.TAKE_KIND: values["take_profit.kind"],
        row.TAKE_FACTOR: level_factors(values, "take_profit"),
        row.MAX_BARS: np.where(values["max_bars"] > 0.0, values["max_bars"], math.inf),
        # Without a stop the factor is infinite and nothing is risked.
        row.RISK: np.where(by_risk, _quotient(values["sizing.risk_per_trade"], level_factors(values)), math.nan),
    }
    states[:, list(rows)] = np.stack(list(rows.values()))[:, trials].swapaxes(0, 1)
    for name in (row.STOP, row.TRIGGER, row.HIGHEST):
        states[:, name] = -math.inf
    for name in (row.DISTANCE, row.LOWEST, row.TAKE):
        states[:, name] = math.inf
    states[:, row.EXITED] = -1.0
    return states.reshape(len(trials), N_ROWS * LANES)


@np.errstate(divide="ignore", invalid="ignore")
def _quotient(dividend: Float64Array1D, divisor: Float64Array1D) -> Float64Array1D:
    """Return the quotient (n_trials,), infinite where the divisor is 0, and 0 of 0 by 0."""
    return np.nan_to_num(dividend / divisor, nan=0.0, posinf=math.inf)


def set_first_target(lanes: Lanes, target: Float64Array1D) -> None:
    """Make `target` (n_trials,) [1], decided at the bar before the first, the one that is due there."""
    rows = lanes.states.reshape(len(lanes.trials), N_ROWS, LANES)
    a = target[lanes.trials]
    rows[:, row.BAD] = ~np.isfinite(a)
    a = np.where((np.abs(a) <= EQUAL) & (np.abs(a) != TINY), 0.0, np.nan_to_num(a))
    rows[:, row.LAST_TARGET] = np.clip(a, rows[:, row.SHORTEST], rows[:, row.LEVERAGE])


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


@jit
def write_moments(
    outputs: Outputs, trials: Int64Array1D, block_sums: Float64Array2D, block_squares: Float64Array2D
) -> None:
    """Write the block moments of the lanes in `outputs` to the rows of their `trials` in (n_trials, n_blocks)."""
    for i in range(trials.shape[0]):
        group, lane, trial = i // LANES, i % LANES, trials[i]
        for block in range(block_sums.shape[1]):
            block_sums[trial, block] = outputs.block_sums[group, block, lane]
            block_squares[trial, block] = outputs.block_squares[group, block, lane]


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
    mean = rows[row.SUM] / n
    square, cube = rows[row.SQUARE], rows[row.CUBE]
    m2 = square - n * mean * mean
    benchmark_mean = benchmark_sums[0] / n
    benchmark_m2 = benchmark_sums[1] - n * benchmark_mean * benchmark_mean
    active_mean = mean - benchmark_mean
    active_m2 = rows[row.ACTIVE] - n * active_mean * active_mean
    is_open = rows[row.UNITS] != 0.0
    return Sums(
        n=n,
        mean=mean,
        m2=m2,
        m3=cube - 3.0 * mean * square + 2.0 * n * mean * mean * mean,
        m4=rows[row.FOURTH] - 4.0 * mean * cube + 6.0 * mean * mean * square - 3.0 * n * mean * mean * mean * mean,
        lowest=rows[row.LOWEST],
        highest=rows[row.HIGHEST],
        downside=rows[row.DOWNSIDE],
        drawdown=rows[row.LOW] / rows[row.HIGH] - 1.0,
        growth=rows[row.BEFORE] / capital,
        benchmark_mean=benchmark_mean,
        benchmark_m2=benchmark_m2,
        # 2 cov(r, b) = var(r) + var(b) - var(r - b): one sum less in the loop over bars.
        cross=0.5 * (m2 + benchmark_m2 - active_m2),
        active_m2=active_m2,
        n_exposed=rows[row.HELD] + rows[row.SPELLS] + np.where(is_open, n_bars - 1.0 - rows[row.OPENED], 0.0),
        traded=rows[row.TRADED],
        costs=rows[row.COSTS],
        n_trades=rows[row.N_CLOSED],
        n_wins=rows[row.N_WINS],
        n_losses=rows[row.N_LOST],
        won=rows[row.WON],
        lost=rows[row.LOST],
        # Equity less interest is the capital and all net profits.
        net_profit=np.where(is_open, rows[row.BASE], rows[row.BEFORE] - rows[row.EARNED]) - capital,
        bars_held=rows[row.HELD],
        longest=rows[row.LONGEST],
        risk_free=rows[row.RISK_FREE],
        periods_per_year=periods,
    )
