"""Many symbols as one trial: every setting on every symbol, and the metrics of holding their accounts in equal parts.

Returns are those of the portfolio (`market.universe`); money moved between accounts at the turn of a month costs
nothing. What only the engine knows is added up over the accounts, each of which begins with the initial capital:
trades, their profits and costs; exposure and turnover are means over the scored bars of all symbols.
"""

import numpy as np

from alphapulse.backtesting.account.worth import OF_RETURNS, sum_worth
from alphapulse.backtesting.batch import FAILED, OK, RUINED, BatchOutcome, EngineColumns, benchmark_returns
from alphapulse.backtesting.metrics import metrics_of_sums
from alphapulse.backtesting.sums import OF_THE_ENGINE, Sums
from alphapulse.market.market import Market
from alphapulse.market.universe import Parts
from alphapulse.typing import Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D


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
        # Where each trial stands among the portfolios: in the order in which trials are run they cost least to follow.
        self._column = np.full(engine.n_trials, -1, dtype=np.int64)
        self._sums: list[Float64Array2D] = []
        self._statuses: list[Int8Array1D] = []

    def follow(self, symbol: int) -> "Accounts":
        """Return what follows the trials on the symbol at place `symbol`; symbols come in order."""
        sums = np.empty((len(OF_THE_ENGINE), self._engine.n_trials))
        self._sums.append(sums)
        return Accounts(self._parts, symbol, self._engine.values["initial_capital"], self._column, sums)

    def end(self, outcome: BatchOutcome) -> None:
        """Take in how the trials ended on the symbol that was followed last."""
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
        order = np.argsort(self._column)
        sums, block_sums, block_squares = sum_worth(
            self._parts.worth(), benchmark, risk_free[order], market.block_end - market.first
        )
        sums, block_sums, block_squares = sums[:, self._column], block_sums[self._column], block_squares[self._column]
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


class Accounts:
    """The trials' accounts on one symbol, on their way into portfolios, see `Follower`.

    Parameters
    ----------
    parts : Parts
    symbol : int
    capital : (n_trials,) float64
        Equity before the first bar [quote].
    column : (n_trials,) int64
        The portfolio of each trial, -1 where it has none yet; written to.
    sums : (n_sums, n_trials) float64
        Filled, in the order of `OF_THE_ENGINE`.
    """

    def __init__(
        self, parts: Parts, symbol: int, capital: Float64Array1D, column: Int64Array1D, sums: Float64Array2D
    ) -> None:
        self._column, self._sums = column, sums
        self._part = parts.open(symbol)
        self._capital = capital

    def take(self, row: int, trials: Int64Array1D, equity: Float64Array2D) -> None:
        """Add accounts to their portfolios."""
        new = trials[self._column[trials] < 0]
        first = int(self._column.max()) + 1
        self._column[new] = np.arange(first, first + len(new))
        if row == 0:
            self._part.begin(self._column[trials], self._capital[trials])
        self._part.take(row, equity, self._column[trials])

    def take_sums(self, trials: Int64Array1D, sums: Float64Array2D) -> None:
        """Keep the sums."""
        self._sums[:, trials] = sums
