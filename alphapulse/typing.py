"""Array types that carry their rank, for the type checker; time is on axis 0, trials or assets on axis 1."""

from typing import TypeAlias

import numpy as np

Float64Array1D: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
Float64Array2D: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Float64Array3D: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.float64]]
Int64Array1D: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Int64Array2D: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Int64Array3D: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.int64]]
Int8Array1D: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int8]]
BoolArray1D: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool_]]
BoolArray2D: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.bool_]]
