"""Many symbols as one trial: every setting on every symbol, and the metrics of holding their accounts in equal parts.

Returns are those of the portfolio (`market.universe`); money moved between accounts at the turn of a month costs
nothing. What only the engine knows is added up over the accounts, each of which begins with the initial capital:
trades, their profits and costs; exposure and turnover are means over the scored bars of all symbols.
"""

import numpy as np

from alphapulse.backtesting.batch import FAILED, OK, RUINED, BatchOutcome, EngineColumns, benchmark_returns
from alphapulse.backtesting.metrics import metrics_of_sums
from alphapulse.backtesting.recording import Equities
from alphapulse.backtesting.sums import OF_THE_ENGINE, Sums
from alphapulse.compiling import jit
from alphapulse.market.market import Market
from alphapulse.market.universe import Parts
from alphapulse.typing import Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D

OF_RETURNS = (
    "mean", "m2", "m3", "m4", "lowest", "highest", "downside", "drawdown", "growth",
    "benchmark_mean", "benchmark_m2", "cross", "active_m2",
)  # fmt: skip
"""The sums that returns decide, in the order of the rows of `_sum_worth`."""

_MEAN, _M2, _M3, _M4, _LOWEST, _HIGHEST, _DOWNSIDE, _DRAWDOWN, _GROWTH = range(9)
_BENCHMARK, _BENCHMARK_M2, _CROSS, _ACTIVE_M2, _N_SUMS = range(9, 14)


class Portfolios:
    """Portfolios of the accounts of all symbols, one a trial, put together symbol by symbol.

    Parameters
    ----------
    market : Market
        Of the universe.
    engine : EngineColumns
        Engine fields of the trials.
    """

    def __init__(self, market: Market, engine: EngineColumns) -> None:
        self._market, self._engine = market, engine
        self._parts = Parts(market, engine.n_trials)
        self._sums: list[Float64Array2D] = []
        self._statuses: list[Int8Array1D] = []

    def add(self, symbol: int, outcome: BatchOutcome, equities: Equities) -> None:
        """Add what the trials have left on the symbol at place `symbol`; symbols come in order."""
        self._parts.add(symbol, self._engine.values["initial_capital"], equities.equity, equities.trials)
        self._sums.append(equities.sums)
        self._statuses.append(outcome.status)

    def outcome(self) -> BatchOutcome:
        """Return the outcome of the portfolios of all symbols.

        A trial that fails on one symbol has failed; it is ruined where it is on any. A trial's numbers do not depend on
        the others in its batch.
        """
        market, engine = self._market, self._engine
        n_trials = engine.n_trials
        periods = engine.values["periods_per_year"]
        periods = np.where(np.isnan(periods), market.bars.periods_per_year, periods)
        given, cash = engine.values["risk_free_rate"], engine.values["cash_rate"]
        risk_free = np.where(np.isnan(given), cash, given) / periods
        benchmark = benchmark_returns(market.bars, market.first)[market.first :]
        sums, block_sums, block_squares = _sum_worth(
            self._parts.worth(), benchmark, risk_free, market.block_end - market.first
        )
        returned = dict(zip(OF_RETURNS, sums, strict=True))
        n = np.full(n_trials, float(market.n_scored))
        metrics = metrics_of_sums(
            Sums(n=n, **returned, **self._of_the_engine(), risk_free=risk_free, periods_per_year=periods)
        )
        statuses = np.stack(self._statuses)
        ruined = (statuses == RUINED).any(axis=0)
        status = np.where((statuses == FAILED).any(axis=0), FAILED, np.where(ruined, RUINED, OK)).astype(np.int8)
        for array in (metrics, block_sums, block_squares):
            array[status == FAILED] = np.nan
        return BatchOutcome(metrics, status, block_sums, block_squares)

    def _of_the_engine(self) -> dict[str, Float64Array1D]:
        """Return the sums that only the engine knows, of all accounts together, by name."""
        every = np.stack(self._sums)
        total = every.sum(axis=0)
        longest = OF_THE_ENGINE.index("longest")
        total[longest] = every[:, longest].max(axis=0)
        # Means over all scored bars of all symbols, in terms of the portfolio's own.
        share = self._market.n_scored / sum(member.n_scored for member in self._market.members)
        for name in ("n_exposed", "traded"):
            total[OF_THE_ENGINE.index(name)] *= share
        return dict(zip(OF_THE_ENGINE, total, strict=True))


def _sum_worth_python(
    worth: Float64Array2D, benchmark: Float64Array1D, risk_free: Float64Array1D, block_end: Int64Array1D
) -> tuple[Float64Array2D, Float64Array2D, Float64Array2D]:
    """Return sums (13, n_trials) over the returns of portfolios, and block moments (n_trials, n_blocks).

    Each column of `worth` (n_scored, n_trials) is 1 before its first row; nothing of a column depends on another one.
    """
    n, k = worth.shape
    sums = np.zeros((_N_SUMS, k))
    block_sums, block_squares = np.zeros((k, block_end.size)), np.zeros((k, block_end.size))
    mean, active = np.zeros(k), np.zeros(k)
    before = np.ones(k)
    benchmark_mean = 0.0
    for t in range(n):
        benchmark_mean += benchmark[t]
    benchmark_mean /= n
    for j in range(k):
        sums[_LOWEST, j], sums[_HIGHEST, j] = np.inf, -np.inf
    start = 0
    for block in range(block_end.size):
        for t in range(start, block_end[block]):
            for j in range(k):
                r = worth[t, j] / before[j] - 1.0 if before[j] > 0.0 else 0.0
                block_sums[j, block] += r
                block_squares[j, block] += r * r
                before[j] = worth[t, j]
        start = block_end[block]
    for j in range(k):
        for block in range(block_end.size):
            mean[j] += block_sums[j, block]
        mean[j] /= n
        active[j] = mean[j] - benchmark_mean
        before[j] = 1.0
    peak = np.ones(k)
    for t in range(n):
        b = benchmark[t] - benchmark_mean
        for j in range(k):
            r = worth[t, j] / before[j] - 1.0 if before[j] > 0.0 else 0.0
            d = r - mean[j]
            ahead = r - benchmark[t] - active[j]
            below = min(r - risk_free[j], 0.0)
            sums[_M2, j] += d * d
            sums[_M3, j] += d * d * d
            sums[_M4, j] += d * d * (d * d)
            sums[_LOWEST, j] = min(sums[_LOWEST, j], r)
            sums[_HIGHEST, j] = max(sums[_HIGHEST, j], r)
            sums[_DOWNSIDE, j] += below * below
            sums[_BENCHMARK_M2, j] += b * b
            sums[_CROSS, j] += d * b
            sums[_ACTIVE_M2, j] += ahead * ahead
            peak[j] = max(peak[j], worth[t, j])
            sums[_DRAWDOWN, j] = min(sums[_DRAWDOWN, j], worth[t, j] / peak[j] - 1.0)
            before[j] = worth[t, j]
    for j in range(k):
        sums[_MEAN, j] = mean[j]
        sums[_BENCHMARK, j] = benchmark_mean
        sums[_GROWTH, j] = worth[n - 1, j]
    return sums, block_sums, block_squares


_sum_worth = jit(_sum_worth_python)
