"""One behaviour suite over every sampler, then what each adds."""

import pickle
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest

from alphapulse.search.choosing import LAG, make_sampler
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.samplers._encoding import Encoding
from alphapulse.search.samplers._pareto import crowding_distance, non_domination_rank
from alphapulse.search.samplers.nsga3 import reference_directions
from alphapulse.search.space import SearchSpace

NUMERIC = (
    IntDimension("window", 10, 250),
    IntDimension("even", 2, 11, step=3),
    IntDimension("period", 1, 1000, log=True),
    FloatDimension("weight", -1.0, 1.0),
    FloatDimension("cost", 1e-5, 1e-2, log=True),
    FloatDimension("multiplier", 1.0, 5.2, step=0.5),
)
CHOICE = CategoricalDimension("kind", ("a", "b", None))
NUMERIC_ONLY = ("cmaes", "gp")
NAMES = ("random", "grid", "qmc", "tpe", "cmaes", "nsga2", "nsga3", "gp", "optuna")
LEARNERS = ("tpe", "cmaes", "nsga2", "nsga3", "gp", "optuna")


def space_for(name: str) -> SearchSpace:
    dimensions = NUMERIC if name in NUMERIC_ONLY else (*NUMERIC, CHOICE)
    if name == "grid":
        dimensions = tuple(d for d in dimensions if d.size is not None)
    return SearchSpace(dimensions)


def make(name: str, space: SearchSpace | None = None, *, seed: int = 3, **options):
    n = 2 if name.startswith("nsga") else 1
    return make_sampler(
        name,
        space or space_for(name),
        seed=seed,
        n_objectives=n,
        directions=["maximize", "minimize"][:n],
        options=options,
    )


def evaluate(parameters: np.ndarray, n_objectives: int) -> np.ndarray:
    """Return values that any sampler can learn from; one trial in seven fails."""
    scaled = parameters / np.maximum(np.abs(parameters).max(axis=0, initial=1.0), 1.0)
    values = np.stack([-((scaled - 0.3 - 0.2 * j) ** 2).sum(axis=1) * (-1) ** j for j in range(n_objectives)], axis=1)
    values[(parameters.sum(axis=1) * 1000).astype(np.int64) % 7 == 0, 0] = np.nan
    return values


def run(sampler, n_generations: int, told=None) -> list[np.ndarray]:
    """Return the proposals, two generations in flight; `told` collects what was told."""
    proposals = []
    for g in range(n_generations):
        if g >= LAG:
            values = evaluate(proposals[g - LAG], sampler.n_objectives)
            sampler.tell(g - LAG, proposals[g - LAG], values)
            if told is not None:
                told.append((g - LAG, proposals[g - LAG], values))
        proposals.append(sampler.propose(g))
    return proposals


def digest(proposals: list[np.ndarray]) -> str:
    return sha256(b"".join(p.tobytes() for p in proposals)).hexdigest()


def assert_inside(parameters: np.ndarray, space: SearchSpace) -> None:
    assert parameters.dtype == np.float64
    assert parameters.flags.c_contiguous
    for column, d in zip(parameters.T, space.dimensions, strict=True):
        low, high = d.bounds
        assert column.min() >= low
        assert column.max() <= high
        if not d.is_continuous:
            steps = (column - low) / d.spacing
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
        if not isinstance(d, FloatDimension):
            assert (column == np.round(column)).all()


@pytest.mark.parametrize("name", NAMES)
def test_proposals_keep_bounds_steps_and_choices(name):
    sampler = make(name)
    for generation, parameters in enumerate(run(sampler, 8)):
        assert parameters.shape == (sampler.schedule.size(generation), len(sampler.space))
        assert_inside(parameters, sampler.space)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits_other_seed_other_bits(name):
    first = digest(run(make(name), 6))
    assert digest(run(make(name), 6)) == first
    assert digest(run(make(name, seed=4), 6)) != first


