"""Array types that carry their rank; time is on axis 0, trials or assets on axis 1."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float64Array1D: TypeAlias = NDArray[np.float64]
Float64Array2D: TypeAlias = NDArray[np.float64]
Float64Array3D: TypeAlias = NDArray[np.float64]
Int64Array1D: TypeAlias = NDArray[np.int64]
Int64Array2D: TypeAlias = NDArray[np.int64]
Int32Array1D: TypeAlias = NDArray[np.int32]
Int8Array1D: TypeAlias = NDArray[np.int8]
BoolArray1D: TypeAlias = NDArray[np.bool_]
