"""The operations built of machine instructions against their plain twins."""

import numba
import numpy as np
import pytest

from alphapulse.backtesting.kernel import state as kernel_state
from alphapulse.backtesting.kernel import vector as kernel_vector
from alphapulse.backtesting.kernel.state import LANES, N_ROWS, STRIP


@numba.njit
def lowest_bit(mask):
    return kernel_vector.lowest_bit(mask)


@numba.njit
def at(row, lane):
    return kernel_state.at(row, lane), kernel_state.at(N_ROWS - 1, np.uint64(lane))


@numba.njit
def copy_strip(source, place, out, out_place):
    kernel_vector.copy_strip(source, np.uint64(place), out, np.uint64(out_place))


@numba.njit
def turn_square(source, lane, column, out, row):
    kernel_vector.turn_square(source, lane, column, out, row)


@pytest.mark.parametrize("mask", [1, 2, 0b1010_0000, 2**63, 2**64 - 1, 3 * 2**40])
def test_lowest_bit_matches_its_plain_twin(mask):
    assert lowest_bit(np.uint64(mask)) == kernel_vector.lowest_bit_python(mask)


@pytest.mark.parametrize(("row", "lane"), [(0, 0), (3, 9), (N_ROWS - 1, LANES - 1)])
def test_at_matches_its_plain_twin(row, lane):
    assert at(row, lane) == (kernel_state.at_python(row, lane), kernel_state.at_python(N_ROWS - 1, lane))


@pytest.mark.parametrize(("place", "out_place"), [(0, 0), (3, 9), (LANES - STRIP, 1)])
def test_copy_strip_matches_its_plain_twin(place, out_place):
    source = np.random.default_rng(0).normal(size=LANES)
    source[place] = np.nan
    plain, built = np.zeros(40), np.zeros(40)
    kernel_vector.copy_strip_python(source, place, plain, out_place)
    copy_strip(source, place, built, out_place)
    assert built.tobytes() == plain.tobytes()


@pytest.mark.parametrize(("lane", "column", "row"), [(0, 0, 0), (8, 5, 3), (16, 12, 1)])
def test_turn_square_matches_its_plain_twin(lane, column, row):
    source = np.random.default_rng(1).normal(size=(3 * STRIP, 20))
    source[lane, column] = np.nan
    plain, built = np.zeros((12, LANES)), np.zeros((12, LANES))
    kernel_vector.turn_square_python(source, lane, column, plain, row)
    turn_square(source, lane, column, built, row)
    assert built.tobytes() == plain.tobytes()