@pytest.mark.parametrize("name", NAMES)
def test_fresh_sampler_told_the_history_proposes_the_same_bits(name):
    told: list = []
    proposals = run(make(name), 9, told)
    for start in (2, 5, 8):
        fresh = make(name)
        for generation, parameters, values in told:
            # Resuming tells all that is stored, of the generation before too; the lag is the sampler's to keep.
            if generation < start:
                fresh.tell(generation, parameters, values)
        assert fresh.propose(start).tobytes() == proposals[start].tobytes()


@pytest.mark.parametrize("name", LEARNERS)
def test_telling_in_parts_changes_nothing(name):
    whole, parts = make(name), make(name)
    proposals = [whole.propose(0), whole.propose(1)]
    for g in range(2, 6):
        values = evaluate(proposals[g - LAG], whole.n_objectives)
        whole.tell(g - LAG, proposals[g - LAG], values)
        for i in range(0, len(values), 3):
            parts.tell(g - LAG, proposals[g - LAG][i : i + 3], values[i : i + 3])
        proposals.append(whole.propose(g))
        assert parts.propose(g).tobytes() == proposals[g].tobytes()


@pytest.mark.parametrize("name", LEARNERS)
def test_generation_learns_from_two_before_and_no_later(name):
    sampler, other = make(name), make(name)
    for s in (sampler, other):
        for g in range(LAG):
            s.propose(g)
    first, second = sampler.propose(0), sampler.propose(1)
    sampler.tell(0, first, evaluate(first, sampler.n_objectives))
    other.tell(0, first, evaluate(first, other.n_objectives))
    other.tell(1, second, evaluate(second, other.n_objectives))
    assert sampler.propose(2).tobytes() == other.propose(2).tobytes()


@pytest.mark.parametrize("name", LEARNERS)
def test_misuse_is_named(name):
    sampler = make(name)
    with pytest.raises(ValueError, match="Generation 2 needs the results of 0"):
        sampler.propose(2)
    run(sampler, 4)
    with pytest.raises(ValueError, match="before it is learnt from"):
        sampler.tell(0, np.zeros((1, len(sampler.space))), np.zeros((1, sampler.n_objectives)))
    with pytest.raises(ValueError, match="proposed in order"):
        sampler.propose(1)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_all_failed_or_all_equal_still_proposes(name, value):
    sampler = make(name)
    proposals = [sampler.propose(0), sampler.propose(1)]
    for g in range(2, 12):
        sampler.tell(g - LAG, proposals[g - LAG], np.full((len(proposals[g - LAG]), sampler.n_objectives), value))
        proposals.append(sampler.propose(g))
        assert_inside(proposals[g], sampler.space)


ONE_DIMENSION = (
    IntDimension("x", 3, 3),
    IntDimension("x", 4, 4, log=True),
    FloatDimension("x", 0.5, 0.5),
    FloatDimension("x", 0.5, 0.5, log=True),
    FloatDimension("x", 1.0, 1.0, step=0.25),
    FloatDimension("x", 0.0, 1.0),
    CategoricalDimension("x", ("only",)),
)


def takes(name, dimension):
    return not dimension.is_continuous if name == "grid" else name not in NUMERIC_ONLY or dimension.is_ordered


