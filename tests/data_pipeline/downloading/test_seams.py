import numpy as np
import pytest

from alphapulse.data_pipeline.downloading.seams import is_unadjusted, split_between

CLOSE = np.linspace(90.0, 110.0, 10)


@pytest.mark.parametrize("factor", [4.0, 1.5, 1.05, 0.1])
def test_split_between_finds_one_factor(factor):
    fetched = np.round(CLOSE / factor, 3)
    assert split_between(CLOSE, fetched) == pytest.approx(factor, rel=1e-3)
    fetched[3] *= 1.02
    assert split_between(CLOSE, fetched) == pytest.approx(factor, rel=1e-3)


def test_revisions_are_no_split():
    assert split_between(CLOSE, CLOSE) is None
    assert split_between(CLOSE, CLOSE * np.linspace(1.0, 1.3, 10)) is None
    assert split_between(CLOSE[:2], CLOSE[:2] / 4) is None
    assert split_between(CLOSE, CLOSE / 1.004) is None


def test_is_unadjusted():
    assert is_unadjusted(400.0, 101.0, 4.0)
    assert not is_unadjusted(100.0, 101.0, 4.0)
    assert is_unadjusted(1.0, 9.8, 0.1)
    assert not is_unadjusted(100.0, 99.0, 1.01)
