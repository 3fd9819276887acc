"""How often whole searches of accounts of correlated, drifting noise pass for an edge: as often as p says."""

import numpy as np
import pytest
from made_accounts import make_bars

from alphapulse.backtesting.params import EngineParams
from alphapulse.market.account import account_market
from alphapulse.market.market import Market
from alphapulse.search.dimensions import CategoricalDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan, null_search, search_generations

pytestmark = pytest.mark.slow

SPACE = SearchSpace((IntDimension("strategy.momentum_window", 5, 60), CategoricalDimension("strategy.top", (1, 2))))
N_SEEDS, N_TRIALS, N_NULLS = 200, 12, 19


def noise(seed, n=500):
    """Four symbols of one market: two list late, one of the others ends early."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0, 0.01, n)
    members = []
    for place, part in enumerate((slice(0, n), slice(0, 380), slice(150, n), slice(300, n))):
        moves = 0.0004 + 0.6 * common + rng.standard_t(4, n) * 0.006
        close = 100.0 * np.exp(np.cumsum(moves))[part]
        bars = make_bars(f"S{place}", np.arange(n)[part], close, rng)
        members.append(Market.of(bars, 61, f"{seed} {place}"))
    return account_market(members)


def p_of_noise(seed):
    engine = EngineParams(stop={"kind": "none"}, rebalance_frequency="week")
    experiment = Experiment(SPACE, resolve("rotation"), {"rising": False}, engine)
    # A seed of its own, or all would try the same settings.
    plan = SearchPlan("random", N_TRIALS, seed, {"generation_size": N_TRIALS})
    market = noise(seed)
    found = search_generations(market, experiment, plan.start(experiment, seed), N_TRIALS)
    best = np.nanmax(np.concatenate([generation.values for generation in found]))
    as_good = sum(null_search(market, experiment, plan, s) >= best for s in range(N_NULLS))
    return (1 + as_good) / (1 + N_NULLS)


@pytest.mark.timeout(900)
def test_accounts_of_noise_seldom_pass():
    p = np.array([p_of_noise(seed) for seed in range(N_SEEDS)])
    assert np.mean(p <= 0.05) <= 0.10
    assert np.mean(p <= 0.20) <= 0.28
    assert np.mean(p <= 0.50) <= 0.60
    assert np.mean(p <= 0.50) >= 0.40
