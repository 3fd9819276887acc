"""The search space: what each swept key may be, and parameters as one array of numbers."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alphapulse.typing import Float64Array1D, Float64Array2D

Choice = str | int | float | bool | None


@dataclass(frozen=True)
class Dimension:
    """One swept key.

    Attributes
    ----------
    key : str
        Dotted name, "strategy.ma_window" or "engine.stop.multiplier".
    kind : {"int", "float", "categorical"}
    low, high : float
        Inclusive bounds; unused by a categorical dimension.
    step : float, optional
        Distance of the values from `low` on; None is continuous (1 for int unless log).
    log : bool
        Whether values are spread evenly in the logarithm.
    choices : tuple
        Of a categorical dimension; its parameter is the place in this tuple.
    """

    key: str
    kind: Literal["int", "float", "categorical"]
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    choices: tuple[Choice, ...] = ()

    @property
    def size(self) -> int | None:
        """Distinct values, or None where they are uncountable."""
        if self.kind == "categorical":
            return len(self.choices)
        step = 1.0 if self.kind == "int" and self.step is None else self.step
        return None if step is None else int(np.floor((self.high - self.low) / step + 1e-9)) + 1

    def value(self, parameter: float) -> Choice:
        """Return the configuration value that a parameter stands for."""
        if self.kind == "categorical":
            return self.choices[int(parameter)]
        return int(parameter) if self.kind == "int" else float(parameter)


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
        """Distinct points, or None where they are uncountable."""
        sizes = [d.size for d in self.dimensions]
        return None if None in sizes else int(np.prod([s for s in sizes if s is not None], dtype=object))

    def values(self, parameters: Float64Array1D) -> dict[str, Any]:
        """Return the configuration values of one trial by dotted name."""
        return {d.key: d.value(p) for d, p in zip(self.dimensions, parameters, strict=True)}

    def columns(self, parameters: Float64Array2D) -> dict[str, np.ndarray]:
        """Return the parameters (n_trials, n_dimensions) as one column a key, ready for the batch path."""
        return {d.key: parameters[:, i] for i, d in enumerate(self.dimensions)}
