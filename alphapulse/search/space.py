"""The search space: the swept keys, what must hold between them, and parameters as one array of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from alphapulse.search.dimensions import Dimension
from alphapulse.search.rules import Rules
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class SearchSpace:
    """The swept keys in a fixed order; a trial is a row of `len(space)` numbers.

    Attributes
    ----------
    dimensions : tuple of Dimension
    rules : Rules
        What must hold between keys; `to_json` leaves it out.
    """

    dimensions: tuple[Dimension, ...]
    rules: Rules = field(default_factory=Rules)

    def __len__(self) -> int:
        return len(self.dimensions)

    @property
    def keys(self) -> tuple[str, ...]:
        """Dotted names, in the order of the columns."""
        return tuple(d.key for d in self.dimensions)

    @property
    def size(self) -> int | None:
        """Number of distinct points, whatever the rules say, or None where they are uncountable."""
        sizes = [d.size for d in self.dimensions]
        return None if None in sizes else int(np.prod([s for s in sizes if s is not None], dtype=object))

    def codes(self, parameters: Float64Array2D) -> Int64Array1D:
        """Return the place (n_trials,) of trials (n_trials, p) among all points, from 0; not without a `size`."""
        codes = np.zeros(len(parameters), dtype=np.int64)
        for place, dimension in enumerate(self.dimensions):
            codes *= dimension.size or 1
            codes += dimension.places(parameters[:, place])
        return codes

    def values(self, parameters: Float64Array1D) -> dict[str, Any]:
        """Return the configuration values of one trial by dotted name."""
        return {d.key: d.value(p) for d, p in zip(self.dimensions, parameters, strict=True)}

    def columns(self, parameters: Float64Array2D, names: Iterable[str]) -> dict[str, Any]:
        """Return the values that keys have in trials (n_trials, p): a column (n_trials,), or one where it is fixed."""
        places = {key: place for place, key in enumerate(self.keys)}
        return {
            name: self.dimensions[places[name]].column(parameters[:, places[name]])
            if name in places
            else self.rules.fixed[name]
            for name in names
        }

    def fits(self, parameters: Float64Array2D) -> BoolArray1D:
        """Return whether each of the trials (n_trials, p) keeps all constraints (n_trials,)."""
        fitting = np.ones(len(parameters), dtype=np.bool_)
        for constraint in self.rules.constraints if len(parameters) else ():
            fitting &= constraint.evaluate(self.columns(parameters, constraint.names))
        return fitting

    def broken(self, parameters: Float64Array1D) -> str | None:
        """Return the first constraint that one trial (p,) breaks; None where it breaks none."""
        row = parameters[None, :]
        for constraint in self.rules.constraints:
            if not np.all(constraint.evaluate(self.columns(row, constraint.names))):
                return constraint.text
        return None

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """Return the Optuna distribution of each key, in the order of the columns."""
        return {d.key: d.distribution() for d in self.dimensions}

    def to_json(self) -> list[dict[str, Any]]:
        """Return what the column `sweep.space` holds."""
        return [d.to_json() for d in self.dimensions]

    @classmethod
    def from_json(cls, stored: Sequence[Mapping[str, Any]]) -> "SearchSpace":
        """Return the space that `to_json` stored."""
        return cls(tuple(Dimension.from_json(d) for d in stored))
