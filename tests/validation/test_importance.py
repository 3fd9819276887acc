import numpy as np
import pytest

from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.validation import ParameterGrid, break_even_commission, parameter_importance

SPACE = (
    FloatDimension("a", 0.0, 1.0),
    IntDimension("b", 1, 200),
    CategoricalDimension("c", (1, 2, 3, 4)),
    FloatDimension("d", 1e-4, 1.0, log=True),
)
GRID = ParameterGrid.of(SPACE)


def sample(n, seed):
    rng = np.random.default_rng(seed)
    columns = [rng.random(n), rng.integers(1, 201, n), rng.integers(0, 4, n), 10 ** rng.uniform(-4, 0, n)]
    return np.column_stack(columns).astype(float), rng


@pytest.mark.parametrize("place", range(4))
def test_the_parameter_that_decides_stands_out(place):
    parameters, rng = sample(2000, 0)
    column = np.log(parameters[:, 3]) if place == 3 else parameters[:, place]
    distance = np.abs(column - np.quantile(column, 0.3, method="nearest")) / column.std()
    values = 0.1 * rng.standard_normal(2000) - distance
    result = parameter_importance(parameters, values, GRID)
    assert np.argmax(result.share) == place
    assert result.share[place] > 0.8
    assert result.share[place] > result.null_share[place]
    assert result.p_values[place] < 0.01
    assert result.share.sum() == pytest.approx(1.0)
    assert result.n_top == 200


def test_noise_stays_below_its_null_as_often_as_stated():
    inside, p_values = [], []
    for seed in range(25):
        parameters, rng = sample(300, seed)
        result = parameter_importance(parameters, rng.standard_normal(300), GRID, n_permutations=60, seed=seed)
        inside.append(result.share <= result.null_share)
        p_values.append(result.p_values)
    assert np.mean(inside) > 0.85
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


def test_importance_leaves_failed_trials_out():
    parameters, rng = sample(400, 1)
    values = rng.standard_normal(400)
    kept = parameter_importance(parameters[:300], values[:300], GRID, n_permutations=10)
    values[300:] = np.nan
    result = parameter_importance(parameters, values, GRID, n_permutations=10)
    np.testing.assert_array_equal(result.divergence, kept.divergence)
    few = parameter_importance(parameters[:9], values[:9], GRID)
    assert np.isnan(few.share).all()


def test_importance_refuses_impossible_input():
    parameters, _ = sample(20, 0)
    with pytest.raises(ValueError, match="quantile"):
        parameter_importance(parameters, np.zeros(20), GRID, quantile=0.0)
    with pytest.raises(ValueError, match="n_permutations"):
        parameter_importance(parameters, np.zeros(20), GRID, n_permutations=0)
    with pytest.raises(ValueError, match="shape"):
        parameter_importance(parameters[:, :2], np.zeros(20), GRID)


def test_break_even_commission_is_where_the_mean_crosses_zero():
    assert break_even_commission(lambda c: 0.0031 - c) == pytest.approx(0.0031, abs=1e-6)


def test_break_even_commission_is_never_or_at_once():
    assert break_even_commission(lambda c: 1.0) is None
    assert break_even_commission(lambda c: -1.0) == 0.0
    assert break_even_commission(lambda c: float("nan")) == 0.0


def test_break_even_commission_survives_jumps_and_ruin():
    # The edge dies at .004 by a jump, and comes back by accident later.
    assert break_even_commission(lambda c: 1.0 if c < 0.004 or c > 0.03 else -1.0) == pytest.approx(0.004, abs=1e-6)
    assert break_even_commission(lambda c: 1.0 if c < 0.002 else float("nan")) == pytest.approx(0.002, abs=1e-6)
    with pytest.raises(ValueError, match="tolerance"):
        break_even_commission(lambda c: 1.0, tolerance=0.0)


def test_a_parameter_counts_where_it_is_active():
    parameters, rng = sample(2000, 0)
    values = 0.1 * rng.standard_normal(2000) - np.abs(parameters[:, 0] - 0.3)
    plain = parameter_importance(parameters, values, GRID, n_permutations=20)
    # The choice decides over the second parameter alone.
    parameters[parameters[:, 2] != 1, 1] = np.nan
    parameters[values > np.quantile(values, 0.8), 3] = np.nan
    result = parameter_importance(parameters, values, GRID, n_permutations=20)
    np.testing.assert_array_equal(result.divergence[[0, 2]], plain.divergence[[0, 2]])
    assert result.divergence[3] == 0.0
    alone = parameters[:, 2] == 1
    top = np.argsort(-values, kind="stable")[:200]
    few = parameters[top][alone[top]]
    assert len(few) < 200
    assert 0.0 < result.divergence[1] < 0.5
    assert result.share[0] > 0.8
