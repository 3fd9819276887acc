import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_studies import make_generation, open_study

from alphapulse.backtesting.metrics import METRICS
from alphapulse.study import columns
from alphapulse.study.choice import Choice
from alphapulse.study.picking import pick_trial, rank_trials
from alphapulse.study.store import Store
from alphapulse.study.trials import Trials

UP, DOWN = "maximize", "minimize"


def made_trials(values) -> Trials:
    values = np.array(values, dtype=float)
    trials = Trials.blank(np.zeros((len(values), 1)), values.shape[1])
    trials.values[:] = values
    trials.metrics[:] = 1.0
    return trials


@pytest.mark.parametrize(("direction", "row"), [(UP, 2), (DOWN, 1)])
def test_best_trial_is_the_earliest_of_equals(direction, row):
    trials = made_trials([[np.nan], [1.0], [3.0], [1.0], [3.0]])
    choice = Choice((direction,))
    assert choice(trials) == row
    assert choice(trials[:1]) is None
    assert choice(trials[:0]) is None
    trials.violations = np.zeros((5, 1))
    assert choice(trials) == row
    trials.violations[[row, 0]] = [[0.1], [np.nan]]
    assert choice(trials) == {2: 4, 1: 3}[row]
    trials.violations[:] = np.nan
    assert choice(trials) is None


@given(
    arrays(np.float64, st.tuples(st.integers(0, 30), st.integers(1, 3)), elements=st.integers(-4, 4).map(float)),
    st.lists(st.sampled_from([UP, DOWN]), min_size=3, max_size=3),
)
def test_front_is_what_none_dominates(values, directions):
    choice = Choice(tuple(directions[: values.shape[1]]))
    losses = values * [-1.0 if d == UP else 1.0 for d in choice.directions]

    def is_before(b: int, a: int) -> bool:
        return bool((losses[b] <= losses[a]).all() and ((losses[b] < losses[a]).any() or b < a))

    rows = range(len(losses))
    expected = [a for a in rows if not any(is_before(b, a) for b in rows)]
    front = choice.front(values)
    assert front.tolist() == expected
    # The same in pieces.
    half = len(values) // 2
    first = choice.front(values[:half])
    joined = np.concatenate([first, np.arange(half, len(values))])
    assert joined[choice.front(values[joined])].tolist() == expected


def test_ways_to_choose_from_a_front():
    # Sharpe ratio up, drawdown up, and one that is dominated.
    trials = made_trials([[1.0, -0.1], [3.0, -0.9], [2.8, -0.2], [2.0, -0.15], [2.7, -0.3]])
    trials.metrics[:, METRICS.index("n_trades")] = [10, 90, np.nan, 40, 500]
    directions = (UP, UP)
    assert Choice(directions).front(trials.values).tolist() == [0, 1, 2, 3]
    assert Choice(directions)(trials) == 1
    assert Choice(directions, "knee")(trials) == 2
    assert Choice(directions, "n_trades")(trials) == 1
    assert Choice(directions, "-n_trades")(trials) == 0
    # Where it is undefined nobody can be the highest.
    trials.metrics[:, METRICS.index("n_trades")] = np.nan
    assert Choice(directions, "n_trades")(trials) == 1
    again = pickle.loads(pickle.dumps(Choice(directions, "knee")))
    assert again(trials) == 2


def test_knee_of_equals_is_the_earliest():
    trials = made_trials([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0]])
    assert Choice((UP, UP, DOWN), "knee")(trials) == 0


@pytest.mark.postgres
@pytest.mark.parametrize("choose", ["first", "knee", "n_trades"])
def test_stored_trials_are_ranked_as_those_in_memory(database, choose, monkeypatch):
    monkeypatch.setattr(columns, "TRIALS_A_PIECE", 30)
    store = Store(database)
    config = {"feasible": ["n_trades > 0"], "choose": choose}
    study = open_study(store, objectives=("sharpe_ratio", "sortino_ratio"), directions=(UP, DOWN), config=config)
    parts = []
    for number in range(3):
        generation = make_generation(number, n_objectives=2)
        trials = generation.trials
        trials.violations = -trials.metrics[:, [METRICS.index("n_trades")]]
        trials.violations[trials.is_failed] = np.nan
        parts.append(trials)
        store.append(study, generation)
    store.finish(study, "COMPLETE")
    trials, choice = Trials.joined(parts), Choice(study.directions, choose)
    good = np.flatnonzero(trials.is_candidate)
    front = good[choice.front(trials.values[good])].tolist()
    ranking = rank_trials(store, study, 5, 3)
    assert ranking.front == front
    assert ranking.chosen["number"] == choice(trials)
    shown = [trial["number"] for trial in ranking.best]
    assert set(shown) <= set(front)
    assert choice(trials) in shown
    assert 3 <= len(shown) <= 4
    first = [trial["values"][0] for trial in ranking.best]
    assert first == sorted(first, reverse=True)
    assert pick_trial(store, study, "chosen")["number"] == choice(trials)
    assert pick_trial(store, study, "best")["number"] == good[np.argmax(trials.values[good, 0])]
    store.close()
