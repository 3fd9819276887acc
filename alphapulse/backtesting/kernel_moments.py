"""Sums over the returns of each lane, from which the metrics and the block moments are made.

Equity waits in a small buffer until four bars or the end of a block are there: reading and writing the sums once for four
bars, not once for each, is half the cost. The additions and their order are those of one bar at a time.
"""

from alphapulse.backtesting.kernel_state import (
    ACTIVE,
    BLOCK_SQUARE,
    BLOCK_SUM,
    CUBE,
    DEEPEST,
    DOWNSIDE,
    FOURTH,
    HIGHEST,
    LANES,
    LOSSES,
    LOWEST,
    N_GAINS,
    N_LOSSES,
    PEAK,
    RISK_FREE,
    SQUARE,
    SUM,
)
from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


@jit
def add_returns(
    begin: int, end: int, start: int, benchmark: Float64Array1D, equity: Float64Array2D, state: Float64Array1D
) -> None:
    """Add the returns of bars [begin, end) of a tile to the sums.

    Parameters
    ----------
    begin, end : int
        Places in the tile; row i + 1 of `equity` is the close of its bar i.
    start : int
        Bar of the tile's first row.
    benchmark : (n_bars,) float64
        Returns of the benchmark [1].
    equity : (n_tile + 1, LANES) float64
        Equity at the closes [quote].
    state : (N_ROWS * LANES,) float64
        Changed.
    """
    for i in range(begin, end):
        b = benchmark[start + i]
        for lane in range(LANES):
            before = equity[i, lane]
            e = equity[i + 1, lane]
            r = e / before - 1.0
            # A ruined trial returns 0 on an equity of 0.
            r = r if before > 0.0 else 0.0
            square = r * r
            active = r - b
            excess = r - state[RISK_FREE * LANES + lane]
            excess = excess if excess < 0.0 else 0.0
            state[BLOCK_SUM * LANES + lane] += r
            state[BLOCK_SQUARE * LANES + lane] += square
            state[CUBE * LANES + lane] += square * r
            state[FOURTH * LANES + lane] += square * square
            state[ACTIVE * LANES + lane] += active * active
            state[DOWNSIDE * LANES + lane] += excess * excess
            state[LOSSES * LANES + lane] += r if r < 0.0 else 0.0
            state[N_GAINS * LANES + lane] += 1.0 if r > 0.0 else 0.0
            state[N_LOSSES * LANES + lane] += 1.0 if r < 0.0 else 0.0
            lowest = state[LOWEST * LANES + lane]
            state[LOWEST * LANES + lane] = r if r < lowest else lowest
            highest = state[HIGHEST * LANES + lane]
            state[HIGHEST * LANES + lane] = r if r > highest else highest
            peak = state[PEAK * LANES + lane]
            peak = e if e > peak else peak
            state[PEAK * LANES + lane] = peak
            depth = e / peak
            deepest = state[DEEPEST * LANES + lane]
            state[DEEPEST * LANES + lane] = depth if depth < deepest else deepest


@jit
def close_block(
    block: int,
    trials: Int64Array1D,
    n_lanes: int,
    state: Float64Array1D,
    block_sums: Float64Array2D,
    block_squares: Float64Array2D,
) -> None:
    """Write the sums of the running block out, add them to the totals and start the next block."""
    for lane in range(n_lanes):
        block_sums[trials[lane], block] = state[BLOCK_SUM * LANES + lane]
        block_squares[trials[lane], block] = state[BLOCK_SQUARE * LANES + lane]
    for lane in range(LANES):
        state[SUM * LANES + lane] += state[BLOCK_SUM * LANES + lane]
        state[SQUARE * LANES + lane] += state[BLOCK_SQUARE * LANES + lane]
        state[BLOCK_SUM * LANES + lane] = 0.0
        state[BLOCK_SQUARE * LANES + lane] = 0.0
