"""A batch of trials through the kernel: engine fields as columns in, metrics and block moments out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from alphapulse.backtesting.kernel.fills import FILL_COLUMNS
from alphapulse.backtesting.kernel.loop import (
    NEXT_CLOSE,
    NEXT_OPEN,
    SAME_CLOSE,
    run_tile,
)
from alphapulse.backtesting.kernel.state import (
    BAD,
    BOTH,
    LANES,
    STOP,
    TAKE,
    Lanes,
    Mode,
    Outputs,
    Rules,
    Scratch,
    Tape,
)
from alphapulse.backtesting.kernel.state import RUINED as RUINED_ROW
from alphapulse.backtesting.kernel.totals import (
    initial_states,
    last_rows,
    set_first_target,
    sum_benchmark,
    sums_of_states,
    write_moments,
)
from alphapulse.backtesting.metrics import N_METRICS, metrics_of_sums
from alphapulse.backtesting.params import LEVEL_CODES, SERIES, SIZING_CODES, EngineParams
from alphapulse.backtesting.recording import Follower, Recording
from alphapulse.backtesting.sizing import Sizing
from alphapulse.backtesting.sums import OF_THE_ENGINE
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.market.targets import TargetBlock
from alphapulse.typing import (
    BoolArray1D,
    Float64Array1D,
    Float64Array2D,
    Int8Array1D,
    Int64Array1D,
)

Floats = TypeVar("Floats", Float64Array1D, Float64Array2D)

OK, RUINED, FAILED = 0, 1, 2
"""Status of a trial: scored, scored but without equity before the end, without finite targets."""

TRIALS_PER_CALL = 1024
"""Trials that one call of `simulate_batch` should hold, for what a call costs to be nothing beside them."""

TILE_TRIALS, TILE_BARS = 256, 256
FOLLOWED_BARS = 1024
"""Trials and bars for which targets exist at one time: half of a core's second-level cache."""

_CODES: dict[str, Mapping[Any, float]] = {
    "execution": {"next_open": NEXT_OPEN, "next_close": NEXT_CLOSE, "same_close": SAME_CLOSE},
    "rebalance_frequency": {"bar": 0, "week": 1, "month": 2},
    "reentry": {"new_signal": 0, "immediate": 1},
    "stop.kind": LEVEL_CODES,
    "take_profit.kind": LEVEL_CODES,
    "sizing.kind": SIZING_CODES,
}

_FLAGS = ("stop.trailing", "allow_short")

FULL_FIELDS = (
    "commission_per_order",
    "commission_per_unit",
    "commission_minimum",
    "lot",
    "max_bars",
    "take_profit.kind",
    "sizing.kind",
)
"""Fields that the plain kernel knows at 0 only."""