@pytest.mark.parametrize(
    ("name", "dimension"), [(name, one) for name in NAMES for one in ONE_DIMENSION if takes(name, one)]
)
def test_one_dimension_and_one_value(name, dimension):
    sampler = make(name, SearchSpace((dimension,)), generation_size=8)
    for parameters in run(sampler, 6):
        assert_inside(parameters.reshape(-1, 1), sampler.space) if len(parameters) else None
        if dimension.bounds[0] == dimension.bounds[1]:
            assert (parameters == dimension.bounds[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_thirty_dimensions(name):
    space = SearchSpace(tuple(IntDimension(f"x{i}", 0, 3) for i in range(30)))
    sampler = make(name, space)
    for parameters in run(sampler, 4):
        assert_inside(parameters, space)


def test_bits_are_those_of_another_process():
    script = "\n".join(
        [
            "import importlib.util, sys",
            f"spec = importlib.util.spec_from_file_location('suite', {__file__!r})",
            "suite = importlib.util.module_from_spec(spec); spec.loader.exec_module(suite)",
            "print(' '.join(suite.digest(suite.run(suite.make(n), 5)) for n in suite.NAMES))",
        ]
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.split() == [digest(run(make(n), 5)) for n in NAMES]


def test_encoding_reaches_every_value_of_a_finite_dimension():
    for d in (*NUMERIC, CHOICE):
        if not d.is_continuous:
            dense = Encoding.of(SearchSpace((d,))).decode(np.linspace(0.0, 1.0, 200_001)[:, None])
            np.testing.assert_array_equal(np.unique(dense), d.bounds[0] + np.arange(d.size) * d.spacing)


def test_random_is_uniform_over_values_and_logarithm():
    sampler = make("random", generation_size=20_000)
    parameters = sampler.propose(0)
    counts = np.unique(parameters[:, 1], return_counts=True)[1]
    np.testing.assert_allclose(counts / 20_000, 0.25, atol=0.015)
    assert np.median(np.log10(parameters[:, 4])) == pytest.approx(-3.5, abs=0.05)
    assert np.median(parameters[:, 3]) == pytest.approx(0.0, abs=0.03)


def test_grid_has_every_point_once_then_none():
    space = SearchSpace((IntDimension("a", 1, 7), FloatDimension("b", 0.0, 1.0, step=0.25), CHOICE))
    sampler = make("grid", space, generation_size=16)
    parts = [sampler.propose(g) for g in range(9)]
    assert [len(p) for p in parts] == [16] * 6 + [9, 0, 0]
    points = np.concatenate(parts)
    assert len(np.unique(points, axis=0)) == space.size == 105
    assert_inside(points, space)
    assert parts[8].shape == (0, 3)


def test_grid_of_many_points_takes_no_memory():
    space = SearchSpace(tuple(IntDimension(f"k{i}", 1, 1000) for i in range(6)))
    points = np.concatenate([make("grid", space).propose(g) for g in (0, 10**9)])
    assert len(np.unique(points, axis=0)) == len(points)


def test_qmc_generation_does_not_depend_on_the_ones_before():
    sampler, fresh = make("qmc"), make("qmc")
    parts = [sampler.propose(g) for g in range(4)]
    assert fresh.propose(3).tobytes() == parts[3].tobytes()
    assert fresh.propose(1).tobytes() == parts[1].tobytes()


def test_qmc_fills_space_more_evenly_than_random():
    space = SearchSpace((FloatDimension("a", 0, 1), FloatDimension("b", 0, 1)))
    cells = [
        np.histogram2d(*make(name, space, generation_size=1024).propose(0).T, bins=16, range=[[0, 1], [0, 1]])[0]
        for name in ("qmc", "random")
    ]
    assert cells[0].std() < 0.3 * cells[1].std()


@pytest.mark.parametrize("name", ["tpe", "cmaes", "gp"])
def test_learner_beats_random(name):
    space = SearchSpace(tuple(FloatDimension(f"x{i}", -1, 1) for i in range(4)))
    best = {}
    for candidate in (name, "random"):
        sampler = make_sampler(
            candidate, space, seed=1, directions=["minimize"], options={"generation_size": 8 if name == "gp" else 16}
        )
        proposals, losses = [], []
        for g in range(20):
            if g >= LAG:
                sampler.tell(g - LAG, proposals[g - LAG], losses[g - LAG])
            proposals.append(sampler.propose(g))
            losses.append(((proposals[g] - 0.37) ** 2).sum(axis=1, keepdims=True))
        best[candidate] = min(loss.min() for loss in losses)
    assert best[name] < 0.3 * best["random"]


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "tpe"])
def test_two_objectives_reach_the_front(name):
    space = SearchSpace(tuple(FloatDimension(f"x{i}", 0, 1) for i in range(5)))
    sampler = make_sampler(name, space, seed=1, n_objectives=2, directions=["minimize", "maximize"])
    proposals, values = [], []
    for g in range(max(24, sampler.schedule.n_whole(384))):
        if g >= LAG:
            sampler.tell(g - LAG, proposals[g - LAG], values[g - LAG])
        x = sampler.propose(g)
        proposals.append(x)
        away = x[:, 1:].mean(axis=1)
        values.append(np.stack([x[:, 0], -(1.0 - x[:, 0] ** 0.5 + away)], axis=1))
    away = [x[:, 1:].mean(axis=1).mean() for x in proposals]
    assert np.mean(away[-4:]) < 0.5 * np.mean(away[:2])
    assert np.ptp(np.concatenate(proposals[-3:])[:, 0]) > 0.5


@pytest.mark.parametrize("name", LEARNERS)
def test_conditions_on_results_are_learnt(name):
    """The best value lies where a condition is broken: proposals gather at its border, not beyond."""
    space = SearchSpace(tuple(FloatDimension(f"x{i}", 0, 1) for i in range(3)))
    n = 2 if name.startswith("nsga") else 1
    held = {}
    for with_condition in (True, False):
        sampler = make_sampler(
            name, space, seed=1, n_objectives=n, directions=["maximize"] * n, options={"generation_size": 12}
        )
        proposals = []
        for g in range(20):
            if g >= LAG:
                x = proposals[g - LAG]
                values = np.repeat(x.sum(axis=1, keepdims=True), n, axis=1)
                told = (x[:, :1] - 0.4,) if with_condition else ()
                sampler.tell(g - LAG, x, values, *told)
            proposals.append(sampler.propose(g))
        last = np.concatenate(proposals[-5:])
        held[with_condition] = (last[:, 0] <= 0.4).mean()
    assert held[True] > max(0.4, held[False] + 0.25)


@pytest.mark.parametrize("name", LEARNERS)
def test_conditions_that_hold_change_no_bit(name):
    proposals = run(make(name), 8)
    sampler, again = make(name), []
    for g in range(8):
        if g >= LAG:
            parameters = again[g - LAG]
            values = evaluate(parameters, sampler.n_objectives)
            violations = np.where(np.isnan(values).any(axis=1), np.nan, -1.0)[:, None]
            sampler.tell(g - LAG, parameters, values, violations)
        again.append(sampler.propose(g))
    assert digest(again) == digest(proposals)


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_but_broken_conditions_is_learnt_from(name):
    """Where no trial is feasible yet, the nearest ones lead the way."""
    space = SearchSpace(tuple(FloatDimension(f"x{i}", 0, 1) for i in range(2)))
    n = 2 if name.startswith("nsga") else 1
    sampler = make_sampler(
        name, space, seed=2, n_objectives=n, directions=["maximize"] * n, options={"generation_size": 12}
    )
    proposals = []
    for g in range(16):
        if g >= LAG:
            x = proposals[g - LAG]
            sampler.tell(g - LAG, x, np.ones((len(x), n)), 3.0 - x[:, :1])
        proposals.append(sampler.propose(g))
    assert np.concatenate(proposals[-4:])[:, 0].mean() > 0.7


def test_tpe_memory_stays_flat():
    def n_bytes(n_generations):
        sampler = make("tpe", generation_size=100)
        run(sampler, n_generations)
        return len(pickle.dumps(sampler))

    assert n_bytes(32) == n_bytes(24)


@pytest.mark.parametrize("last", [8, 90])
def test_tpe_redraws_what_was_in_flight_and_told_in_part(last):
    told: list = []
    proposals = run(make("tpe"), last + 1, told)
    fresh = make("tpe")
    for generation, parameters, values in told:
        fresh.tell(generation, parameters, values)
    fresh.tell(last - 1, proposals[last - 1][:3], evaluate(proposals[last - 1][:3], 1))
    assert fresh.propose(last).tobytes() == proposals[last].tobytes()


def test_tpe_grows_from_one_model_to_islands():
    sampler = make("tpe")
    sizes = [len(parameters) for parameters in run(sampler, 100)]
    assert (sizes[0], sizes[-1]) == (4, 16)
    assert sizes == sorted(sizes)
    assert {len(parameters) for parameters in run(make("tpe", generation_size=16), 5)} == {16}


@pytest.mark.parametrize("n", [1, 4, 60])
def test_tpe_mixture_matches_optuna(n):
    """The densities behind a proposal are those of Optuna's Parzen estimator on the same trials."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
    from optuna.samplers._tpe.sampler import default_weights

    from alphapulse.search.samplers._parzen import Layout, Observed, densities, fit, kernel_weights, log_sums

    # Which of two equal values has the wider kernel is chance in Optuna: stepped values are compared without ties.
    stepped = (NUMERIC[1], NUMERIC[5]) if n <= 4 else ()
    space = SearchSpace((NUMERIC[3], NUMERIC[4], CHOICE, *stepped))
    distributions = {
        "weight": FloatDistribution(-1.0, 1.0), "cost": FloatDistribution(1e-5, 1e-2, log=True),
        "kind": CategoricalDistribution(("a", "b", None)), "even": IntDistribution(2, 11, step=3),
        "multiplier": FloatDistribution(1.0, 5.0, step=0.5),
    }  # fmt: skip
    distributions = dict(list(distributions.items())[: len(space)])
    encoding, q = Encoding.of(space), len(space)
    rng = np.random.default_rng(0)
    observed = rng.random((n, q))
    observed[:, 3:] = (rng.permutation(n)[:, None] + 0.5) / n
    observed, points = encoding.decode(observed), encoding.decode(rng.random((40, q)))
    estimator = _ParzenEstimator(
        dict(zip(distributions, observed.T, strict=True)),
        distributions,
        _ParzenEstimatorParameters(1.0, True, False, default_weights, True),
    )
    expected = estimator.log_pdf(dict(zip(distributions, points.T, strict=True)))
    layout = Layout.of(encoding, np.arange(q))
    trials = encoding.encode(observed)
    order = np.ascontiguousarray(np.argsort(trials, axis=0, kind="stable").T)
    mixture = fit(Observed(trials, order, kernel_weights(n, 1.0)), layout, np.zeros(q), n + 1)
    unit = encoding.encode(points)
    cells = np.floor(unit * np.maximum(encoding.size, 1)).astype(np.int64)
    rows, ours = np.empty((len(unit), n + 1)), np.empty(len(unit))
    at = zip(unit, cells, rows, strict=True)
    peaks = np.array([densities(x, cell, mixture, layout, n + 1, row) for x, cell, row in at])
    log_sums(peaks, rows, n + 1, ours)
    # Ours is a density in the unit interval, Optuna's in the values (or their logarithm), and leaves out sqrt(2 pi).
    width = np.log(encoding.width[:2] * np.sqrt(2 * np.pi)).sum()
    np.testing.assert_allclose(ours - width, expected, atol=2e-6)


def test_non_domination_rank_by_hand():
    losses = np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [np.inf, np.inf], [1.0, 1.0]])
    rank = non_domination_rank(losses)
    np.testing.assert_array_equal(rank, [0, 0, 1, 2, 3, 0])
    distance = crowding_distance(np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]]), np.zeros(3, np.int64))
    np.testing.assert_array_equal(distance, [np.inf, 2.0, np.inf])


def test_reference_directions_lie_on_the_simplex():
    directions = reference_directions(3, 4)
    assert len(np.unique(directions, axis=0)) == len(directions) == 15
    np.testing.assert_allclose(directions.sum(axis=1), 1.0)
    assert directions.min() == 0.0
