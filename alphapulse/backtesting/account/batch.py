"""A batch of trials in one account of many symbols: engine fields as columns in, metrics and block moments out."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alphapulse.backtesting.account.costs import cost_rows
from alphapulse.backtesting.account.loop import run_account
from alphapulse.backtesting.account.state import (
    BASE,
    BOTH,
    CASH,
    COSTS,
    EXPOSED,
    FLOW,
    HELD,
    LONGEST,
    LOST,
    MARK,
    N_ACCOUNT,
    N_BOOK,
    N_CLOSED,
    N_FILLS,
    N_LOST,
    N_WINS,
    PROFIT,
    STOP,
    TAKE,
    TRADED,
    UNITS,
    WON,
    Record,
    Rules,
    Tape,
)
from alphapulse.backtesting.account.state import RUINED as RUINED_ROW
from alphapulse.backtesting.account.worth import OF_RETURNS, sum_worth
from alphapulse.backtesting.batch import FAILED, OK, RUINED, BatchOutcome, EngineColumns, benchmark_returns
from alphapulse.backtesting.kernel.fills import FILL_COLUMNS
from alphapulse.backtesting.kernel.loop import SAME_CLOSE
from alphapulse.backtesting.kernel.state import EQUAL
from alphapulse.backtesting.metrics import N_METRICS, metrics_of_sums
from alphapulse.backtesting.params import level_factors
from alphapulse.backtesting.sums import OF_THE_ENGINE, Sums
from alphapulse.market.bars import PRICES
from alphapulse.market.market import Market
from alphapulse.market.targets import AccountTargets
from alphapulse.market.timeframes import DAY
from alphapulse.typing import Float64Array1D, Float64Array2D

FILLS_OF_ACCOUNT = (*FILL_COLUMNS, "symbol", "profit")
"""Of each fill: its equity is the account's before the fills of its moment, its profit that of the trade it ends."""

ENDED = 7 * DAY
"""A symbol has ended whose last bar begins earlier than this before the last of all [ns]."""

ROWS = {
    "n_exposed": EXPOSED, "traded": TRADED, "costs": COSTS, "n_trades": N_CLOSED, "n_wins": N_WINS, "n_losses": N_LOST,
    "won": WON, "lost": LOST, "net_profit": PROFIT, "bars_held": HELD, "longest": LONGEST,
}  # fmt: skip
"""The row of an account that each sum of the engine's is."""

TRIALS_TOGETHER = 64
"""Trials whose curves are summed together."""

NOTHING, NO_FILLS = np.empty((0, 0)), np.empty((0, len(FILLS_OF_ACCOUNT)))


@dataclass
class AccountRecording:
    """Room for what the first trial of a batch leaves.

    Attributes
    ----------
    equity : (n_scored,) float64
        At each close [quote].
    curves : (n_scored, 2 + n_symbols) float64
        Cash, interest earned so far [quote] and units of each symbol at each close.
    fills : (n_fills, 10) float64
        By `FILLS_OF_ACCOUNT`.
    stop, take : (n_symbols,) float64
        Times the direction of each open position [quote]; infinite without one.
    profit : (n_symbols,) float64
        Of each open position, at the last close [quote].
    n_both : int
        Bars that reached stop and take profit of a symbol.
    """

    equity: Float64Array1D = field(default_factory=lambda: np.empty(0))
    curves: Float64Array2D = field(default_factory=lambda: np.empty((0, 0)))
    fills: Float64Array2D = field(default_factory=lambda: np.empty((0, len(FILLS_OF_ACCOUNT))))
    stop: Float64Array1D = field(default_factory=lambda: np.empty(0))
    take: Float64Array1D = field(default_factory=lambda: np.empty(0))
    profit: Float64Array1D = field(default_factory=lambda: np.empty(0))
    n_both: int = 0


def simulate_account(
    market: Market, targets: AccountTargets, engine: EngineColumns, *, recording: AccountRecording | None = None
) -> BatchOutcome:
    """Run a batch of trials over the scored bars of an account's market.

    A trial's bits do not depend on the others in its batch, or on its place.

    Parameters
    ----------
    market : Market
        Of an account, see `account_market`.
    targets : AccountTargets
        Targets of the trials, by place.
    engine : EngineColumns
        Engine fields of the same trials; their sizing is by target, and no rate of theirs is a joined series.
    recording : AccountRecording, optional
        Filled with what trial 0 leaves.
    """
    n_trials, first, values = engine.n_trials, market.first, engine.values
    periods = np.where(np.isnan(values["periods_per_year"]), market.bars.periods_per_year, values["periods_per_year"])
    runner = _Runner(market, engine, periods)
    status = np.full(n_trials, FAILED, dtype=np.int8)
    totals = np.zeros((N_ACCOUNT, n_trials))
    sums = np.zeros((len(OF_RETURNS), n_trials))
    block_sums, block_squares = np.full((2, n_trials, market.n_blocks), math.nan)
    given = values["risk_free_rate"]
    risk_free = np.where(np.isnan(given), values["cash_rate"], given) / periods
    benchmark = benchmark_returns(market.bars, first)[first:]
    waiting: list[int] = []
    curves = np.empty((TRIALS_TOGETHER, market.n_scored))

    def add_up() -> None:
        worth = np.ascontiguousarray(curves[: len(waiting)].T)
        sums[:, waiting], block_sums[waiting], block_squares[waiting] = sum_worth(
            worth, benchmark, risk_free[waiting], market.block_end - first
        )
        waiting.clear()

    for members, target, atr in targets.groups():
        target, atr = read_only(target), read_only(atr)
        finite = np.isfinite(target).all(axis=1)
        for trial in members.tolist():
            needed = max(first - (values["execution"][trial] != SAME_CLOSE), 0)
            if not finite[needed:].all():
                continue
            row = curves[len(waiting)]
            totals[:, trial] = account = runner.run(trial, target, atr, row, recording if trial == 0 else None)
            row /= values["initial_capital"][trial]
            status[trial] = RUINED if account[RUINED_ROW] != 0.0 else OK
            waiting.append(trial)
            if len(waiting) == TRIALS_TOGETHER:
                add_up()
    if waiting:
        add_up()
    metrics = np.full((n_trials, N_METRICS), math.nan)
    ran = np.flatnonzero(status != FAILED)
    returned = dict(zip(OF_RETURNS, sums[:, ran], strict=True))
    own = {name: totals[ROWS[name], ran] for name in OF_THE_ENGINE}
    n = np.full(len(ran), float(market.n_scored))
    metrics[ran] = metrics_of_sums(
        Sums(n=n, **returned, **own, risk_free=risk_free[ran], periods_per_year=periods[ran])
    )
    return BatchOutcome(metrics, status, block_sums, block_squares)


