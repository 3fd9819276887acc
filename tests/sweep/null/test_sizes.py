"""How often whole searches of markets without timing pass for an edge, and how often timing that is there is found."""

import numpy as np
import pytest

from benchmarks.null_sizes import Case, weigh
from benchmarks.regimes import NULLS

pytestmark = pytest.mark.slow

N_SEEDS = 20


def p_values(regime: str, sampler: str) -> np.ndarray:
    return np.array([weigh(Case(regime, sampler, seed, 300, 19)).nulls.p for seed in range(N_SEEDS)])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_market_without_timing_seldom_passes(sampler):
    p = np.concatenate([p_values(regime, sampler) for regime in NULLS])
    assert np.mean(p <= 0.05) <= 0.10
    assert np.mean(p <= 0.20) <= 0.28
    assert np.mean(p <= 0.50) <= 0.60


@pytest.mark.timeout(1800)
def test_timing_that_is_there_is_found():
    assert np.mean(p_values("next day reverses, 1.5", "random") <= 0.05) >= 0.5
