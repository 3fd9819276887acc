"""What a swept key may be, one class a kind.

Whatever is asked of a dimension is a member of `Dimension`: another kind is another class here, the constructor in
`config.grammar` that its text is read by, and its examples in the test of this module.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from alphapulse.errors import ConfigError
from alphapulse.plain import plain
from alphapulse.search.choices import Choice, choice_text, frozen, is_same_choice, shown_choice
from alphapulse.typing import Float64Array1D, Int64Array1D

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Dimension(ABC):
    """One swept key: a range of parameters, which are numbers, and the configuration value of each.

    Attributes
    ----------
    kind : str
        Name of the class in `sweep.space` and in messages.
    is_ordered : bool
        Whether near parameters are near values, which a model of distances takes for granted.
    is_whole : bool
        Whether parameters are whole numbers, so that a share of the range is rounded to one.
    key : str
        Dotted name, "strategy.ma_window" or "engine.stop.multiplier".
    """

    kind: ClassVar[str]
    is_ordered: ClassVar[bool] = True
    is_whole: ClassVar[bool] = False
    key: str

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest parameter, both inclusive."""

    @property
    @abstractmethod
    def spacing(self) -> float:
        """Distance of neighbouring parameters from the lowest on; 0 where they are continuous."""

    @property
    def step(self) -> float | None:
        """Spacing that was asked for; None where nearness is a share of the range and no number of steps."""
        return None

    @property
    def log(self) -> bool:
        """Whether parameters are spread evenly in the logarithm."""
        return False

    @property
    def is_continuous(self) -> bool:
        """Whether the parameters are uncountable."""
        return self.spacing == 0.0

    @property
    def size(self) -> int | None:
        """Number of distinct parameters, or None where they are uncountable."""
        low, high = self.bounds
        return None if self.is_continuous else int(np.floor((high - low) / self.spacing + 1e-9)) + 1

    @property
    def middle(self) -> float:
        """Parameter in the middle of the bounds, the next lower one of a grid."""
        low, high = self.bounds
        half = (high - low) / 2
        return low + (half if self.is_continuous else self.spacing * float(np.floor(half / self.spacing)))

    def places(self, parameters: Float64Array1D) -> Int64Array1D:
        """Return the place (n_trials,) of each parameter (n_trials,) among all, from 0; not if continuous."""
        places: Int64Array1D = np.rint((parameters - self.bounds[0]) / self.spacing).astype(np.int64)
        return places

    @property
    def ends(self) -> tuple[Choice, ...]:
        """Values that the others lie between: the lowest and the highest, all where there is no order."""
        return tuple(self.value(parameter) for parameter in self.bounds)

    @property
    def probes(self) -> tuple[Choice, ...]:
        """Values that stand for the others: the lowest, middle and highest, all where there is no order."""
        low, high = self.bounds
        return tuple(self.value(parameter) for parameter in (low, self.middle, high))

    @abstractmethod
    def value(self, parameter: float) -> Choice:
        """Return the configuration value that a parameter stands for."""

    def parameter(self, value: Any) -> float | None:
        """Return the parameter that stands for a configuration value; None where the value is none of them."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        (low, high), spacing = self.bounds, self.spacing
        if not low <= value <= high or spacing == 0.0:
            return float(value) if low <= value <= high else None
        place = round((value - low) / spacing)
        # As `places` and the grid have it, to the last bit.
        parameter = min(low + place * spacing, high)
        return parameter if abs(parameter - value) <= 1e-9 * max(abs(value), spacing) else None

    @abstractmethod
    def column(self, parameters: Float64Array1D) -> np.ndarray | list[Choice]:
        """Return the values of parameters (n_trials,): numbers of one type as an array, others as a list."""

    @abstractmethod
    def fitted(self, types: Collection[type], convert: Callable[[Choice], Choice]) -> "Dimension | None":
        """Return the dimension for a field of one of `types`, or None if its numbers are of none of them.

        A value that is listed by itself goes through `convert`, which may raise.
        """

    def describe(self) -> str:
        """Return what it may be, for messages."""
        low, high = self.bounds
        step = "" if self.step is None else f", step {self.step:g}"
        return f"{self.kind}[{low:g}, {high:g}{step}{', log' if self.log else ''}]"

    @abstractmethod
    def to_grammar(self) -> str:
        """Return the text in Hydra's grammar that `config.grammar` reads back; `high` has to be one of the values."""

    @abstractmethod
    def distribution(self) -> "BaseDistribution":
        """Return the distribution in Optuna's words, whose internal representation of the values are the parameters."""

    def to_json(self) -> dict[str, Any]:
        """Return an object of `sweep.space`; objects of every kind have the same keys."""
        low, high = self.bounds
        step = None if self.step is None else float(self.step)
        return {
            "key": self.key, "kind": self.kind, "low": low, "high": high, "step": step, "log": self.log, "choices": [],
        }  # fmt: skip

    @classmethod
    @abstractmethod
    def _of_json(cls, stored: Mapping[str, Any]) -> "Dimension":
        """Return the dimension of this kind that `to_json` stored."""

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "Dimension":
        """Return the dimension that `to_json` stored, of whatever kind.

        Raises
        ------
        ConfigError
            If the kind is unknown.
        """
        kinds = {kind.kind: kind for kind in Dimension.__subclasses__()}
        if stored["kind"] not in kinds:
            known = ", ".join(kinds)
            raise ConfigError(f"`{stored['key']}` must be of a kind among {known}, but got {stored['kind']!r}.")
        return kinds[stored["kind"]]._of_json(stored)


