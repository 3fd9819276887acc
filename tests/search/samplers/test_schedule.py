import numpy as np
import pytest

from alphapulse.search.samplers._schedule import Schedule


@pytest.mark.parametrize("sizes", [(1, 1), (16, 16), (4, 16), (1, 40), (3, 4)])
def test_generations_fill_the_trials_without_a_gap(sizes):
    schedule = Schedule(*sizes)
    n = [schedule.size(g) for g in range(400)]
    assert n[0] == sizes[0]
    assert n[-1] == sizes[1]
    assert sorted(n) == n
    firsts = np.cumsum([0, *n])
    assert [schedule.first_trial(g) for g in range(400)] == firsts[:-1].tolist()
    for n_trials in range(0, int(firsts[-2]), 7):
        assert schedule.n_whole(n_trials) == np.searchsorted(firsts, n_trials, side="right") - 1
    for g in (0, 1, 7, 399):
        assert schedule.n_whole(int(firsts[g])) == g


def test_a_growing_generation_is_a_thirty_second_of_what_is_done():
    schedule = Schedule(4, 16)
    assert [schedule.size(schedule.n_whole(n)) for n in (0, 159, 200, 330, 511, 526, 5000)] == [4, 4, 6, 10, 15, 16, 16]
