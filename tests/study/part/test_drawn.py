"""Which trials are drawn where a part is stored."""

import numpy as np
import pytest

from alphapulse.study.part.drawn import N_DRAWN, is_drawn
from alphapulse.study.part.sums import MOST_REASONS, OTHER_REASONS, Sums

NUMBERS = np.arange(2_000_000)


def test_as_many_are_drawn_as_are_wanted_everywhere_alike():
    drawn = is_drawn(NUMBERS, len(NUMBERS))
    assert abs(int(drawn.sum()) - N_DRAWN) < 4 * N_DRAWN**0.5
    by_tenth = drawn.reshape(10, -1).sum(axis=1)
    assert np.abs(by_tenth - N_DRAWN / 10).max() < 4 * (N_DRAWN / 10) ** 0.5


def test_all_are_drawn_of_few_and_fewer_of_more():
    assert is_drawn(NUMBERS[:N_DRAWN], N_DRAWN).all()
    some, fewer = is_drawn(NUMBERS, 500_000), is_drawn(NUMBERS, 10**7)
    assert (some | ~fewer).all()
    assert (some | ~is_drawn(NUMBERS, 500_000, 10_000)).all()


def test_sums_are_read_back_bit_for_bit():
    sums = Sums(10**6, n_trials=7, sharpes=[7.0, 0.1 + 0.2, 1e-300])
    sums.fail({"no luck": 3, 'a "quoted" reason': 1})
    sums.fail({"no luck": 1})
    again = Sums.from_json(sums.to_json())
    assert again == sums
    assert (again.n_failed, again.failures["no luck"]) == (5, 4)


def test_reasons_do_not_grow_without_end():
    sums = Sums(10)
    sums.fail({f"reason {n}": 1 for n in range(MOST_REASONS + 5)})
    assert len(sums.failures) == MOST_REASONS + 1
    assert sums.failures[OTHER_REASONS] == 5


def test_study_of_more_trials_draws_anew():
    sums = Sums(200_000, n_trials=100_000, n_drawn=50_000)
    sums.plan(150_000)
    assert (sums.n_planned, sums.n_drawn) == (200_000, 50_000)
    sums.plan(10**6)
    assert sums.n_planned == 10**6
    assert sums.n_drawn == int(is_drawn(np.arange(100_000), 10**6).sum())


@pytest.mark.parametrize(
    ("sums", "sentence"),
    [
        (Sums(10, n_trials=10, n_best=9, n_drawn=10), "All 10 trials are stored."),
        (
            Sums(10**6, n_trials=10**6, n_best=10_000, n_drawn=99_874),
            "10,000 best and 99,874 drawn of 1,000,000 trials are stored.",
        ),
    ],
)
def test_stored_says_what_is_there(sums, sentence):
    assert sums.stored == sentence