@dataclass(frozen=True)
class EngineColumns:
    """Engine fields of a batch of trials, one entry a trial.

    Attributes
    ----------
    values : mapping of str to (n_trials,) float64
        Fields by their dotted names, as in `EngineParams.values`; choices as their codes, an unset
        `periods_per_year` as NaN, and 1 for a rate that a joined series has.
    n_trials : int
    series : mapping of str to str
        The joined series that all trials share, by field.
    by_symbol : mapping of str to mapping of str to float
        Costs that some symbols of an account have of their own, which all trials share.
    """

    values: Mapping[str, Float64Array1D]
    n_trials: int
    series: Mapping[str, str] = field(default_factory=dict)
    by_symbol: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def build(
        cls, params: EngineParams, swept: Mapping[str, np.ndarray | Sequence[Any]] | None = None, n_trials: int = 1
    ) -> "EngineColumns":
        """Lay `params` out for `n_trials` trials, with the columns of `swept` in place of its fields.

        Parameters
        ----------
        params : EngineParams
            What all trials share.
        swept : mapping of str to sequence of length n_trials, optional
            Columns by dotted name ("commission", "stop.multiplier", "execution").
        n_trials : int
            Trials in the batch.

        Raises
        ------
        ValueError
            If a name is not an engine field, a column has another length, or a value is out of its bounds.
        """
        fixed = params.values
        columns: dict[str, Float64Array1D] = {}
        for name, given in (swept or {}).items():
            if name not in fixed:
                raise ValueError(f"Unknown engine field {name!r}; known are {', '.join(fixed)}.")
            column = list(given)
            if len(column) != n_trials:
                raise ValueError(f"Column {name!r} must have {n_trials} values, but got {len(column)}.")
            columns[name] = _encode(params, name, column)
        for name, value in fixed.items():
            if name not in columns and name != "funding":
                columns[name] = np.full(n_trials, _code(name, value))
        margin = columns["maintenance_margin"] * columns["max_leverage"]
        if n_trials and not margin.max() < 1.0:
            raise ValueError(
                f"`maintenance_margin * max_leverage < 1` must hold, but got {margin.max():g}; lower one of them."
            )
        return cls(columns, n_trials, params.series, params.by_symbol)

    @cached_property
    def needs_full_rules(self) -> BoolArray1D:
        """Whether each trial (n_trials,) has a rule that the plain kernel leaves out, by its own fields alone."""
        v = self.values
        proportional = v["max_leverage"] * np.abs(v["commission"] + v["slippage"])
        full: BoolArray1D = (proportional >= 1.0) | bool(self.series)
        for name in FULL_FIELDS:
            full = full | (v[name] != 0.0)
        return full


def _code(name: str, value: Any) -> float:
    if name in _CODES:
        return float(_CODES[name][value])
    if name in SERIES and isinstance(value, str):
        return 1.0
    return math.nan if value is None else float(value)


def _encode(params: EngineParams, name: str, column: list[Any]) -> Float64Array1D:
    """Return the column as numbers, its extremes and its choices checked by the dataclass that owns the field."""
    distinct = set(column)
    if name not in _CODES and name not in _FLAGS and None not in distinct:
        numbers = np.asarray(column, dtype=np.float64)
        distinct = {float(numbers.min()), float(numbers.max())} if len(numbers) else set()
    for value in distinct:
        params.check(name, value)
    return np.array([_code(name, value) for value in column], dtype=np.float64)


@dataclass(frozen=True)
class BatchOutcome:
    """What a batch of trials leaves behind.

    Attributes
    ----------
    metrics : (n_trials, n_metrics) float64
        In the order of `METRICS`; NaN where undefined, and everywhere in a failed trial.
    status : (n_trials,) int8
        0 ok, 1 ruined, 2 failed (no targets, or a target that is NaN or infinite).
    block_sums, block_squares : (n_trials, n_blocks) float64
        Sum of returns [1] and of their squares in each calendar block; NaN in a failed trial.
    """

    metrics: Float64Array2D
    status: Int8Array1D
    block_sums: Float64Array2D
    block_squares: Float64Array2D


def benchmark_returns(bars: Bars, first: int) -> Float64Array1D:
    """Return the returns (n_bars,) of buying and holding what `bars` trade [1]; 0 at bar 0 and before `first`."""
    return returns_of_closes(bars.close, first)


def returns_of_closes(close: Float64Array1D, first: int) -> Float64Array1D:
    """Return the close-to-close returns (n_bars,) of `close` [quote]; 0 at bar 0 and before `first`."""
    returns = np.zeros(len(close))
    since = max(first, 1)
    returns[since:] = close[since:] / close[since - 1 : -1] - 1.0
    return returns