@dataclass(frozen=True)
class IntDimension(Dimension):
    """Whole numbers.

    Attributes
    ----------
    low, high : int
        Both inclusive; with `log` above 0.
    step : int, optional
        Distance of the values from `low` on; None is every whole number, whose neighbours are 10 % of the range.
    log : bool
        Whether values are spread evenly in the logarithm; every whole number is a value all the same.
    """

    kind: ClassVar[str] = "int"
    is_whole: ClassVar[bool] = True

    key: str
    low: int
    high: int
    step: int | None = None
    log: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """`low` and `high`."""
        return float(self.low), float(self.high)

    @property
    def spacing(self) -> float:
        """The step, or 1."""
        return float(self.step or 1)

    def value(self, parameter: float) -> int:
        """Return the whole number."""
        return int(parameter)

    def column(self, parameters: Float64Array1D) -> np.ndarray:
        """Return the whole numbers (n_trials,)."""
        return parameters.astype(np.int64)

    def fitted(self, types: Collection[type], convert: Callable[[Choice], Choice]) -> "IntDimension | None":
        """Return the dimension for a field of whole or real numbers."""
        return self if int in types or float in types else None

    def to_grammar(self) -> str:
        """Return `range(..)` where a step was stated, else `int(interval(..))`."""
        if self.step is not None:
            return f"range({self.low},{self.high + self.step},{self.step})"
        interval = f"interval({self.low},{self.high})"
        return f"int(tag(log,{interval}))" if self.log else f"int({interval})"

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's IntDistribution."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)

    @classmethod
    def _of_json(cls, stored: Mapping[str, Any]) -> "IntDimension":
        step = None if stored["step"] is None else int(stored["step"])
        return cls(stored["key"], int(stored["low"]), int(stored["high"]), step, stored["log"])


@dataclass(frozen=True)
class FloatDimension(Dimension):
    """Real numbers.

    Attributes
    ----------
    low, high : float
        Both inclusive; with `log` above 0.
    step : float, optional
        Distance of the values from `low` on; None is continuous.
    log : bool
        Whether values are spread evenly in the logarithm.
    """

    kind: ClassVar[str] = "float"

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """`low` and `high`."""
        return float(self.low), float(self.high)

    @property
    def spacing(self) -> float:
        """The step, or 0."""
        return float(self.step or 0)

    def value(self, parameter: float) -> float:
        """Return the number."""
        return float(parameter)

    def column(self, parameters: Float64Array1D) -> np.ndarray:
        """Return the numbers (n_trials,)."""
        return np.ascontiguousarray(parameters)

    def fitted(self, types: Collection[type], convert: Callable[[Choice], Choice]) -> "FloatDimension | None":
        """Return the dimension for a field of real numbers."""
        return self if float in types else None

    def to_grammar(self) -> str:
        """Return `range(..)` where a step was stated, else `interval(..)`."""
        low, high = self.bounds
        if self.step is not None:
            # In decimals, so that the steps from 0 by 0.1 below 1 end at 0.9.
            stop = Decimal(repr(high)) + Decimal(repr(self.spacing))
            return f"range({low!r},{float(stop)!r},{self.spacing!r})"
        interval = f"interval({low!r},{high!r})"
        return f"tag(log,{interval})" if self.log else interval

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's FloatDistribution."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    @classmethod
    def _of_json(cls, stored: Mapping[str, Any]) -> "FloatDimension":
        return cls(stored["key"], stored["low"], stored["high"], stored["step"], stored["log"])


