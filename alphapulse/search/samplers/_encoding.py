"""Parameters as points of the unit cube, where every dimension is evenly spread, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphapulse.compiling import jit
from alphapulse.numerics import exp, log
from alphapulse.search.space import SearchSpace
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D

CATEGORICAL, CONTINUOUS, STEPPED = 0, 1, 2
ULP = 2.0**-53
"""Distance of the 53-bit fractions of the unit interval."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """The search space as arrays, one entry a dimension.

    A stepped dimension gives each value an equal cell of the unit interval, half a step to either side, so that its
    ends are as likely as its middle; with `log` the cells are equal in value and lie in the logarithm.

    Attributes
    ----------
    kind : (p,)
        CATEGORICAL, CONTINUOUS or STEPPED.
    low, high, step : (p,)
        Bounds and distance of the values; step is 0 where they are continuous.
    size : (p,)
        Distinct values, 0 where uncountable.
    logarithmic : (p,)
        Whether the unit interval is the logarithm of the values.
    start, width : (p,)
        The unit interval in values (or their logarithm).
    """

    kind: Int8Array1D
    low: Float64Array1D
    high: Float64Array1D
    step: Float64Array1D
    size: Int64Array1D
    logarithmic: BoolArray1D
    start: Float64Array1D
    width: Float64Array1D

    @classmethod
    def of(cls, space: SearchSpace) -> "Encoding":
        """Return the arrays of `space`."""
        n = len(space)
        kind, size, logarithmic = np.empty(n, np.int8), np.empty(n, np.int64), np.zeros(n, np.bool_)
        low, high, step, start, width = (np.zeros(n) for _ in range(5))
        for i, d in enumerate(space.dimensions):
            size[i] = d.size or 0
            kind[i] = CATEGORICAL if not d.is_ordered else (STEPPED if size[i] else CONTINUOUS)
            (low[i], high[i]), step[i] = d.bounds, d.spacing
            half = 0.5 * step[i]
            last = low[i] + (size[i] - 1) * step[i] if size[i] else high[i]
            logarithmic[i] = d.log
            start[i] = log(low[i] - half) if d.log else low[i] - half
            width[i] = (log(last + half) if d.log else last + half) - start[i]
        return cls(kind, low, high, step, size, logarithmic, start, width)

    def __len__(self) -> int:
        return self.kind.size

    def decode(self, unit: Float64Array2D) -> Float64Array2D:
        """Return the parameters (m, p) of points of the unit cube (m, p); what lies outside is moved to its edge."""
        parameters: Float64Array2D = _decode(
            unit, self.kind, self.low, self.high, self.step, self.size, self.logarithmic, self.start, self.width
        )
        return parameters

    def encode(self, parameters: Float64Array2D) -> Float64Array2D:
        """Return the points of the unit cube (m, p) in the middle of the cells of parameters (m, p)."""
        unit: Float64Array2D = _encode(parameters, self.logarithmic, self.start, self.width)
        return unit

    def completed(self, parameters: Float64Array2D) -> Float64Array2D:
        """Return parameters (m, p) with others in place of NaN: uniform, by a hash of what else is in the row."""
        missing = np.isnan(parameters)
        if not missing.any():
            return parameters
        known = np.where(missing, 0.0, parameters)
        completed: Float64Array2D = np.where(missing, self.decode(_hashed(known.view(np.uint64))), parameters)
        return completed


@jit
def _hashed(bits: Any) -> Any:
    """Return uniform numbers (m, p) in [0, 1), those of a row a hash of all its bits (m, p): SplitMix64."""
    m, p = bits.shape
    out = np.empty((m, p))
    for i in range(m):
        state = np.uint64(0)
        for j in range(2 * p):
            state = state + np.uint64(0x9E3779B97F4A7C15)
            if j < p:
                state ^= bits[i, j]
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
            if j >= p:
                out[i, j - p] = np.float64(state >> np.uint64(11)) * ULP
    return out


@jit
def _decode(
    unit: Any, kind: Any, low: Any, high: Any, step: Any, size: Any, logarithmic: Any, start: Any, width: Any
) -> Any:
    m, p = unit.shape
    out = np.empty((m, p))
    for j in range(p):
        for i in range(m):
            u = min(max(unit[i, j], 0.0), 1.0)
            if logarithmic[j]:
                value = exp(start[j] + u * width[j])
                if kind[j] == STEPPED:
                    value = low[j] + np.floor((value - low[j]) / step[j] + 0.5) * step[j]
            elif kind[j] == CONTINUOUS:
                value = low[j] + u * width[j]
            else:
                place = min(np.floor(u * size[j]), size[j] - 1.0)
                value = low[j] + place * step[j]
            out[i, j] = min(max(value, low[j]), high[j])
    return out


@jit
def _encode(parameters: Any, logarithmic: Any, start: Any, width: Any) -> Any:
    m, p = parameters.shape
    out = np.empty((m, p))
    for j in range(p):
        for i in range(m):
            value = log(parameters[i, j]) if logarithmic[j] else parameters[i, j]
            out[i, j] = (value - start[j]) / width[j] if width[j] > 0.0 else 0.5
    return out