def simulate_batch(
    market: Market,
    targets: TargetBlock,
    engine: EngineColumns,
    *,
    recording: Recording | None = None,
    follower: Follower | None = None,
    benchmark: Float64Array1D | None = None,
) -> BatchOutcome:
    """Run a batch of trials over the scored bars of `market`.

    A trial's bits do not depend on the others in its batch, on its place, or on the size of a tile.

    Parameters
    ----------
    market : Market
        Bars and calendar.
    targets : TargetBlock
        Targets of the trials, by place.
    engine : EngineColumns
        Engine fields of the same trials.
    recording : Recording, optional
        Filled with the curves and fills of trial 0.
    follower : Follower, optional
        Shown the equity of every trial.
    benchmark : (n_bars,) float64, optional
        Per-bar returns of the benchmark [1]; by default buy and hold of the traded symbol.

    Returns
    -------
    BatchOutcome
    """
    bars, first, k = market.bars, market.first, engine.n_trials
    n = len(bars)
    block_sums = np.empty((k, market.n_blocks))
    block_squares = np.empty((k, market.n_blocks))
    values = engine.values
    if engine.by_symbol or not np.isnan(values["max_net_leverage"]).all():
        raise ValueError("`engine.by_symbol` and `engine.max_net_leverage` must go with universe=account.")
    periods = np.where(np.isnan(values["periods_per_year"]), bars.periods_per_year, values["periods_per_year"])

    tape = _tape(market, targets, benchmark)
    groups = _group(market, engine, targets, periods)
    sizing = Sizing.of(bars, values, periods)
    n_together, n_bars = (TILE_TRIALS, TILE_BARS) if follower is None else (LANES, FOLLOWED_BARS)
    scratch = Scratch(due=np.empty((n_bars + 1, LANES)), equity=np.empty((n_bars + 1, LANES)))
    moments = -(-min(k, TILE_TRIALS) // LANES), market.n_blocks, LANES
    unrecorded = Outputs(np.empty(moments), np.empty(moments), np.empty((0, 4)), np.empty((0, len(FILL_COLUMNS))))
    recorded = unrecorded if recording is None else unrecorded._replace(curves=recording.curves, fills=recording.fills)
    if first > 0:
        last = np.empty((k, 1))
        targets.fill(first - 1, first, np.arange(k), last)
        if sizing is not None:
            sizing.apply(first - 1, np.arange(k), last)
        for group in groups:
            if group.mode.execution != SAME_CLOSE:
                set_first_target(group.lanes, last[:, 0])
    tile = np.empty((n_together, n_bars))
    for group in groups:
        for begin in range(0, len(group.members), n_together):
            members = group.members[begin : begin + n_together]
            rows = slice(begin // LANES, -(-(begin + len(members)) // LANES))
            outputs = recorded if members[0] == 0 else unrecorded
            lanes = Lanes(group.lanes.trials[rows], group.lanes.n_lanes[rows], group.lanes.states[rows])
            for start in range(first, n, n_bars):
                part = tile[: len(members)] if n - start >= n_bars else np.empty((len(members), n - start))
                targets.fill(start, start + part.shape[1], members, part)
                if sizing is not None:
                    sizing.apply(start, members, part)
                run_tile(tape, group.mode, start, part, lanes, scratch, outputs, group.rules)
                if follower is not None:
                    follower.take(start - first, members, scratch.equity[1 : part.shape[1] + 1, : len(members)])
            write_moments(outputs, members, block_sums, block_squares)
    metrics = np.empty((k, N_METRICS))
    status = np.empty(k, dtype=np.int8)
    benchmark_sums = sum_benchmark(tape)
    for group in groups:
        members = group.members
        ends = last_rows(group.lanes.states, len(members))
        if recording is not None and members[0] == 0:
            recording.ends[:] = ends[[STOP, TAKE, BOTH], 0]
        sums = sums_of_states(ends, n - first, n, benchmark_sums, periods[members], values["initial_capital"][members])
        metrics[members] = metrics_of_sums(sums)
        if follower is not None:
            follower.take_sums(members, np.stack([getattr(sums, name) for name in OF_THE_ENGINE]))
        status[members] = np.where(ends[BAD] != 0.0, FAILED, np.where(ends[RUINED_ROW] != 0.0, RUINED, OK))
    for place in targets.failures:
        status[place] = FAILED
    failed = status == FAILED
    metrics[failed] = math.nan
    block_sums[failed] = math.nan
    block_squares[failed] = math.nan
    return BatchOutcome(metrics, status, block_sums, block_squares)


def _tape(market: Market, targets: TargetBlock, benchmark: Float64Array1D | None) -> Tape:
    """Return what all trials of a batch see; `benchmark` as in `simulate_batch`."""
    bars = market.bars
    block_of = np.full(len(bars), -1, dtype=np.int64)
    block_of[market.block_end - 1] = np.arange(market.n_blocks)
    atr: Float64Array2D = np.asarray(targets.atr, dtype=np.float64)
    return Tape(
        first=market.first,
        prices=np.stack((bars.open, bars.high, bars.low, bars.close)),
        benchmark=_read_only(benchmark_returns(bars, market.first) if benchmark is None else benchmark),
        block_of=block_of,
        atr=_read_only(atr if atr.size else np.full((1, len(bars)), math.nan)),
    )


def _read_only(array: Floats) -> Floats:
    """Return a read-only view: compiled code is specialised on it, and one version is enough."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _rules(bars: Bars, engine: EngineColumns, members: Int64Array1D) -> Rules:
    """Return what the full rules take for some trials beside their states; an unknown rate is 0."""
    rates = {"short_borrow_rate": np.ones(len(bars)), "funding": np.zeros(len(bars))}
    for name, series in engine.series.items():
        if name not in bars.rates:
            raise ValueError(f"`engine.{name}` must name a joined series, but these bars have none of {series!r}.")
        rates[name] = np.nan_to_num(bars.rates[name], nan=0.0)
    borrow, funding = rates["short_borrow_rate"], rates["funding"]
    by_risk = bool((engine.values["sizing.kind"][members] == SIZING_CODES["risk"]).any())
    fields = ("commission_minimum", "lot", "max_bars")
    asked = [bool(engine.values[name][members].any()) for name in fields]
    return Rules(_read_only(borrow), _read_only(funding), by_risk, *asked)


@dataclass(frozen=True)
class _Group:
    """Trials that share a mode: `members` (n_members,) int64, laid out in `lanes`; without `rules` plain ones."""

    mode: Mode
    rules: Rules | None
    members: Int64Array1D
    lanes: Lanes


def _group(market: Market, engine: EngineColumns, targets: TargetBlock, periods: Float64Array1D) -> list[_Group]:
    """Return the trials by mode, in the order of `targets` but for trial 0, which comes first."""
    values = engine.values
    atr_row = np.asarray(targets.atr_row, dtype=np.float64)
    key = (engine.needs_full_rules * 3 + values["execution"]) * 3 + values["rebalance_frequency"]
    # The kernel records the first lane of a group: trial 0 leads its own, wherever the targets have it.
    order = np.concatenate((targets.order[targets.order == 0], targets.order[targets.order != 0]))
    groups = []
    for code in np.unique(key):
        members = order[key[order] == code]
        rest, frequency = divmod(int(code), 3)
        is_full, execution = divmod(rest, 3)
        may_trade = np.ones(len(market.bars), dtype=np.bool_)
        if frequency:
            may_trade[:] = market.week_start if frequency == 1 else market.month_start
            may_trade[market.first] = True
        carries = any(bool(values[rate][members].any()) for rate in ("cash_rate", "short_borrow_rate"))
        mode = Mode(
            execution=execution,
            may_trade=may_trade,
            carry=carries or "funding" in engine.series,
            trailing=bool(values["stop.trailing"][members].any()),
        )
        n_rows = -(-len(members) // LANES)
        trials = np.full((n_rows, LANES), members[0], dtype=np.int64)
        trials.reshape(-1)[: len(members)] = members
        n_lanes = np.full(n_rows, LANES, dtype=np.int64)
        n_lanes[-1] = len(members) - (n_rows - 1) * LANES
        lanes = Lanes(trials, n_lanes, initial_states(values, trials, atr_row, periods))
        groups.append(_Group(mode, _rules(market.bars, engine, members) if is_full else None, members, lanes))
    return groups