@dataclass(frozen=True)
class CategoricalDimension(Dimension):
    """Choices without an order; a parameter is the place of its choice, from 0.

    Attributes
    ----------
    choices : tuple
        Texts, numbers, booleans, None and tuples of them, each once.
    """

    kind: ClassVar[str] = "categorical"
    is_ordered: ClassVar[bool] = False

    key: str
    choices: tuple[Choice, ...]

    @property
    def bounds(self) -> tuple[float, float]:
        """The places of the first and the last choice."""
        return 0.0, len(self.choices) - 1.0

    @property
    def spacing(self) -> float:
        """1, from place to place."""
        return 1.0

    @property
    def middle(self) -> float:
        """The first choice: none lies between the others."""
        return 0.0

    @property
    def ends(self) -> tuple[Choice, ...]:
        """Every choice."""
        return self.choices

    @property
    def probes(self) -> tuple[Choice, ...]:
        """Every choice."""
        return self.choices

    def value(self, parameter: float) -> Choice:
        """Return the choice at the place."""
        return self.choices[int(parameter)]

    def parameter(self, value: Any) -> float | None:
        """Return the place of a choice; 1.0 is the choice 1, but True is not, and a list is a tuple."""
        value = frozen(value)
        same = (is_same_choice(choice, value) for choice in self.choices)
        return next((float(place) for place, is_same in enumerate(same) if is_same), None)

    def column(self, parameters: Float64Array1D) -> np.ndarray | list[Choice]:
        """Return the choices of (n_trials,) places: an array where all are numbers of one type, objects where not all
        are single values.
        """
        places = parameters.astype(np.int64)
        if all(isinstance(c, (int, float)) for c in self.choices) and len({type(c) for c in self.choices}) == 1:
            column: np.ndarray = np.asarray(self.choices)[places]
            return column
        chosen = [self.choices[place] for place in places.tolist()]
        if not any(isinstance(choice, tuple) for choice in self.choices):
            return chosen
        objects = np.empty(len(chosen), dtype=object)
        for place, choice in enumerate(chosen):
            objects[place] = choice
        return objects

    def fitted(self, types: Collection[type], convert: Callable[[Choice], Choice]) -> "CategoricalDimension":
        """Return the dimension with every choice converted."""
        return replace(self, choices=tuple(convert(choice) for choice in self.choices))

    def describe(self) -> str:
        """Return the choices, for messages."""
        return f"choice({', '.join(shown_choice(choice) for choice in self.choices)})"

    def to_grammar(self) -> str:
        """Return `choice(..)`."""
        return f"choice({','.join(choice_text(choice) for choice in self.choices)})"

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's CategoricalDistribution."""
        from optuna.distributions import CategoricalDistribution

        # Optuna keeps nothing but texts, numbers, booleans and None.
        return CategoricalDistribution([shown_choice(c) if isinstance(c, tuple) else c for c in self.choices])

    def to_json(self) -> dict[str, Any]:
        """Return an object of `sweep.space`, without bounds."""
        return super().to_json() | {"low": 0.0, "high": 0.0, "choices": plain(self.choices)}

    @classmethod
    def _of_json(cls, stored: Mapping[str, Any]) -> "CategoricalDimension":
        return cls(stored["key"], frozen(stored["choices"]))
