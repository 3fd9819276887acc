"""Operations on bits and vectors that compiled Python has no words for.

Each NAME is built of machine instructions; NAME_python beside it is its specification and does the same step by step.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alphapulse.backtesting.kernel.state import STRIP
from alphapulse.typing import Float64Array1D, Float64Array2D

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, STRIP)
_ALIGNMENT = 8


def lowest_bit_python(mask: int) -> int:
    """Return the place of the lowest set bit of `mask`, which is not 0."""
    place = 0
    while not mask >> place & 1:
        place += 1
    return place


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Return the place of the lowest set bit of a uint64 that is not 0."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.uint64(types.uint64), build


def copy_strip_python(source: Float64Array1D, place: int, out: Float64Array1D, out_place: int) -> None:
    """Copy STRIP numbers from `place` on in `source` (n,) to `out_place` on in `out` (m,)."""
    for j in range(STRIP):
        out[out_place + j] = source[place + j]


@intrinsic  # type: ignore[untyped-decorator]
def copy_strip(typing_context: Any, source: Any, place: Any, out: Any, out_place: Any) -> Any:
    """Copy STRIP numbers from `place` on in `source` to `out_place` on in `out`, without bounds checks.

    Parameters
    ----------
    source, out : (n,) float64
    place, out_place : uint64
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        source, place, out, out_place = arguments
        source, out = (
            context.make_array(kind)(context, builder, array)
            for kind, array in ((signature.args[0], source), (signature.args[2], out))
        )
        vector = builder.load(_vector_at(builder, source, place), align=_ALIGNMENT)
        builder.store(vector, _vector_at(builder, out, out_place), align=_ALIGNMENT)

    return types.void(source, types.uint64, out, types.uint64), build


def turn_square_python(source: Float64Array2D, lane: int, column: int, out: Float64Array2D, row: int) -> None:
    """Copy a square of STRIP by STRIP numbers: out[row + i, lane + j] = source[lane + j, column + i]."""
    for i in range(STRIP):
        for j in range(STRIP):
            out[row + i, lane + j] = source[lane + j, column + i]


@intrinsic  # type: ignore[untyped-decorator]
def turn_square(typing_context: Any, source: Any, lane: Any, column: Any, out: Any, row: Any) -> Any:
    """Copy a square of STRIP by STRIP numbers and exchange its rows and columns on the way.

    out[row + i, lane + j] = source[lane + j, column + i] for i and j in range(STRIP), without bounds checks. Left
    to the compiler, one side of the copy would touch a cache line a number.

    Parameters
    ----------
    source : (n_rows, n_columns) float64, C order
    lane, column, row : int64, at least 0
    out : (n, n_lanes) float64, C order
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        source, lane, column, out, row = arguments
        source, out = (
            context.make_array(kind)(context, builder, array)
            for kind, array in ((signature.args[0], source), (signature.args[3], out))
        )
        width = cgutils.unpack_tuple(builder, source.shape)[1]
        n_lanes = cgutils.unpack_tuple(builder, out.shape)[1]

        vectors = []
        for j in range(STRIP):
            place = builder.add(builder.mul(builder.add(lane, ir.Constant(lane.type, j)), width), column)
            vectors.append(builder.load(_vector_at(builder, source, place), align=_ALIGNMENT))
        # Pairs of vectors at a growing distance exchange halves of halves: three rounds for eight.
        distance = STRIP // 2
        while distance:
            low = [i // distance % 2 * STRIP + i - i // distance % 2 * distance for i in range(STRIP)]
            high = [place + distance for place in low]
            turned = list(vectors)
            for j in range(STRIP):
                if j // distance % 2 == 0:
                    pair = vectors[j], vectors[j + distance]
                    turned[j] = builder.shuffle_vector(*pair, _mask(low))
                    turned[j + distance] = builder.shuffle_vector(*pair, _mask(high))
            vectors = turned
            distance //= 2
        for i, vector in enumerate(vectors):
            place = builder.add(builder.mul(builder.add(row, ir.Constant(row.type, i)), n_lanes), lane)
            builder.store(vector, _vector_at(builder, out, place), align=_ALIGNMENT)

    return types.void(source, types.int64, types.int64, out, types.int64), build


def _vector_at(builder: Any, array: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(array.data, [place]), _VECTOR.as_pointer())


def _mask(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), STRIP), places)
