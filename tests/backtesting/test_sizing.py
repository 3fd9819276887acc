"""Allocations out of targets: the compiled loop and the plain one."""

import math

import numpy as np

from alphapulse.backtesting.kernel.state import TINY
from alphapulse.backtesting.sizing import scale_targets, scale_targets_python

TARGETS = np.array([[1.0, -0.5, 0.0, 1e-15, math.nan, math.inf]] * 3)
SCALES = np.array([[2.0, 4.0, 1.0, 1.0, 1.0, 1.0], [math.nan, 0.0, 1.0, math.nan, 1.0, 1.0]])


def scaled(function, rows):
    targets = TARGETS.copy()
    function(targets, SCALES, np.array(rows), np.full(3, 0.1))
    return targets


def test_scale_targets_matches_plain():
    for rows in ([0, 1, -1], [-2, 0, 0], [-1, -1, -1]):
        np.testing.assert_array_equal(scaled(scale_targets, rows), scaled(scale_targets_python, rows))


def test_scale_targets_keeps_directions_whose_size_is_unknown():
    by_volatility, unknown, by_risk = scaled(scale_targets, [0, 1, -2])
    np.testing.assert_allclose(by_volatility[:4], [0.2, -0.2, 0.0, 0.0])
    assert unknown[:4].tolist() == [TINY, -TINY, 0.0, 0.0]
    assert by_risk[:4].tolist() == [0.1, -0.1, 0.0, 0.0]
    assert np.isnan([by_volatility[4:], unknown[4:], by_risk[4:]]).all()
    np.testing.assert_array_equal(scaled(scale_targets, [-1, -1, -1]), TARGETS)
