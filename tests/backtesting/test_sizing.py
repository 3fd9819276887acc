"""Allocations out of targets: the compiled loop and the plain one."""

import math

import numpy as np

from alphapulse.backtesting.kernel.state import TINY
from alphapulse.backtesting.sizing import scale_targets, scale_targets_python

TARGETS = np.array([[1.0, -0.5, 0.0, 1e-15, math.nan, math.inf]] * 3)
SCALES = np.array([[2.0, 4.0, 1.0, 1.0, 1.0, 1.0], [math.nan, 0.0, 1.0, math.nan, 1.0, 1.0], [1.0] * 6])
ALONE, BY_RISK = -1, 2


def scaled(function, rows, most=1.0):
    targets, row = TARGETS.copy(), np.array(rows)
    function(targets, SCALES, row, row == BY_RISK, np.full(3, 0.1), np.full(3, most))
    return targets


def test_scale_targets_matches_plain():
    for rows in ([0, 1, ALONE], [BY_RISK, 0, 0], [ALONE] * 3):
        np.testing.assert_array_equal(scaled(scale_targets, rows), scaled(scale_targets_python, rows))


def test_scale_targets_keeps_directions_whose_size_is_unknown():
    by_volatility, unknown, by_risk = scaled(scale_targets, [0, 1, BY_RISK])
    np.testing.assert_allclose(by_volatility[:4], [0.2, -0.2, 0.0, 0.0])
    assert unknown[:4].tolist() == [TINY, -TINY, 0.0, 0.0]
    assert by_risk[:4].tolist() == [0.1, -0.1, 0.0, 0.0]
    assert np.isnan([by_volatility[4:], unknown[4:], by_risk[4:]]).all()
    np.testing.assert_array_equal(scaled(scale_targets, [ALONE] * 3), TARGETS)


def test_scale_targets_stays_within_the_largest_allocation():
    by_volatility, unknown, by_risk = scaled(scale_targets, [0, 1, BY_RISK], most=0.15)
    np.testing.assert_allclose(by_volatility[:2], [0.15, -0.15])
    assert unknown[:2].tolist() == [TINY, -TINY]
    assert by_risk[:2].tolist() == [0.1, -0.1]
