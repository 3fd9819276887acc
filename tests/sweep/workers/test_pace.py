import pytest

from alphapulse.sweep.workers.pace import BATCH_SECONDS, Pace


def test_first_batches_are_single_until_a_warm_one_is_measured():
    pace = Pace()
    assert pace.size(4096, 2) == 1
    pace.measure(1, 30.0, is_first=True)
    assert pace.size(4096, 2) == 1
    pace.measure(1, 1e-4, is_first=False)
    assert pace.size(4096, 2) == 8
    pace.measure(8, 8e-4, is_first=False)
    assert pace.size(4096, 2) == 64
    for size in (64, 512, 1000):
        pace.measure(size, size * 1e-4, is_first=False)
    assert pace.size(4096, 2) == round(BATCH_SECONDS / 1e-4)
    assert pace.size(100, 2) == 50


def test_slow_trials_run_alone_and_many_processors_get_longer_batches():
    pace = Pace()
    pace.measure(1, 5.0, is_first=False)
    assert pace.size(4096, 2) == 1
    pace = Pace()
    pace.measure(50, 1.0, is_first=False)
    assert pace.size(4096, 2) == 5
    pace.measure(5, 0.1, is_first=False)
    assert pace.size(100_000, 500) == 50


def test_batches_that_cost_much_whatever_their_size_are_longer():
    pace = Pace()
    sizes = []
    for _ in range(100):
        sizes.append(pace.size(4096, 2))
        pace.measure(sizes[-1], 0.05 + sizes[-1] * 1e-3, is_first=False)
    assert sizes[:2] == [1, 2]
    assert 0.4 < sizes[-1] * 1e-3 < 0.6
    # Batches of one size say nothing of it.
    assert sizes[-50:] == pytest.approx([sizes[-1]] * 50, rel=0.2)
