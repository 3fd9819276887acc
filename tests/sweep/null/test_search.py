"""The whole search again, in one process: the same trials as a study's, on the market and on surrogates."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from random_bars import drifting_market

from alphapulse.market.surrogates import surrogate_market
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.expressions import read_condition
from alphapulse.search.rules import read_rules
from alphapulse.search.settings import count_settings
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import resolve
from alphapulse.study.choice import Choice
from alphapulse.study.trials import Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.generations import Generations
from alphapulse.sweep.null.pieces import count_pieces, run_piece, value_of_pieces
from alphapulse.sweep.null.search import (
    SearchFailedError,
    SearchPlan,
    null_search,
    null_seed,
    search_generations,
)
from alphapulse.sweep.study_state import read_state
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.sweep.workers.batches import Batches, TrialLimits

NUMERIC = (
    IntDimension("strategy.ma_window", 5, 60),
    FloatDimension("strategy.reversion_weight", 0.0, 1.0),
    FloatDimension("engine.stop.multiplier", 1.0, 5.0),
)
MIXED = SearchSpace((*NUMERIC, CategoricalDimension("engine.stop.kind", ("none", "percent", "atr"))))
# 60 points, so that a search of 100 trials proposes some again and again.
FINITE = SearchSpace(
    (IntDimension("strategy.ma_window", 5, 60, step=5), IntDimension("strategy.rsi_window", 5, 25, step=5))
)
RULES = read_rules(
    ["strategy.ma_window > strategy.rsi_window * 2"], [], {"strategy.ma_window": 100, "strategy.rsi_window": 14}
)
MODULE = """
import numpy as np

def picky(close, window: int = 5, shift: float = 0.0):
    if window % 3 == 0:
        raise RuntimeError("no luck")
    if window % 3 == 1:
        return np.zeros(len(close))
    return np.where(np.arange(len(close)) % window == 0, 1.0, shift)
