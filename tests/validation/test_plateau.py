import numpy as np
import pytest

from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.validation import (
    ParameterGrid,
    block_moments,
    neighbours,
    plateau,
    plateau_objective,
    worst_fold_sharpe,
)
from alphapulse.validation.blocks import even_edges

SPACE = (
    IntDimension("window", 10, 250),
    FloatDimension("slippage", 1e-5, 1e-2, log=True),
    CategoricalDimension("kind", ("a", "b", "c")),
    FloatDimension("multiplier", 1.0, 5.2, step=0.5),
)


def sample(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.integers(10, 251, n),
            10 ** rng.uniform(-5, -2, n),
            rng.integers(0, 3, n),
            1.0 + 0.5 * rng.integers(0, 9, n),
        ]
    ).astype(float)


def near(a, b):
    """The definition: 10 % of the range, of its logarithm, the same choice, one step."""
    return (
        abs(a[0] - b[0]) <= 24 and abs(np.log10(a[1] / b[1])) <= 0.3 and a[2] == b[2] and abs(a[3] - b[3]) <= 0.5 + 1e-9
    )


def test_plateau_matches_the_definition():
    parameters = sample(1500)
    values = np.random.default_rng(1).standard_normal(1500)
    values[7] = np.nan
    result = plateau(parameters, values, ParameterGrid.of(SPACE), n_candidates=40, include=[3, 7])
    assert 3 in result.trials
    assert 7 not in result.trials
    for k, median, count in zip(result.trials, result.medians, result.n_neighbours, strict=True):
        close = [i for i in range(1500) if not np.isnan(values[i]) and near(parameters[k], parameters[i])]
        assert count == len(close) - 1
        np.testing.assert_allclose(median, np.median(values[close]) if count else np.nan)


def test_plateau_prefers_a_hill_to_a_spike():
    x = np.arange(0.0, 101.0)
    values = np.exp(-(((x - 30) / 8) ** 2))
    values[80] = 1.5
    grid = ParameterGrid.of([FloatDimension("x", 0.0, 100.0, step=1.0)])
    result = plateau(x[:, None], values, grid)
    assert result.trials[0] == 80
    assert result.ratios[0] < 0.05
    assert result.robust == 30
    # One step on either side and itself.
    assert (result.n_neighbours[:5] == 2).all()
    assert result.medians[1] == pytest.approx(np.exp(-((1 / 8) ** 2)))


def test_plateau_without_neighbours_is_nan():
    result = plateau([[10.0], [200.0]], [1.0, 2.0], ParameterGrid.of([IntDimension("x", 10, 250)]))
    assert np.isnan(result.medians).all()
    assert result.robust == -1
    with pytest.raises(ValueError, match="values"):
        plateau([[10.0]], [1.0, 2.0], ParameterGrid.of([IntDimension("x", 10, 250)]))


def test_neighbours_step_in_every_ordered_parameter():
    grid = ParameterGrid.of(SPACE)
    points = neighbours(grid, [[100.0, 1e-4, 2.0, 3.0], [10.0, 1e-2, 0.0, 5.0]])
    assert points.shape == (2, 6, 4)
    np.testing.assert_array_equal(points[0, :2, 0], [76, 124])
    np.testing.assert_allclose(points[0, 2:4, 1], [1e-4 * 10**-0.3, 1e-4 * 10**0.3])
    np.testing.assert_array_equal(points[0, 4:, 3], [2.5, 3.5])
    np.testing.assert_array_equal(points[:, :, 2], [[2.0] * 6, [0.0] * 6])
    # At the bounds, and 5.2 is not on the grid.
    np.testing.assert_array_equal(points[1, :2, 0], [10, 34])
    np.testing.assert_allclose(points[1, 2:4, 1], [1e-2 * 10**-0.3, 1e-2])
    np.testing.assert_array_equal(points[1, 4:, 3], [4.5, 5.0])


def test_neighbours_of_a_narrow_integer_are_whole():
    points = neighbours(ParameterGrid.of([IntDimension("n", 1, 4)]), [[1.0], [2.0]])
    np.testing.assert_array_equal(points[:, :, 0], [[1, 2], [1, 3]])


def test_plateau_objective_ranks_failures_last():
    values = [[1.0, 2.0, np.nan], [np.nan, 1.0, 2.0], [3.0, 1.0, 2.0], [1.0, np.nan, np.nan]]
    np.testing.assert_array_equal(plateau_objective(values), [1.0, np.nan, 2.0, np.nan])
    np.testing.assert_array_equal(plateau_objective(values, maximize=False), [2.0, np.nan, 2.0, np.nan])


def test_worst_fold_sharpe_matches_the_definition():
    returns = np.random.default_rng(0).standard_normal((400, 5)) * 0.01
    returns[100:200, 4] = 0.0
    worst = worst_fold_sharpe(*block_moments(returns, even_edges(400, 40)), 4)
    folds = returns.reshape(4, 100, 5)
    with np.errstate(invalid="ignore"):
        expected = (folds.mean(axis=1) / folds.std(axis=1, ddof=1)).min(axis=0)
    np.testing.assert_allclose(worst[:4], expected[:4], rtol=1e-9)
    assert np.isnan(worst[4])
    with pytest.raises(ValueError, match="n_folds"):
        worst_fold_sharpe(*block_moments(returns, even_edges(400, 4)), 5)


def test_what_is_inactive_is_near_to_what_is_so_too():
    parameters = sample(600)
    parameters[parameters[:, 2] == 0, 3] = np.nan
    parameters[::2, 0] = np.nan
    values = np.random.default_rng(1).standard_normal(600)
    result = plateau(parameters, values, ParameterGrid.of(SPACE), n_candidates=60)
    for k, count in zip(result.trials, result.n_neighbours, strict=True):
        same = (np.isnan(parameters) == np.isnan(parameters[k])).all(axis=1)
        filled = np.nan_to_num(parameters, nan=50.0)
        close = [i for i in np.flatnonzero(same) if near(filled[k], filled[i])]
        assert count == len(close) - 1
    assert result.n_neighbours.max() > 0
