import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphapulse.search.feasibility import INFEASIBLE, keeps_conditions, penalised, total_violation

VIOLATIONS = np.array([[-1.0, 0.0], [2.0, -5.0], [2.0, 1.0], [np.nan, -1.0], [0.5, 0.0]])


def test_violations_are_added_where_a_condition_is_broken():
    assert total_violation(VIOLATIONS).tolist() == [0.0, 2.0, 3.0, np.inf, 0.5]
    assert keeps_conditions(VIOLATIONS).tolist() == [True, False, False, False, False]
    assert total_violation(np.empty((3, 0))).tolist() == [0.0] * 3
    assert keeps_conditions(np.empty((3, 0))).all()


def test_penalised_losses_stand_in_order():
    losses = np.array([[9.0], [1.0], [1.0], [1.0], [1.0]])
    after = penalised(losses, VIOLATIONS)[:, 0]
    assert np.argsort(after).tolist() == [0, 4, 1, 2, 3]
    assert after[0] == 9.0
    assert np.isfinite(after).all()
    assert penalised(np.array([[np.inf, 1.0]]), np.array([[3.0]])).tolist() == [[np.inf, 1.0]]


@given(
    arrays(np.float64, (6, 2), elements=st.floats(-1e6, 1e6)),
    arrays(np.float64, (6, 3), elements=st.floats(-1e3, 1e3) | st.just(np.nan)),
)
def test_penalised_is_constrained_domination(losses, violations):
    after, broken = penalised(losses, violations), total_violation(violations)
    for a in range(6):
        for b in range(6):
            if broken[a] == 0.0:
                np.testing.assert_array_equal(after[a], losses[a])
                assert broken[b] == 0.0 or (after[a] < after[b]).all()
            elif broken[a] < broken[b]:
                # Violations of next to nothing are equal.
                assert (after[a] <= after[b]).all()
                assert broken[a] * (1 + 1e-6) + 1e-12 > broken[b] or (after[a] < after[b]).all()
            assert (after[a] >= INFEASIBLE).all() == (broken[a] > 0.0)


def test_penalised_leaves_bits_where_nothing_is_broken():
    losses = np.array([[1.0, -2.0], [np.inf, np.inf]])
    assert penalised(losses, np.array([[-1.0], [np.nan]])).tobytes() == losses.tobytes()
