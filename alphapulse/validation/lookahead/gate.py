"""The look-ahead gate: change what follows a bar, and what was decided at it must not move.

A strategy is asked about the same past with other futures (`futures`), at many cuts (`cuts`), some inside its warm-up.
Indicators, the average true range of its stops and targets must agree to the bit where the other bars are as many, and
within `ROUNDING` where they are fewer or more. It is also asked twice about the same bars, after other bars, and
through the batch path of a sweep; those answers must agree to the bit.
"""

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphapulse.errors import LookAheadError, StrategyError
from alphapulse.market.bars import COLUMNS, Bars
from alphapulse.strategies.columns import describe, timestamp_text
from alphapulse.strategies.portfolio import checked_decisions
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.validation.lookahead.answers import PARTS, TARGET, Series, ask, decided_together, difference
from alphapulse.validation.lookahead.cuts import calendar_cuts, hole_cuts, spread_cuts, telling_cuts
from alphapulse.validation.lookahead.futures import FUTURES, foreign, sealed
from alphapulse.validation.lookahead.looks import Looks, Watch
from alphapulse.validation.lookahead.whole import check_whole, segments

STRETCH = 5_000
# Fewer bars than this, and a strategy that does not tell its lookback may refuse them [bars].
SHORT = 300
BRIEF = ("removed", "collapsing", "soaring")
# Decisions alone, at many cuts: finds what peeks at one bar in a hundred.
GLANCES = ("collapsing", "soaring")
N_GLANCES = 200
# How far the first offending bar is searched for, cut by cut [bars].
MOST_STEPS = 2_000


@dataclass(frozen=True, order=True)
class Movement:
    """A value of the past that moved, and what moved it."""

    bar: int
    order: int
    name: str
    cut: int
    future: str


def check_lookahead(
    definition: StrategyDefinition,
    bars: Bars,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    n_cuts: int = 20,
    seed: int = 0,
    strict: bool = False,
    watch: Watch | None = None,
) -> None:
    """Raise if a decision of the strategy depends on bars after it.

    Parameters
    ----------
    definition : StrategyDefinition
    bars : Bars
        If there are more than 10,000, the first and the last 5,000 get most of the cuts, stretches in between some, and
        the whole a few, unless `strict`.
    values : mapping or sequence of mappings
        Parameters to check, see `gate_points`; the first gets all cuts, the others fewer. Points that the
        strategy refuses are skipped.
    n_cuts : int
        Cuts spread over the bars; those at the calendar's turns and at telling decisions come on top.
    seed : int
        Cuts and futures are drawn from it.
    strict : bool
        Whether to use all bars, give every point all cuts, and cut the first point at every bar.
    watch : callable, optional
        Told now and then how many looks of how many were taken.

    Raises
    ------
    LookAheadError
        If the past moves, if the strategy remembers other bars, or if it answers differently twice.
    StrategyError
        If it fails at every point.
    """
    points = [values] if isinstance(values, Mapping) else list(values)
    # Strange futures overflow where real ones do not.
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check(definition, bars, points, n_cuts, seed, strict, Looks(watch))


def gate_points(
    values: Mapping[str, Any],
    swept: Mapping[str, Sequence[Any]],
    *,
    n_random: int = 4,
    seed: int = 0,
    strict: bool = False,
) -> list[dict[str, Any]]:
    """Return the parameters at which a sweep's strategy is checked.

    Parameters
    ----------
    values : mapping of str to value
        Fixed parameters, and defaults of the swept ones.
    swept : mapping of str to sequence
        A few values of each swept parameter, its lowest first and its highest last; or all its choices.
    n_random : int
        Points with a random choice of these for each parameter.
    seed : int
    strict : bool
        Whether to add every corner, up to 64 of them.

    Returns
    -------
    list of dict
        The given values, the lowest, the highest, and the random ones, without repetition.
    """
    rng = np.random.default_rng(seed)
    choices = {name: list(c) for name, c in swept.items() if len(c)}
    picks: Iterable[dict[str, Any]] = [
        {},
        {name: c[0] for name, c in choices.items()},
        {name: c[-1] for name, c in choices.items()},
        *({name: c[int(rng.integers(len(c)))] for name, c in choices.items()} for _ in range(n_random)),
    ]
    if strict:
        ends = {name: dict.fromkeys([c[0], c[-1]]) for name, c in choices.items()}
        corners = itertools.islice(itertools.product(*ends.values()), 64)
        picks = [*picks, *(dict(zip(ends, corner, strict=True)) for corner in corners)]
    points: list[dict[str, Any]] = []
    for pick in picks:
        point = {**values, **pick}
        if point not in points:
            points.append(point)
    return points