"""


@pytest.fixture(scope="module")
def market():
    return drifting_market(first=80)


def run_search(*arguments, **keywords) -> Trials:
    """Return the trials of all generations of a search."""
    return Trials.joined(list(search_generations(*arguments, **keywords)))


def experiment(space=MIXED, **changes):
    return Experiment(space, resolve("long_short"), {"volatility_source": "realized"}, **changes)


class InOrder:
    """Workers that run each batch where it is submitted, in batches that the study cuts."""

    n_cpus = 2

    def __init__(self, market, experiment):
        self.market, self.experiment, self.results = market, experiment, {}

    def submit(self, parameters, keep, threshold, limits, name=""):
        self.results[len(self.results)] = evaluate_batch(
            self.market, self.experiment, parameters, keep=keep, threshold=threshold
        )
        return len(self.results) - 1

    def wait(self, references, timeout):
        return references[-1:]

    def result(self, reference):
        return self.results[reference]


def study(market, experiment, plan):
    """Return the trials of a real study, without its database."""
    parts = []
    sampler = plan.start(experiment, plan.seed)
    batches = Batches(InOrder(market, experiment), experiment, TrialLimits())
    Generations(
        sampler,
        batches,
        experiment,
        read_state(None, 0),
        lambda generation: parts.append(generation.trials),
        n_trials=plan.n_trials,
        keep_blocks=0,
        patience=plan.patience,
    ).run()
    return Trials.joined(parts)


CASES = {
    "random": (MIXED, {"generation_size": 40}, {}),
    "random in one generation": (MIXED, {}, {}),
    "grid": (FINITE, {"generation_size": 16}, {}),
    "qmc": (MIXED, {"generation_size": 64}, {}),
    "tpe": (MIXED, {}, {}),
    "tpe of a finite space": (FINITE, {}, {}),
    "tpe under a constraint": (SearchSpace(FINITE.dimensions, RULES), {}, {}),
    "random under a constraint": (SearchSpace(FINITE.dimensions, RULES), {}, {}),
    "cmaes": (SearchSpace(NUMERIC), {}, {}),
    "optuna": (MIXED, {"optuna": "RandomSampler"}, {}),
    "optuna, one in flight": (FINITE, {"optuna": "TPESampler", "generation_size": 1}, {}),
    "nsga2": (MIXED, {"population_size": 20}, {"objectives": ("sharpe_ratio", "max_drawdown")}),
    "tpe, plateau": (MIXED, {}, {"robustness": "plateau"}),
    "tpe, worst fold": (MIXED, {}, {"robustness": "worst_fold"}),
    "tpe, with a condition": (MIXED, {}, {"feasible": (read_condition("n_trades >= 75"),)}),
    "nsga2, with conditions": (
        MIXED,
        {"population_size": 20},
        {
            "objectives": ("sharpe_ratio", "max_drawdown"),
            "feasible": (read_condition("n_trades < 80"), read_condition("max_drawdown > -0.2 or exposure < 0.5")),
        },
    ),
    "tpe of a finite space, with a condition": (FINITE, {}, {"feasible": (read_condition("n_trades >= 75"),)}),
    "tpe, minimised": (MIXED, {}, {"objectives": ("volatility",), "directions": ("minimize",)}),
}


@pytest.mark.parametrize("name", CASES)
def test_run_search_has_the_trials_of_a_study(market, name):
    space, options, changes = CASES[name]
    if len(changes.get("objectives", ())) == 2:
        changes = changes | {"directions": ("maximize", "maximize")}
    tried = experiment(space, **changes)
    plan = SearchPlan(name.split()[0].rstrip(","), 100, seed=7, options=options)
    expected = study(market, tried, plan)
    got = run_search(market, tried, plan.start(tried, plan.seed), plan.n_trials)
    # A sampler of Optuna's may propose a setting twice, as it does on its own.
    n_settings = None if plan.sampler == "optuna" else count_settings(space)
    assert len(got) == (100 if n_settings is None else n_settings)
    for column in ("parameters", "values", "metrics", "status", "violations"):
        np.testing.assert_array_equal(getattr(got, column), getattr(expected, column))
    assert got.errors == expected.errors
    assert space.fits(got.parameters).all()
    sign = 1.0 if tried.directions[0] == "maximize" else -1.0
    best = Choice(tried.directions)(got)
    assert 0 < expected.is_candidate.sum() < 100 or not tried.feasible
    assert got.values[best, 0] == sign * np.nanmax(sign * expected.values[expected.is_candidate, 0])


def test_run_search_ends_where_a_study_of_the_same_patience_does(market):
    tried, plan = experiment(MIXED), SearchPlan("random", 400, seed=7, options={"generation_size": 10}, patience=3)
    expected = study(market, tried, plan)
    got = run_search(market, tried, plan.start(tried, plan.seed), plan.n_trials, patience=plan.patience)
    assert 40 <= len(got) < 400
    np.testing.assert_array_equal(got.values, expected.values)


def test_run_search_of_failures_has_the_trials_of_a_study(market, tmp_path):
    (tmp_path / "failing.py").write_text(MODULE)
    space = SearchSpace((IntDimension("strategy.window", 2, 40), FloatDimension("strategy.shift", 0.0, 1.0, step=0.25)))
    tried = Experiment(space, resolve("failing.picky", str(tmp_path)))
    plan = SearchPlan("tpe", 90, seed=0)
    expected = study(market, tried, plan)
    got = run_search(market, tried, plan.start(tried, 0), 90)
    np.testing.assert_array_equal(got.parameters, expected.parameters)
    np.testing.assert_array_equal(got.values, expected.values)
    assert got.errors == expected.errors
    assert 0 < got.is_failed.sum() < 90


def test_setting_that_ended_its_worker_is_a_failed_trial_and_not_run(market):
    plan, ran = SearchPlan("random", 60, seed=0), []
    tried = experiment()

    def evaluate(parameters):
        ran.append(parameters)
        return evaluate_batch(market, tried, parameters, keep=np.zeros(len(parameters), dtype=np.bool_)).trials

    expected = run_search(market, tried, plan.start(tried, 0), 60)
    fatal = frozenset(row.tobytes() for row in expected.parameters[[3, 40]])
    got = run_search(market, tried, plan.start(tried, 0), 60, evaluate, fatal=fatal)
    np.testing.assert_array_equal(got.parameters, expected.parameters)
    assert np.flatnonzero(got.is_failed).tolist() == [3, 40]
    assert not fatal & {row.tobytes() for row in np.concatenate(ran)}
    others = np.delete(np.arange(60), [3, 40])
    np.testing.assert_array_equal(got.values[others], expected.values[others])


def test_null_search_is_the_search_of_a_study_on_the_surrogate(market):
    plan = SearchPlan("tpe", 100, seed=3)
    for s, block in ((0, 1), (1, 1), (0, 21)):
        expected = study(surrogate_market(market, s, block), experiment(), replace(plan, seed=null_seed(3, s)))
        assert null_search(market, experiment(), plan, s, block=block) == np.nanmax(expected.values[:, 0])


def test_null_search_is_the_same_in_any_order_and_process(market):
    plan = SearchPlan("tpe", 60, seed=3)
    values = [null_search(market, experiment(), plan, s) for s in range(4)]
    assert len(set(values)) == 4
    shipped = pickle.loads(pickle.dumps((market, experiment(), plan)))
    assert [null_search(*shipped, s) for s in (3, 2, 1, 0)] == values[::-1]
    assert [null_search(market, experiment(), replace(plan, seed=4), s) for s in range(4)] != values


@pytest.mark.parametrize("choose", ["first", "knee", "-n_trades", "cagr - 0.001*n_trades"])
def test_null_search_takes_the_first_objective_of_the_chosen_trial(market, choose):
    two = experiment(objectives=("sharpe_ratio", "n_trades"), directions=("maximize", "minimize"))
    plan = SearchPlan("nsga2", 60, seed=1, options={"population_size": 20}, choose=choose)
    trials = run_search(surrogate_market(market, 0), two, plan.start(two, null_seed(1, 0)), 60)
    chosen = Choice(two.directions, choose)(trials)
    found = null_search(market, two, plan, 0)
    assert found == trials.values[chosen, 0]
    if choose == "first":
        assert found == trials.values[:, 0].max()
    if choose == "-n_trades":
        fewest = trials.values[:, 1] == trials.values[:, 1].min()
        assert found == trials.values[fewest, 0].max()


def test_a_search_that_always_fails_has_no_value(market):
    never = Experiment(
        SearchSpace((FloatDimension("strategy.long_threshold", 2.0, 3.0),)),
        resolve("long_short"),
        {"short_threshold": -2.0},
    )
    assert np.isnan(null_search(market, never, SearchPlan("random", 30, seed=0), 0))


def test_null_seeds_are_all_different():
    seeds = {null_seed(seed, s) for seed in range(30) for s in range(99)}
    assert len(seeds) == 30 * 99
    assert max(seeds) < 2**64


@pytest.mark.parametrize("name", ["random", "qmc", "grid"])
@pytest.mark.parametrize("n_pieces", [2, 5])
def test_null_search_is_the_same_in_pieces(market, name, n_pieces):
    two = experiment(FINITE, objectives=("sharpe_ratio", "exposure"), directions=("maximize", "minimize"))
    space = FINITE if name == "grid" else MIXED
    two = replace(two, space=space)
    plan = SearchPlan(name, 57, 5, {"generation_size": 16}, choose="knee")
    pieces = [run_piece(market, two, plan, 3, block=1, piece=place, n_pieces=n_pieces) for place in range(n_pieces)]
    assert sum(piece.n_trials for piece in pieces) == 57
    assert value_of_pieces(two, plan, pieces) == null_search(market, two, plan, 3)


def test_pieces_leave_out_what_ended_workers_and_fail_together(market):
    one = experiment()
    plan = SearchPlan("random", 40, 5, {"generation_size": 16})
    row = plan.start(one, null_seed(5, 1)).propose(1)[2].tobytes()
    shy = replace(plan, fatal=frozenset([row]))
    pieces = [run_piece(market, one, shy, 1, block=1, piece=place, n_pieces=3) for place in range(3)]
    assert [piece.failures.total() for piece in pieces] == [0, 1, 0]
    assert value_of_pieces(one, shy, pieces) == null_search(market, one, shy, 1)
    pieces[0].failures["no luck"] += 20
    with pytest.raises(SearchFailedError, match="21 of 40 trials, most often \\(20 times\\): no luck"):
        value_of_pieces(one, shy, pieces)


def test_only_trials_that_need_nothing_before_them_run_in_pieces():
    one = experiment()
    plan = SearchPlan("random", 10**6, 5)
    sampler = plan.start(one, 5)
    assert count_pieces(plan, sampler, 2, 1e-4) == 1
    assert count_pieces(plan, sampler, 64, 1e-4) == 8
    assert count_pieces(replace(plan, n_trials=100_000), sampler, 64, 1e-4) == 2
    assert count_pieces(replace(plan, patience=3), sampler, 64, 1e-4) == 1
    learns = replace(plan, sampler="tpe")
    assert count_pieces(learns, learns.start(one, 5), 64, 1e-4) == 1
