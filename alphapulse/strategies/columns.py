"""The path of any strategy into the engine's lanes: one call of `target` a distinct set of parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphapulse.errors import LimitExceeded
from alphapulse.market.bars import Bars
from alphapulse.strategies.base import Strategy
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

MESSAGE_LENGTH = 500
PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """The distinct settings of a block of trials, which any bars can be run with.

    Attributes
    ----------
    values : list of dict
        Each distinct set of parameters, by name.
    trials : list of list of int
        The trials that have it; those that differ in the engine only share one.
    failures : dict of int to str
        Trials that are known to have no targets, and why.
    n_trials : int
    """

    values: list[dict[str, Any]]
    trials: list[list[int]]
    failures: Mapping[int, str]
    n_trials: int

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray], n_trials: int, failures: Mapping[int, str]) -> "Settings":
        """Return the settings of trials whose `columns` (n_trials,) hold every parameter."""
        rows = zip(*(column.tolist() for column in columns.values()), strict=True) if columns else [()] * n_trials
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        trials: dict[Any, list[int]] = {}
        for trial in range(n_trials):
            if trial not in failures:
                trials.setdefault(_key(values[trial]), []).append(trial)
        return cls([values[group[0]] for group in trials.values()], list(trials.values()), failures, n_trials)


class TargetColumns:
    """Targets of a block of trials of any strategy, see `TargetBlock`.

    Parameters
    ----------
    bars : Bars
    settings : Settings
    construct : callable
        It makes the strategy of one trial from its values by name.
    """

    def __init__(self, bars: Bars, settings: Settings, construct: Callable[[Mapping[str, Any]], Strategy]) -> None:
        self.failures: Mapping[int, str] = dict(settings.failures)
        # The last row, -1, is that of failed trials.
        self._rows = np.zeros((len(settings.values) + 1, len(bars)))
        self._row = np.full(settings.n_trials, -1, dtype=np.int64)
        self.atr_row = np.zeros(settings.n_trials, dtype=np.int64)
        ranges: dict[int, int] = {}
        distinct: list[Float64Array1D] = []
        for place, (values, group) in enumerate(zip(settings.values, settings.trials, strict=True)):
            try:
                strategy = construct(values)
                self._rows[place] = checked_target(strategy, bars)
                average = checked_atr(strategy, bars)
            except (Exception, SystemExit, LimitExceeded) as error:
                self.failures = {**self.failures, **dict.fromkeys(group, describe(error))}
                continue
            # The same memory is the same indicator; `distinct` keeps it from being used again.
            address = average.__array_interface__["data"][0]
            if address not in ranges:
                ranges[address] = len(distinct)
                distinct.append(average)
            self._row[group] = place
            self.atr_row[group] = ranges[address]
        self.order = np.argsort(self._row, kind="stable")
        self.atr = np.stack(distinct) if distinct else np.full((1, len(bars)), np.nan)

    def fill(self, start: int, stop: int, trials: Int64Array1D, out: Float64Array2D) -> None:
        """Write the targets of `trials` (k,) for bars [start, stop) to `out` (k, stop - start); 0 for failed trials."""
        out[:] = self._rows[self._row[trials], start:stop]


def checked_target(strategy: Strategy, bars: Bars) -> Float64Array1D:
    """Return the targets (n_bars,) of a strategy, NaN in its lookback turned into flat.

    Raises
    ------
    ValueError
        If they are not one finite number a bar.
    """
    target = np.asarray(strategy.target(bars))
    if target.shape != (len(bars),) or target.dtype.kind not in "fiub":
        got = f"shape {target.shape} of {target.dtype}"
        where = place_of(strategy)
        raise ValueError(f"`target` must be one number a bar, shape ({len(bars)},), but got {got}{where}.")
    target = np.array(target, dtype=np.float64)
    lookback = strategy.lookback()
    target[:lookback][np.isnan(target[:lookback])] = 0.0
    if not np.isfinite(target).all():
        wrong = np.flatnonzero(~np.isfinite(target))
        when = timestamp_text(bars, int(wrong[0]))
        hint = (
            f"NaN is flat in the first {lookback} bars only: a method `lookback(self)` says how many, or else the "
            "longest parameter whose name ends in window, period, lookback, fast or slow"
        )
        got = f"{target[wrong[0]]} at {when}"
        raise ValueError(f"`target` must be finite, but got {got}; {hint}{place_of(strategy)}.")
    return target


def checked_atr(strategy: Strategy, bars: Bars) -> Float64Array1D:
    """Return the average true range (n_bars,) of a strategy.

    Raises
    ------
    ValueError
        If it is not one number a bar.
    """
    average = np.asarray(strategy.atr(bars))
    if average.shape != (len(bars),) or average.dtype.kind not in "fiu":
        got = f"shape {average.shape} of {average.dtype}"
        raise ValueError(f"`atr` must be one number a bar, shape ({len(bars)},), but got {got}.")
    return np.asarray(average, dtype=np.float64)


def place_of(strategy: Strategy) -> str:
    """Return " (file, line)" of the user's function or method that decides; empty for a strategy of ours."""
    subject = getattr(strategy, "subject", None) or strategy
    decide = getattr(type(subject), "targets", getattr(type(subject), "target", subject))
    code = getattr(getattr(decide, "py_func", decide), "__code__", None)
    return (
        ""
        if code is None or not _is_own(Path(code.co_filename))
        else (f" ({Path(code.co_filename).name}, line {code.co_firstlineno})")
    )


def _is_own(file: Path) -> bool:
    """Whether a file is the user's."""
    return file.suffix == ".py" and PACKAGE not in file.parents and "site-packages" not in file.parts


def describe(error: BaseException) -> str:
    """Return "Type: message (file, line)" in one line, the line that of the user's own code which raised last."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if _is_own(file):
            place = f" ({file.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return " ".join(f"{type(error).__name__}: {error}".split())[: MESSAGE_LENGTH - len(place)] + place


def timestamp_text(bars: Bars, place: int) -> str:
    """Return the start of a bar as people write it: a date, or date and time in UTC."""
    moment = np.datetime64(int(bars.timestamp[place]), "ns")
    date = moment.astype("datetime64[D]")
    return str(date) if date == moment else f"{moment.astype('datetime64[s]')}Z"


def _key(values: Mapping[str, Any]) -> Any:
    key = tuple((type(value), value) for value in values.values())
    try:
        hash(key)
    except TypeError:
        return repr(key)
    return key
