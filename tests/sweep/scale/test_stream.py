"""How long the batches of a stream are."""

import pytest

from alphapulse.sweep.scale.stream import StreamPace


def paced(seconds, n_trials=10_000):
    """Return a pace that knows a trial to take so long, in batches of two sizes."""
    pace = StreamPace()
    for n in (n_trials // 2, n_trials):
        pace.measure(n, n * seconds, is_first=False)
    return pace


def test_batches_are_a_second_and_shorter_at_the_end():
    pace = paced(1e-3)
    assert StreamPace().size(10**6, 2) == 1
    assert pace.size(10**6, 2) == pytest.approx(1_000, abs=1)
    assert pace.size(2_000, 2) == 250
    assert pace.size(100, 2) == 12
    # A task costs more than a few milliseconds of trials.
    assert pace.size(10, 2) == 5


def test_many_processors_get_longer_batches():
    assert paced(0.05, 20).size(10**6, 400) == 20
    assert paced(0.05, 20).size(10**6, 1_600) == 80