def _check(
    definition: StrategyDefinition,
    bars: Bars,
    points: Sequence[Mapping[str, Any]],
    n_cuts: int,
    seed: int,
    strict: bool,
    looks: Looks,
) -> None:
    usable: Mapping[str, Any] | None = None
    length = max(STRETCH, 4 * _lookback(definition, points))
    gates = [_Gate(definition, part, n_cuts, seed, looks) for part in _stretches(bars, length, strict)]
    for gate in gates:
        for place, point in enumerate(points):
            looks.expect(gate.n_planned(point, first=place == 0, strict=strict))
    for gate in gates:
        part = gate.bars
        failures = []
        for place, point in enumerate(points):
            try:
                reference = gate.series(point, part)
                checked_decisions(definition.build(point), part)
            except LookAheadError:
                raise
            except Exception as error:
                failures.append(error)
                looks.expect(-gate.n_planned(point, first=place == 0, strict=strict))
                continue
            usable = point if usable is None else usable
            gate.check_repeats(point, reference)
            gate.check_inputs()
            gate.check_point(point, reference, first=place == 0, strict=strict)
        if len(failures) == len(points):
            raise StrategyError(f"{definition.name} fails on these bars: {describe(failures[0])}") from failures[0]
        gate.check_block(points)
        gate.check_inputs()
    if usable is not None and len(part) < len(bars):
        rng = np.random.default_rng(seed)
        target = check_whole(definition, usable, bars, rng)
        for segment, cuts in segments(bars, target, length, rng):
            _Gate(definition, sealed(segment), n_cuts, seed, looks).check_cuts(usable, cuts)


def _lookback(definition: StrategyDefinition, points: Iterable[Mapping[str, Any]]) -> int:
    lengths = []
    for point in points:
        try:
            lengths.append(definition.lookback(point))
        except StrategyError:
            continue
    return max(lengths, default=0)


def _stretches(bars: Bars, length: int, strict: bool) -> list[Bars]:
    if strict or len(bars) <= 2 * length:
        return [sealed(bars)]
    return [sealed(bars[:length]), sealed(bars[-length:])]


