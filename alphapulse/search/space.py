"""The search space: the swept keys, what must hold between them, and parameters as one array of numbers.

Where a key is inactive in a trial (see `Rules.when`), its parameter is NaN.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from alphapulse.search.conditions import filled_column
from alphapulse.search.dimensions import Dimension
from alphapulse.search.rules import Rules
from alphapulse.typing import BoolArray1D, BoolArray2D, Float64Array1D, Float64Array2D, Int64Array1D

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

    @property
    def is_conditional(self) -> bool:
        """Whether a key is inactive in some trials."""
        return bool(self.rules.when)

    @property
    def n_codes(self) -> int | None:
        """Number of codes; as `size`, but for keys that are continuous and not always active, which have none."""
        sizes = [d.size or (1 if d.key in self.rules.when else None) for d in self.dimensions]
        return None if None in sizes else int(np.prod([s for s in sizes if s is not None], dtype=object))

    def codes(self, parameters: Float64Array2D) -> Int64Array1D:
        """Return the place (n_trials,) of trials (n_trials, p) among all points, from 0; not without `n_codes`.

        Equal settings have one code. It is -1 where a continuous key is active: such a setting does not come twice.
        """
        codes = np.zeros(len(parameters), dtype=np.int64)
        is_uncountable = np.zeros(len(parameters), dtype=np.bool_)
        for place, dimension in enumerate(self.dimensions):
            column = parameters[:, place]
            if dimension.is_continuous:
                is_uncountable |= ~np.isnan(column)
                continue
            if self.is_conditional:
                column = np.where(np.isnan(column), dimension.bounds[0], column)
            codes *= dimension.size or 1
            codes += dimension.places(column)
        codes[is_uncountable] = -1
        return codes

    def active(self, parameters: Float64Array2D) -> BoolArray2D:
        """Return which keys are active in trials (n_trials, p): those whose condition holds and asks for none that is
        inactive itself.
        """
        active = np.ones(parameters.shape, dtype=np.bool_)
        places = {key: place for place, key in enumerate(self.keys)}
        for key, condition in self.rules.when.items() if len(parameters) else ():
            active[:, places[key]] = condition.evaluate(self.columns(parameters, condition.names))
            for name in condition.names:
                if name in places:
                    active[:, places[key]] &= active[:, places[name]]
        return active

    def masked(self, parameters: Float64Array2D) -> Float64Array2D:
        """Return trials (n_trials, p) with NaN for what is inactive in them."""
        if not self.is_conditional:
            return parameters
        masked: Float64Array2D = np.where(self.active(parameters), parameters, np.nan)
        return masked

    def represents(self, parameters: Float64Array2D) -> BoolArray1D:
        """Return which trials (n_trials, p) stand for themselves: of those that differ in inactive keys alone one."""
        if not self.is_conditional:
            return np.ones(len(parameters), dtype=np.bool_)
        lowest = np.array([d.bounds[0] for d in self.dimensions])
        is_first: BoolArray2D = self.active(parameters) | np.isnan(parameters) | (parameters == lowest)
        return np.asarray(is_first.all(axis=1))

    def values(self, parameters: Float64Array1D) -> dict[str, Any]:
        """Return the configuration values of one trial by dotted name, without the keys that are inactive in it."""
        return {d.key: d.value(p) for d, p in zip(self.dimensions, parameters, strict=True) if not np.isnan(p)}

    def ruled(self, rules: Rules) -> "SearchSpace":
        """Return the space under rules, without the keys that are never active under them."""
        return SearchSpace(tuple(d for d in self.dimensions if d.key not in rules.idle), rules)

    def columns(self, parameters: Float64Array2D, names: Iterable[str]) -> dict[str, Any]:
        """Return the values that keys have in trials (n_trials, p): a column (n_trials,), or one where it is fixed.

        An inactive key has the value that it has where it is not swept.
        """
        places, fixed = {key: place for place, key in enumerate(self.keys)}, self.rules.fixed
        return {
            name: filled_column(self.dimensions[places[name]], parameters[:, places[name]], fixed.get(name))
            if name in places
            else fixed[name]
            for name in names
        }

    def fits(self, parameters: Float64Array2D) -> BoolArray1D:
        """Return whether each of the trials (n_trials, p) keeps all constraints (n_trials,)."""
        fitting, parameters = np.ones(len(parameters), dtype=np.bool_), self.masked(parameters)
        for constraint in self.rules.constraints if len(parameters) else ():
            fitting &= constraint.evaluate(self.columns(parameters, constraint.names))
        return fitting

    @property
    def always_fits(self) -> bool:
        """Whether no setting can break a constraint, by the bounds of its keys; False where that takes more to see."""
        lowest = [d.bounds[0] for d in self.dimensions]
        for constraint in self.rules.constraints:
            places = [place for place, key in enumerate(self.keys) if key in constraint.names]
            if not constraint.is_order or not all(self.dimensions[place].is_ordered for place in places):
                return False
            corners = np.array([lowest] * 2 ** len(places)).reshape(2 ** len(places), len(lowest))
            for corner, bounds in zip(corners, product(*(self.dimensions[p].bounds for p in places)), strict=True):
                corner[places] = bounds
            if not np.all(constraint.evaluate(self.columns(corners, constraint.names))):
                return False
        return True

    def broken(self, parameters: Float64Array1D) -> str | None:
        """Return the first constraint that one trial (p,) breaks; None where it breaks none."""
        row = self.masked(parameters[None, :])
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
