"""Sums over the returns of each lane, from which metrics (4.4) and block moments (4.5) are made.

Equity waits in a small buffer until a block or a tile ends; then four bars at a time are added: reading and writing
the sums once for four bars, not once for each, is half the cost. The additions keep the order of one bar at a time.
"""

from typing import TypeAlias

from alphapulse.backtesting.kernel.state import (
    ACTIVE,
    BLOCK_SQUARE,
    BLOCK_SUM,
    CUBE,
    DOWNSIDE,
    FOURTH,
    HIGH,
    HIGHEST,
    LANES,
    LOW,
    LOWEST,
    PEAK,
    RISK_FREE,
    SQUARE,
    SUM,
    at,
)
from alphapulse.compiling import jit_inside
from alphapulse.typing import Float64Array1D, Float64Array2D

_Sums: TypeAlias = tuple[float, float, float, float, float, float, float, float, float, float, float]


@jit_inside
def _add(sums: _Sums, before: float, e: float, b: float, risk_free: float) -> _Sums:
    """Return the sums with one more bar in them: equity from `before` to `e` [quote], benchmark return `b` [1]."""
    total, squares, cube, fourth, active, downside, lowest, highest, peak, low, high = sums
    r = e / before - 1.0
    # A ruined trial returns 0 on an equity of 0.
    r = r if before > 0.0 else 0.0
    square = r * r
    ahead = r - b
    excess = r - risk_free
    excess = excess if excess < 0.0 else 0.0
    peak = e if e > peak else peak
    # e / peak < low / high, without the divisions that would be half of the cost of this function.
    deeper = e * high < low * peak
    return (
        total + r,
        squares + square,
        cube + square * r,
        fourth + square * square,
        active + ahead * ahead,
        downside + excess * excess,
        r if r < lowest else lowest,
        r if r > highest else highest,
        peak,
        e if deeper else low,
        peak if deeper else high,
    )


@jit_inside
def _load(state: Float64Array1D, lane: int) -> _Sums:
    return (
        state[at(BLOCK_SUM, lane)],
        state[at(BLOCK_SQUARE, lane)],
        state[at(CUBE, lane)],
        state[at(FOURTH, lane)],
        state[at(ACTIVE, lane)],
        state[at(DOWNSIDE, lane)],
        state[at(LOWEST, lane)],
        state[at(HIGHEST, lane)],
        state[at(PEAK, lane)],
        state[at(LOW, lane)],
        state[at(HIGH, lane)],
    )


@jit_inside
def _store(sums: _Sums, state: Float64Array1D, lane: int) -> None:
    state[at(BLOCK_SUM, lane)] = sums[0]
    state[at(BLOCK_SQUARE, lane)] = sums[1]
    state[at(CUBE, lane)] = sums[2]
    state[at(FOURTH, lane)] = sums[3]
    state[at(ACTIVE, lane)] = sums[4]
    state[at(DOWNSIDE, lane)] = sums[5]
    state[at(LOWEST, lane)] = sums[6]
    state[at(HIGHEST, lane)] = sums[7]
    state[at(PEAK, lane)] = sums[8]
    state[at(LOW, lane)] = sums[9]
    state[at(HIGH, lane)] = sums[10]


@jit_inside
def add_returns(
    begin: int, end: int, start: int, benchmark: Float64Array1D, equity: Float64Array2D, state: Float64Array1D
) -> None:
    """Add the returns of bars [begin, end) of a tile to the sums that 4.4 is made of.

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
    i = begin
    while i + 4 <= end:
        b0, b1, b2, b3 = (
            benchmark[start + i],
            benchmark[start + i + 1],
            benchmark[start + i + 2],
            benchmark[start + i + 3],
        )
        for lane in range(LANES):
            risk_free = state[at(RISK_FREE, lane)]
            e0, e1, e2 = equity[i, lane], equity[i + 1, lane], equity[i + 2, lane]
            e3, e4 = equity[i + 3, lane], equity[i + 4, lane]
            sums = _add(_load(state, lane), e0, e1, b0, risk_free)
            sums = _add(sums, e1, e2, b1, risk_free)
            sums = _add(sums, e2, e3, b2, risk_free)
            sums = _add(sums, e3, e4, b3, risk_free)
            _store(sums, state, lane)
        i += 4
    while i < end:
        b = benchmark[start + i]
        for lane in range(LANES):
            risk_free = state[at(RISK_FREE, lane)]
            _store(_add(_load(state, lane), equity[i, lane], equity[i + 1, lane], b, risk_free), state, lane)
        i += 1


@jit_inside
def close_block(
    block: int,
    state: Float64Array1D,
    sums: Float64Array2D,
    squares: Float64Array2D,
) -> None:
    """Write the running block to row `block` of (n_blocks, LANES) (4.5 Block moments), and start the next.

    Its sums are added to the totals that 4.4 is made of, block by block, so that both add up to the same.
    """
    for lane in range(LANES):
        sums[block, lane] = state[at(BLOCK_SUM, lane)]
        squares[block, lane] = state[at(BLOCK_SQUARE, lane)]
    for lane in range(LANES):
        state[at(SUM, lane)] += state[at(BLOCK_SUM, lane)]
        state[at(SQUARE, lane)] += state[at(BLOCK_SQUARE, lane)]
        state[at(BLOCK_SUM, lane)] = 0.0
        state[at(BLOCK_SQUARE, lane)] = 0.0