class _Gate:
    def __init__(self, definition: StrategyDefinition, bars: Bars, n_cuts: int, seed: int, looks: Looks) -> None:
        self.definition = definition
        self.bars = bars
        self.columns = {name: bars.column(name).copy() for name in (*COLUMNS, *bars.others, *bars.parts)}
        self.n_cuts = n_cuts
        self.seed = seed
        self.looks = looks

    def n_planned(self, point: Mapping[str, Any], *, first: bool, strict: bool) -> int:
        """Return how many looks `check_point` takes at least; 0 at a point that the strategy refuses."""
        n_bars = len(self.bars)
        try:
            lookback = self.definition.lookback(point)
        except StrategyError:
            return 0
        if n_bars < 2:
            return 0
        cuts, futures = self._spread(n_bars, lookback, np.random.default_rng(self.seed), thorough=first or strict)
        glances = 0 if not first else (n_bars - 1) * len(GLANCES) if strict else N_GLANCES
        return len(cuts) * len(futures) + glances

    def _spread(
        self, n_bars: int, lookback: int, rng: np.random.Generator, *, thorough: bool
    ) -> tuple[list[int], Sequence[str]]:
        n_cuts = self.n_cuts if thorough else max(4, self.n_cuts // 3)
        return spread_cuts(n_bars, lookback, n_cuts, rng), tuple(FUTURES) if thorough else BRIEF

    def series(
        self,
        point: Mapping[str, Any],
        bars: Bars,
        definition: StrategyDefinition | None = None,
        *,
        target_only: bool = False,
    ) -> Series:
        """Return indicators, average true range and target by name, each from a strategy made for it."""
        parts = (TARGET,) if target_only else PARTS
        return ask(self.definition if definition is None else definition, point, bars, parts)

    def check_repeats(self, point: Mapping[str, Any], reference: Series) -> None:
        """Raise if the answer depends on anything but the bars."""
        rng = np.random.default_rng(self.seed)
        name = self.definition.name
        again = self.series(point, self.bars)
        for series, where in self._moved(reference, again, len(self.bars)):
            raise LookAheadError(
                f"{name} gives `{series}` another value at bar {where} when asked again about the same bars; "
                "make it a function of its bars and parameters only."
            )
        remembers = "changes after {name} has seen other bars; keep nothing between calls."
        other = foreign(self.bars, rng)
        self._attempt(point, other)
        for series, where in self._moved(reference, self.series(point, self.bars), len(self.bars)):
            raise LookAheadError(f"`{series}` at bar {where} {remembers.format(name=name)}")
        if self.definition.is_compiled or self.definition.target.startswith("alphapulse."):
            return
        # What is remembered for good from the first call shows in a module that sees the other bars first.
        first, second = self.definition.reload(), self.definition.reload()
        self._attempt(point, other, second)
        clean, poisoned = self.series(point, self.bars, first), self.series(point, self.bars, second)
        for series, where in self._moved(clean, poisoned, len(self.bars)):
            raise LookAheadError(f"`{series}` at bar {where} {remembers.format(name=name)}")

    def check_point(self, point: Mapping[str, Any], reference: Series, *, first: bool, strict: bool) -> None:
        """Raise if what was known before a cut changes with what comes after it."""
        rng = np.random.default_rng(self.seed)
        n_bars = len(self.bars)
        if n_bars < 2:
            return
        lookback = self.definition.lookback(point)
        cuts, futures = self._spread(n_bars, lookback, rng, thorough=first or strict)
        plan = [(cut, future) for cut in cuts for future in futures]
        if first:
            target = reference[TARGET].reshape(n_bars, -1)[:, 0]
            turns = {*calendar_cuts(self.bars, rng), *hole_cuts(self.bars, rng), *telling_cuts(self.bars, target)}
            plan += [(cut, future) for cut in sorted(turns - set(cuts)) for future in BRIEF]
            self.looks.expect(len(plan) - len(cuts) * len(futures))
        self._raise_earliest(
            point, reference, min(self._movements(point, reference, plan, lookback, rng), default=None)
        )
        if first:
            decided = {TARGET: reference[TARGET]}
            chosen = range(1, n_bars) if strict else rng.integers(1, n_bars, N_GLANCES).tolist()
            plan = [(cut, future) for cut in chosen for future in (GLANCES if strict else (GLANCES[cut % 2],))]
            self._raise_earliest(point, decided, next(iter(self._movements(point, decided, plan, lookback, rng)), None))

    def check_cuts(self, point: Mapping[str, Any], cuts: Iterable[int]) -> None:
        """Raise if what was known before one of `cuts` changes with what comes after it.

        Bars that the strategy refuses say nothing; it has answered about the first, the last and all of them.
        """
        try:
            reference = self.series(point, self.bars)
        except Exception:
            return
        rng = np.random.default_rng(self.seed)
        plan = [(cut, future) for cut in cuts for future in BRIEF]
        self.looks.expect(len(plan))
        lookback = self.definition.lookback(point)
        self._raise_earliest(
            point, reference, min(self._movements(point, reference, plan, lookback, rng), default=None)
        )

    def check_block(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Raise if the batch path of a sweep decides anything else than `target` does."""
        n_bars = len(self.bars)
        for place, decided in decided_together(self.definition, self.bars, points):
            target = checked_decisions(self.definition.build(points[place]), self.bars)
            for _, where in self._moved({TARGET: target}, {TARGET: decided}, n_bars):
                name = self.definition.name
                raise StrategyError(f"`block` and `target` of {name} differ at bar {where}; both must decide alike.")

    def check_inputs(self) -> None:
        """Raise if the strategy wrote to its bars."""
        for name, column in self.columns.items():
            if not np.array_equal(self.bars.column(name), column, equal_nan=name != "timestamp"):
                raise LookAheadError(f"{self.definition.name} writes to `{name}` of its bars; work on a copy.")

    def _movements(
        self,
        point: Mapping[str, Any],
        reference: Series,
        plan: Iterable[tuple[int, str]],
        lookback: int,
        rng: np.random.Generator,
    ) -> Iterable[Movement]:
        for cut, future in plan:
            self.looks.take()
            other = FUTURES[future](self.bars, cut, rng)
            try:
                answer = self.series(point, other, target_only=list(reference) == [TARGET])
            except Exception as error:
                # Too few bars for any answer is no peek.
                if len(other) <= max(lookback + 1, SHORT):
                    continue
                last = timestamp_text(self.bars, cut - 1)
                text = f"{self.definition.name} fails when the bars after {last} are {future}: {describe(error)}"
                raise StrategyError(text) from error
            for order, name in enumerate(reference):
                if name not in answer:
                    raise StrategyError(
                        f"{self.definition.name} names its indicators differently on other bars: `{name}`."
                    )
                exact = len(other) == len(self.bars)
                moved = difference(reference[name][:cut], answer[name][:cut], exact=exact)
                if moved.any():
                    yield Movement(int(np.argmax(moved)), order, name, cut, future)

    def _raise_earliest(self, point: Mapping[str, Any], reference: Series, found: Movement | None) -> None:
        if found is None:
            return
        # It may have moved at an earlier bar too, between the cuts.
        rng = np.random.default_rng(self.seed)
        plan = [(cut, found.future) for cut in range(1, min(found.bar, MOST_STEPS) + 1)]
        named = {found.name: reference[found.name]}
        found = min([found, *itertools.islice(self._movements(point, named, plan, SHORT, rng), 1)])
        where = timestamp_text(self.bars, found.bar)
        last = timestamp_text(self.bars, found.cut - 1)
        change = "removed" if found.future == "removed" else f"replaced ({found.future})"
        raise LookAheadError(
            f"{self.definition.name} sees the future: `{found.name}` at bar {where} changes when the bars after {last} "
            f"are {change}; compute each bar from bars up to it only."
        )

    def _moved(self, expected: Series, got: Series, n_bars: int) -> Iterable[tuple[str, str]]:
        for name, values in expected.items():
            moved = difference(values, got[name], exact=True) if name in got else np.ones(n_bars, dtype=np.bool_)
            if moved.any():
                yield name, timestamp_text(self.bars, int(np.argmax(moved)))

    def _attempt(self, point: Mapping[str, Any], bars: Bars, definition: StrategyDefinition | None = None) -> None:
        """Show the strategy other bars; whether it can answer about them does not matter here."""
        try:
            self.series(point, bars, definition)
        except Exception:
            return
