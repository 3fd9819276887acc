"""The search space: the swept keys, and parameters as one array of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphapulse.search.dimensions import Dimension
from alphapulse.typing import Float64Array1D

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class SearchSpace:
    """The swept keys in a fixed order; a trial is a row of `len(space)` numbers."""

    dimensions: tuple[Dimension, ...]

    def __len__(self) -> int:
        return len(self.dimensions)

    @property
    def keys(self) -> tuple[str, ...]:
        """Dotted names, in the order of the columns."""
        return tuple(d.key for d in self.dimensions)

    @property
    def size(self) -> int | None:
        """Number of distinct points, or None where they are uncountable."""
        sizes = [d.size for d in self.dimensions]
        return None if None in sizes else int(np.prod([s for s in sizes if s is not None], dtype=object))

    def values(self, parameters: Float64Array1D) -> dict[str, Any]:
        """Return the configuration values of one trial by dotted name."""
        return {d.key: d.value(p) for d, p in zip(self.dimensions, parameters, strict=True)}

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
