"""Objectives of the user's own: functions of named arrays, found by their path as strategies are."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alphapulse.errors import StrategyError, did_you_mean
from alphapulse.strategies.importing import folder_of_same, import_object, packed
from alphapulse.typing import Float64Array1D

ALL = "metrics"
"""An argument of this name is given all arrays by name."""


def is_path(text: str) -> bool:
    """Return whether a text is the dotted path of a function rather than an expression."""
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


@dataclass(frozen=True)
class ScoreFunction:
    """A function of trials; pickled as its path, so that another process imports it itself.

    Attributes
    ----------
    target : str
        Dotted path.
    search_path : str
        Folder that it was imported from, absolute.
    known : tuple of str
        The arrays that there are.
    source_hash : str
        Of its source and of the modules beside it that it imports.
    asked : tuple of str
        The arrays that it is given, by keyword.
    sources : mapping
        The source itself, as it travels to another machine.
    """

    target: str
    search_path: str
    known: tuple[str, ...]
    source_hash: str
    asked: tuple[str, ...]
    function: Callable[..., Any]
    sources: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.target, self.search_path, self.known, self.source_hash, self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that it asks for."""
        return tuple(name for name in self.asked if name != ALL)

    def evaluate(self, columns: Mapping[str, Float64Array1D]) -> Float64Array1D:
        """Return the value of each trial (n_trials,), from arrays (n_trials,) that it cannot change.

        Raises
        ------
        ValueError
            If it returns anything but an array of numbers of that shape.
        """
        given = {name: _read_only(columns[name]) for name in (self.known if ALL in self.asked else self.asked)}
        called = {name: given[name] for name in self.asked if name != ALL}
        n_trials = len(next(iter(columns.values())))
        with np.errstate(all="ignore"):
            values = np.asarray(self.function(**called, **({ALL: given} if ALL in self.asked else {})))
        if values.shape != (n_trials,) or values.dtype.kind not in "biuf":
            raise ValueError(
                f"`{self.target}` must return an array (n_trials,) of numbers, one a trial, but returned "
                f"{values.dtype} {values.shape} for {n_trials} trials."
            )
        return values.astype(np.float64)


def resolve_score(target: str, known: Sequence[str], search_path: str | None = None) -> ScoreFunction:
    """Import a function whose arguments are named as arrays are: `def score(sharpe_ratio, max_drawdown)`.

    Parameters
    ----------
    target : str
        Dotted path, "my_module.score".
    known : sequence of str
        Names of the arrays; an argument called `metrics` is given all of them. Others keep their defaults.
    search_path : str, optional
        Folder to import from before the installed packages; by default the working directory.

    Raises
    ------
    StrategyError
        If it cannot be imported, is no function, or asks for what there is not.
    """
    folder = Path(search_path or ".").resolve()
    function, source_hash = import_object(target, folder)
    if not callable(function) or inspect.isclass(function):
        raise StrategyError(f"{target} is of type {type(function).__name__}; an objective is a function of metrics.")
    asked = []
    for name, argument in inspect.signature(getattr(function, "py_func", function)).parameters.items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD, argument.POSITIONAL_ONLY):
            raise StrategyError(f"{target} takes {argument}; an objective's arguments are named as metrics are.")
        if name in known or name == ALL:
            asked.append(name)
        elif argument.default is argument.empty:
            hint = did_you_mean(name, known) or f"; metrics are {', '.join(known)}"
            raise StrategyError(f"{target} asks for {name!r}, which is no metric{hint}")
    if not asked:
        raise StrategyError(f"{target} asks for no metric; its arguments are named as metrics are, or one is `{ALL}`.")
    return ScoreFunction(target, str(folder), tuple(known), source_hash, tuple(asked), function, packed(target, folder))


def _rebuild(
    target: str,
    search_path: str,
    known: tuple[str, ...],
    source_hash: str,
    sources: Mapping[str, tuple[str, bytes]],
) -> ScoreFunction:
    score = resolve_score(target, known, folder_of_same(target, search_path, source_hash, sources))
    if score.source_hash != source_hash:
        raise StrategyError(
            f"The source of {target} in {search_path} is not what the sweep began with; start it again."
        )
    return score


def _read_only(column: Float64Array1D) -> Float64Array1D:
    copy = np.array(column, dtype=np.float64)
    copy.flags.writeable = False
    return copy
