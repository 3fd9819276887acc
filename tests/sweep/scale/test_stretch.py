"""Stretches of numbered trials: the same whether drawn together or apart, cut up or not."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from random_bars import drifting_market

from alphapulse.search.choosing import make_sampler
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan
from alphapulse.sweep.scale import stretch as stretches
from alphapulse.sweep.scale.drawing import Drawing, count_distinct
from alphapulse.sweep.scale.stretch import Rules, Stretch, StretchBatch, evaluate_stretch
from alphapulse.sweep.workers.limits import Limits
from alphapulse.validation import make_bootstrap

SPACE = SearchSpace((IntDimension("strategy.ma_window", 5, 60), FloatDimension("strategy.reversion_weight", 0.0, 1.0)))
# Too large for its settings to be remembered, small enough to have some twice.
LARGE = SearchSpace((IntDimension("strategy.ma_window", 1, 1_500), IntDimension("strategy.rsi_window", 1, 1_500)))
DEFAULTS = {"strategy.ma_window": 100, "strategy.rsi_window": 14}
RULES = read_rules(["strategy.ma_window > strategy.rsi_window * 2"], [], DEFAULTS)
PLAN = SearchPlan("random", 1_000, 7, {"generation_size": 16})
LIMITS = Limits(60.0)


@pytest.fixture(scope="module")
def market():
    return drifting_market(first=80)


@pytest.fixture(scope="module")
def experiment(market):
    sizes = np.diff(market.block_end, prepend=market.first).astype(float)
    bootstrap = make_bootstrap(sizes, n_bootstrap=20, seed=1)
    return Experiment(SPACE, resolve("long_short"), {"volatility_source": "realized"}, bootstrap=bootstrap)


@pytest.mark.parametrize("name", ["random", "qmc", "grid"])
def test_trials_are_drawn_by_their_numbers(name):
    space = LARGE if name == "grid" else SPACE
    sampler = make_sampler(name, space, seed=3, options={"generation_size": 16})
    whole = np.concatenate([sampler.propose(number) for number in range(6)])
    for first, stop in ((0, 96), (3, 4), (15, 17), (40, 90), (16, 32), (5, 80)):
        np.testing.assert_array_equal(Drawing(sampler).between(first, stop), whole[first:stop])


def test_constraints_are_drawn_in_order_and_end_with_the_space():
    space = SearchSpace((IntDimension("strategy.ma_window", 1, 30), IntDimension("strategy.rsi_window", 1, 30)), RULES)
    sampler = make_sampler("random", space, seed=3, options={"generation_size": 16})
    assert sampler.in_order
    whole = Drawing(sampler).between(0, 1_000)
    assert len(whole) == 210
    assert space.fits(whole).all()
    np.testing.assert_array_equal(Drawing(sampler).between(200, 1_000), whole[200:])
    np.testing.assert_array_equal(Drawing(sampler).between(17, 35), whole[17:35])


@pytest.mark.parametrize("most", [10**6, 700])
def test_settings_are_counted_as_they_would_be_in_memory(most):
    sampler = make_sampler("random", LARGE, seed=3)
    drawn = Drawing(sampler).between(0, 10_000)
    n = len(np.unique(drawn, axis=0))
    assert 9_900 < n < 10_000
    assert count_distinct(sampler, 10_000, most) == n
    assert count_distinct(make_sampler("random", SPACE, seed=3), 10_000) == 10_000


def test_stretch_is_the_same_in_pieces(market, experiment, monkeypatch):
    rules = Rules(1_000, 300, 100, 2)
    stretch = Stretch(pickle.dumps(PLAN), 10, 90, rules)
    whole = evaluate_stretch(market, experiment, stretch, LIMITS)
    monkeypatch.setattr(stretches, "TRIALS_AT_ONCE", 32)
    cut = evaluate_stretch(market, experiment, stretch, LIMITS)
    for name in ("numbers", "stays", "scores", "sharpes"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name), err_msg=name)
    np.testing.assert_array_equal(cut.trials.metrics, whole.trials.metrics)
    np.testing.assert_array_equal(cut.kept.trials, whole.kept.trials)
    np.testing.assert_array_equal(cut.kept.sums, whole.kept.sums)
    np.testing.assert_array_equal(cut.maxima, whole.maxima)
    assert set(whole.front) <= set(cut.front)
    for name in ("observed", "failures", "n_infeasible", "n_drawn", "first", "best"):
        assert getattr(cut, name) == getattr(whole, name), name
    given = stretch._replace(parameters=Drawing(PLAN.start(experiment, PLAN.seed)).between(10, 90))
    np.testing.assert_array_equal(evaluate_stretch(market, experiment, given, LIMITS).scores, whole.scores)


def test_stretch_keeps_what_may_be_stored(market, experiment):
    stretch = Stretch(pickle.dumps(PLAN), 0, 80, Rules(1_000, 300, 100, 2))
    every = evaluate_stretch(market, experiment, stretch, LIMITS)
    assert len(every.numbers) == 80
    ranked = np.sort(every.scores[~np.isnan(every.scores)])
    rules = stretch.rules._replace(best=ranked[-5], best_blocks=ranked[-3])
    few = evaluate_stretch(market, experiment, stretch._replace(rules=rules), LIMITS)
    expected = rules.stay(np.arange(80)) | (every.scores >= ranked[-5])
    np.testing.assert_array_equal(few.numbers, np.flatnonzero(expected))
    blocks = rules.draw_blocks(np.arange(80)) | (every.scores >= ranked[-3])
    np.testing.assert_array_equal(few.kept.trials, np.flatnonzero(blocks))
    assert len(few.scores) == 80


def test_batch_is_split_and_fails_by_number(experiment):
    sampler = PLAN.start(experiment, PLAN.seed)
    batch = StretchBatch(Stretch(pickle.dumps(PLAN), 10, 20, Rules(10**6, 1, 1, 1)), Drawing(sampler))
    part = batch.part(slice(4, 5), 2)
    assert (part.rows.tolist(), part.n_deaths, part.lost().n_losses) == ([14], 2, 1)
    np.testing.assert_array_equal(part.parameters, batch.parameters[4:5])
    given = replace(batch, stretch=batch.stretch._replace(parameters=batch.parameters))
    np.testing.assert_array_equal(given.part(slice(4, 5), 0).parameters, part.parameters)
    failed = part.failed(experiment, "its worker died (3 times)")
    # What has ended its worker is kept: null sweeps must not run it.
    assert (failed.numbers.tolist(), failed.first) == ([14], 14)
    assert failed.failures == failed.raised == {"its worker died (3 times)": 1}


@pytest.mark.parametrize(
    ("text", "always"),
    [
        ("strategy.rsi_oversold <= strategy.rsi_overbought", True),
        ("strategy.rsi_oversold < 41", True),
        ("strategy.rsi_window < strategy.rsi_oversold", True),
        ("strategy.rsi_oversold < 39", False),
        ("strategy.rsi_oversold + 1 < strategy.rsi_overbought", False),
        ("strategy.rsi_oversold < strategy.rsi_overbought < 90", False),
    ],
)
def test_what_no_setting_can_break_is_drawn_apart_as_in_order(text, always):
    bounds = (
        FloatDimension("strategy.rsi_oversold", 15.0, 40.0),
        FloatDimension("strategy.rsi_overbought", 60.0, 85.0),
    )
    fixed = {"strategy.rsi_oversold": 30.0, "strategy.rsi_overbought": 70.0, "strategy.rsi_window": 14}
    space = SearchSpace(bounds, read_rules([text], [], fixed))
    assert space.always_fits == always
    points = np.array([[20.0, 70.0], [21.0, 71.0], [22.0, 72.0]])
    for n_given in (0, 1, 3):
        samplers = [
            make_sampler("random", space, seed=3, options={"generation_size": 16}, enqueued=points[:n_given])
            for _ in range(2)
        ]
        assert samplers[0].in_order == (not always)
        # As it was before anything could be seen by the bounds: one after the other.
        samplers[1]._in_order.is_shifted = False
        whole = Drawing(samplers[1]).between(0, 90)
        assert len(whole) == 90
        for first, stop in ((0, 90), (70, 90), (0, 5), (13, 35), (2, 3)):
            np.testing.assert_array_equal(Drawing(samplers[0]).between(first, stop), whole[first:stop])