class _Runner:
    """What the trials of a batch share, laid out for the compiled loop."""

    def __init__(self, market: Market, engine: EngineColumns, periods: Float64Array1D) -> None:
        self._market, self._engine, self._periods = market, engine, periods
        self._tape, self._marks = tape_of(market)
        self._stops = level_factors(engine.values), level_factors(engine.values, "take_profit")
        every = np.ones(len(market.bars), dtype=np.bool_)
        self._may_trade = [read_only(every)]
        for starts in (market.week_start, market.month_start):
            on = starts.copy()
            on[market.first] = True
            self._may_trade.append(read_only(on))

    def run(
        self,
        trial: int,
        target: Float64Array2D,
        atr: Float64Array2D,
        equity: Float64Array1D,
        recording: AccountRecording | None,
    ) -> Float64Array1D:
        """Write the equity of a trial at each scored bar, and return its account as it ends (N_ACCOUNT,)."""
        values, bars = self._engine.values, self._market.bars
        book, account = np.zeros((N_BOOK, len(bars.symbols))), np.zeros(N_ACCOUNT)
        book[MARK], book[STOP], book[TAKE] = self._marks, -math.inf, math.inf
        account[CASH] = values["initial_capital"][trial]
        costs = cost_rows(values, trial, self._engine.by_symbol, bars.symbols, self._periods[trial])
        record = Record(equity, NOTHING, NO_FILLS) if recording is None else self._room(equity)
        run_account(self._tape, self._rules(trial), target, atr, costs, book, account, record)
        if recording is not None:
            recording.equity, recording.curves = equity.copy(), record.curves
            recording.fills = record.fills[: int(account[N_FILLS])]
            recording.stop, recording.take = book[STOP].copy(), book[TAKE].copy()
            recording.profit = book[FLOW] + book[UNITS] * book[MARK] - book[BASE]
            recording.n_both = int(account[BOTH])
        return account

    def _room(self, equity: Float64Array1D) -> Record:
        """Return room for all that can happen: an order, an exit and a ruin of each symbol in each bar.

        It takes no memory until it is written to.
        """
        n, k = self._market.n_scored, len(self._market.bars.symbols)
        return Record(equity, np.zeros((n, 2 + k)), np.zeros((2 * n * k + k, len(FILLS_OF_ACCOUNT))))

    def _rules(self, trial: int) -> Rules:
        one = {name: float(column[trial]) for name, column in self._engine.values.items()}
        net = one["max_net_leverage"]
        stop, take = self._stops
        return Rules(
            execution=int(one["execution"]),
            may_trade=self._may_trade[int(one["rebalance_frequency"])],
            band=one["rebalance_band"] + EQUAL,
            max_leverage=one["max_leverage"],
            max_net=math.inf if math.isnan(net) else net,
            allow_short=one["allow_short"] != 0.0,
            immediate=one["reentry"] != 0.0,
            max_bars=one["max_bars"] if one["max_bars"] > 0.0 else math.inf,
            margin=one["maintenance_margin"],
            interest=one["cash_rate"] / float(self._periods[trial]),
            stop_kind=one["stop.kind"],
            stop_factor=float(stop[trial]),
            trailing=one["stop.trailing"] != 0.0,
            take_kind=one["take_profit.kind"],
            take_factor=float(take[trial]),
        )


def tape_of(market: Market) -> tuple[Tape, Float64Array1D]:
    """Return what all trials see, and the last close of each symbol before the first scored bar (n_symbols,) [quote].

    That is 0 where there is none.
    """
    bars = market.bars
    open_, high, low, close = (read_only(bars.matrix(part)) for part in PRICES)
    last = np.full(len(bars.symbols), -1, dtype=np.int64)
    marks = np.zeros(len(bars.symbols))
    for s in range(len(bars.symbols)):
        there = np.flatnonzero(~np.isnan(close[:, s]))
        if len(there) and bars.timestamp[-1] - bars.timestamp[there[-1]] > ENDED:
            last[s] = there[-1]
        earlier = there[there < market.first]
        if len(earlier):
            marks[s] = close[earlier[-1], s]
    return Tape(market.first, open_, high, low, close, read_only(last)), marks


def read_only(array: Any) -> Any:
    """Return a read-only view in C order: compiled code is specialised on it, and one version is enough."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
