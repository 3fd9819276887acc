import numpy as np
import pytest

from alphapulse.search.choosing import Schedule
from alphapulse.study.trials import Trials
from alphapulse.sweep.patience import Patience, whole_generations


def made(values, violations=None) -> Trials:
    values = np.array(values, dtype=float).reshape(len(values), -1)
    trials = Trials.blank(np.zeros((len(values), 1)), values.shape[1])
    trials.values[:] = values
    if violations is not None:
        trials.violations = np.array(violations, dtype=float).reshape(len(values), -1)
    return trials


def waited(directions, generations, n=3) -> list[int]:
    patience, counts = Patience(directions, n), []
    for generation in generations:
        patience.take(generation)
        counts.append(patience.n_waited)
    return counts


def test_a_better_value_starts_the_count_again():
    generations = [made([1, 2]), made([2, 1]), made([np.nan, 0]), made([2.5]), made([2.5])]
    assert waited(("maximize",), generations) == [0, 1, 2, 0, 1]
    assert waited(("minimize",), generations) == [0, 1, 0, 1, 2]


def test_a_generation_that_fails_is_waited_for():
    assert waited(("maximize",), [made([np.nan]), made([np.nan]), made([1])]) == [1, 2, 0]


def test_several_objectives_are_better_by_their_front():
    generations = [made([[1, 1]]), made([[0, 0], [1, 1]]), made([[0, 2]]), made([[0.5, 1.5]]), made([[0.5, 1.2]])]
    assert waited(("maximize", "maximize"), generations) == [0, 1, 0, 0, 1]


def test_while_nothing_is_feasible_nearer_is_better():
    generations = [
        made([5.0], [3.0]), made([9.0], [4.0]), made([0.0], [2.0]), made([-9.0], [0.0]), made([99.0], [1.0]),
        made([-8.0], [-1.0]),
    ]  # fmt: skip
    assert waited(("maximize",), generations) == [0, 1, 0, 0, 1, 0]


def test_end_is_where_the_count_is_full():
    patience = Patience(("maximize",), 2)
    ends = []
    for value in (3, 2, 2):
        patience.take(made([value]))
        ends.append(patience.ended)
    assert ends == [False, False, True]
    endless = Patience(("maximize",), None)
    for _ in range(9):
        endless.take(made([1]))
    assert not endless.ended


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
def test_whole_generations_are_read_in_order(chunk, monkeypatch):
    monkeypatch.setattr("alphapulse.sweep.patience.HISTORY_CHUNK", chunk)
    schedule, values = Schedule(4, 16), np.arange(900.0)
    read = list(whole_generations(schedule, 901, lambda start, stop: made(values[start:stop])))
    assert [number for number, _ in read] == list(range(schedule.n_whole(901)))
    joined = np.concatenate([trials.values[:, 0] for _, trials in read])
    np.testing.assert_array_equal(joined, values[: len(joined)])
    assert len(read[0][1]) == 4
