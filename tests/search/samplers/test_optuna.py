"""Optuna's samplers as ours: beside `Study.optimize` trial by trial, in generations, resumed, and what is refused."""

import sys
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from alphapulse.errors import ConfigError, StudyError
from alphapulse.search.choosing import make_sampler
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.space import SearchSpace

SPACE = SearchSpace(
    (
        IntDimension("window", 1, 30),
        FloatDimension("weight", 0.0, 1.0),
        FloatDimension("cost", 1e-4, 1.0, log=True),
        FloatDimension("threshold", 0.0, 1.0, step=0.1),
        CategoricalDimension("kind", ("x", "y", None)),
    )
)
FINITE = SearchSpace((SPACE.dimensions[0], SPACE.dimensions[4]))
NUMERIC = SearchSpace(SPACE.dimensions[:4])
TWO = ("maximize", "minimize")
SAMPLERS = [
    ("TPESampler", {}, SPACE, ("maximize",)),
    ("TPESampler", {"multivariate": True, "group": True, "constant_liar": True}, SPACE, ("maximize",)),
    ("TPESampler", {}, SPACE, TWO),
    ("CmaEsSampler", {"n_startup_trials": 5}, NUMERIC, ("minimize",)),
    ("NSGAIISampler", {"population_size": 8}, SPACE, TWO),
    ("NSGAIIISampler", {"population_size": 8}, SPACE, TWO),
    ("QMCSampler", {"scramble": True}, SPACE, ("maximize",)),
    ("RandomSampler", {}, SPACE, ("maximize",)),
    ("BruteForceSampler", {}, FINITE, ("maximize",)),
    ("GridSampler", {"search_space": {"window": list(range(1, 6)), "kind": ["x", "y"]}}, FINITE, ("maximize",)),
]
IDS = [f"{name}-{len(options)}-{len(directions)}" for name, options, _, directions in SAMPLERS]


class Fixed(optuna.samplers.RandomSampler):
    """A user's own sampler."""

    def __init__(self, value=0.25, seed=None):
        super().__init__(seed)
        self.value = value

    def sample_independent(self, study, trial, param_name, param_distribution):
        drawn = super().sample_independent(study, trial, param_name, param_distribution)
        return self.value if param_name == "weight" else drawn


class Unseeded(optuna.samplers.RandomSampler):
    """One that no seed reaches."""

    def __init__(self):
        super().__init__()


def make(name, options, space=SPACE, directions=("maximize",), *, size=1, seed=5, enqueued=None):
    return make_sampler(
        "optuna",
        space,
        seed=seed,
        n_objectives=len(directions),
        directions=directions,
        options={"generation_size": size, "optuna": name, "options": options},
        enqueued=enqueued,
    )


def evaluate(parameters, n_objectives):
    """Values (k, n_objectives); one trial in eight fails."""
    values = np.stack([np.sin(parameters @ np.arange(1, parameters.shape[1] + 1) + j) for j in range(n_objectives)], 1)
    values[values[:, 0] > 0.92] = np.nan
    return values


def run(sampler, n_trials, told=None):
    """Return the proposals (n, p), as many generations in flight as the sampler's lag says."""
    flight, rows, n, generation = [], [], 0, 0
    while n < n_trials:
        proposed = sampler.propose(generation)
        if not len(proposed):
            break
        flight.append((generation, proposed, evaluate(proposed, sampler.n_objectives)))
        rows.append(proposed)
        generation, n = generation + 1, n + len(proposed)
        if len(flight) == sampler.lag:
            if told is not None:
                told.append(flight[0])
            sampler.tell(*flight.pop(0))
    return np.concatenate(rows)


def optimized(sampler, space, directions, n_trials, enqueued=()):
    """Return the parameters (n, p) of `Study.optimize`."""
    distributions = space.distributions()

    def objective(trial):
        row = [d.to_internal_repr(trial._suggest(key, d)) for key, d in distributions.items()]
        return tuple(evaluate(np.array([row], dtype=float), len(directions))[0])

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=directions, sampler=sampler)
    for values in enqueued:
        study.enqueue_trial(values)
    study.optimize(objective, n_trials=n_trials)
    optuna.logging.set_verbosity(before)
    rows = [[distributions[key].to_internal_repr(v) for key, v in t.params.items()] for t in study.trials]
    return np.array(rows, dtype=float)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options", "space", "directions"), SAMPLERS, ids=IDS)
def test_one_trial_in_flight_is_optunas_own_sequence(name, options, space, directions):
    ours = run(make(name, options, space, directions), 40)
    optunas = optimized(getattr(optuna.samplers, name)(seed=5, **options), space, directions, 40)
    np.testing.assert_array_equal(ours, optunas)


@pytest.mark.filterwarnings("ignore")
def test_nested_samplers_are_made_and_seeded_like_the_outer_one():
    nested = {
        "fixed_params": {"window": 7},
        "base_sampler": {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 4},
    }
    base = optuna.samplers.TPESampler(n_startup_trials=4, seed=5)
    optunas = optimized(optuna.samplers.PartialFixedSampler({"window": 7}, base), SPACE, ("maximize",), 30)
    ours = run(make("PartialFixedSampler", nested), 30)
    np.testing.assert_array_equal(ours, optunas)
    assert (ours[:, 0] == 7).all()
    crossover = {"population_size": 6, "crossover": {"_target_": "optuna.samplers.nsgaii.VSBXCrossover", "eta": 3.0}}
    theirs = optuna.samplers.NSGAIISampler(
        seed=5, population_size=6, crossover=optuna.samplers.nsgaii.VSBXCrossover(eta=3.0)
    )
    ours = run(make("NSGAIISampler", crossover, NUMERIC, TWO), 40)
    np.testing.assert_array_equal(ours, optimized(theirs, NUMERIC, TWO, 40))


@pytest.mark.filterwarnings("ignore")
def test_points_come_first_as_in_a_study_of_optunas():
    points = np.array([[3.0, 0.5, 0.01, 0.3, 2.0], [4.0, 0.25, 0.1, 0.7, 0.0]])
    ours = run(make("TPESampler", {}, enqueued=points), 25)
    enqueued = [SPACE.values(point) for point in points]
    optunas = optimized(optuna.samplers.TPESampler(seed=5), SPACE, ("maximize",), 25, enqueued)
    np.testing.assert_array_equal(ours[:2], points)
    np.testing.assert_array_equal(ours, optunas)


@pytest.mark.parametrize(("name", "options", "space", "directions"), SAMPLERS, ids=IDS)
@pytest.mark.parametrize("size", [1, 5])
def test_resumed_search_repeats_what_is_stored_and_goes_on(name, options, space, directions, size):
    told = []
    straight = run(make(name, options, space, directions, size=size), 40, told)
    for n_told in {1, len(told) // 2, len(told) - 1}:
        resumed = make(name, options, space, directions, size=size)
        for generation, parameters, values in told[:n_told]:
            resumed.tell(generation, parameters, values)
        first = n_told * size
        np.testing.assert_array_equal(resumed.propose(n_told), straight[first : first + size])


def test_cma_es_has_one_population_in_flight_unless_told_otherwise():
    told = []
    straight = run(make("CmaEsSampler", {}, NUMERIC, size=None), 48, told)
    sampler = make("CmaEsSampler", {}, NUMERIC, size=None)
    assert (sampler.lag, sampler.schedule.size(0), sampler.schedule.size(9)) == (1, 8, 8)
    for generation, parameters, values in told[:4]:
        sampler.tell(generation, parameters, values)
    np.testing.assert_array_equal(sampler.propose(4), straight[32:40])
    assert make("CmaEsSampler", {"popsize": 12}, NUMERIC, size=None).schedule.size(3) == 12
    assert (make("CmaEsSampler", {}, NUMERIC, size=5).lag, make("TPESampler", {}, size=None).lag) == (2, 2)


def test_what_is_in_flight_is_running_and_failed_trials_are_told_so():
    sampler = make("TPESampler", {}, size=4)
    run(sampler, 20)
    states = [trial.state for trial in sampler._study.trials]
    assert states[-8:] == [TrialState.RUNNING] * 8
    values = evaluate(np.array([[t.params["window"]] for t in sampler._study.trials], dtype=float), 1)
    assert len(values) == 20
    failed = make("RandomSampler", {}, size=2)
    for g in range(4):
        proposed = failed.propose(g)
        failed.tell(g, proposed, np.array([[np.nan], [1.5]]))
    assert [t.state.name for t in failed._study.trials[:4]] == ["FAIL", "COMPLETE"] * 2
    assert failed._study.trials[1].values == [1.5]


def test_constant_liar_sees_what_is_in_flight():
    proposals = {}
    for liar in (False, True):
        sampler = make("TPESampler", {"constant_liar": liar, "n_startup_trials": 1}, size=6)
        proposals[liar] = run(sampler, 60)
    np.testing.assert_array_equal(proposals[False][:6], proposals[True][:6])
    assert not np.array_equal(proposals[False], proposals[True])


def test_trials_that_break_a_constraint_fail_in_memory():
    rules = read_rules(["window < 10 or weight < 0.5"], [], {"window": 1, "weight": 0.5})
    for size in (1, 4):
        sampler = make("TPESampler", {}, replace(SPACE, rules=rules), size=size)
        rows = run(sampler, 40)
        assert ((rows[:, 0] < 10) | (rows[:, 1] < 0.5)).all()
        states = [trial.state for trial in sampler._study.trials]
        assert states.count(TrialState.FAIL) > 0
        assert len(states) > len(rows) == 40
    finite = replace(FINITE, rules=read_rules(["window % 2 == 0"], [], {"window": 1}))
    rows = run(make("BruteForceSampler", {}, finite), 100)
    assert (len(rows), len(np.unique(rows, axis=0))) == (45, 45)


def test_exhausted_space_ends_the_search():
    for size in (1, 4):
        rows = run(make("BruteForceSampler", {}, FINITE, size=size), 500)
        assert len(np.unique(rows, axis=0)) == FINITE.size
        assert len(rows) <= FINITE.size + 2 * size


def test_stored_trials_that_do_not_come_out_again_are_refused():
    told = []
    run(make("RandomSampler", {}, size=3), 12, told)
    other = make("RandomSampler", {}, size=3, seed=6)
    with pytest.raises(StudyError, match="does not repeat the trials of generation 0"):
        other.tell(*told[0])
    told = []
    run(make(f"{__name__}.Unseeded", {}, size=3), 12, told)
    with pytest.raises(StudyError, match="not seeded"):
        make(f"{__name__}.Unseeded", {}, size=3).tell(*told[0])


def test_a_sampler_of_ones_own_by_its_dotted_path(tmp_path, monkeypatch):
    assert (run(make(f"{__name__}.Fixed", {"value": 0.5}), 5)[:, 1] == 0.5).all()
    (tmp_path / "my_sampler.py").write_text(
        "from optuna.samplers import RandomSampler\n\nclass Mine(RandomSampler):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    rows = run(make("my_sampler.Mine", {}), 5)
    np.testing.assert_array_equal(rows, run(make("RandomSampler", {}), 5))
    sys.modules.pop("my_sampler")


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1])
def test_any_seed_of_ours_is_one_of_optunas(seed):
    rows = run(make("RandomSampler", {}, seed=seed), 3)
    if seed < 2**32:
        optunas = optimized(optuna.samplers.RandomSampler(seed=seed), SPACE, ("maximize",), 3)
        np.testing.assert_array_equal(rows, optunas)
    else:
        assert not np.array_equal(rows, run(make("RandomSampler", {}, seed=seed % 2**32), 3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("TPESamplr", {}, "did you mean 'TPESampler'"),
        ("BaseSampler", {}, "must be a sampler of optuna.samplers"),
        ("MedianPruner", {}, "a pruner stops a trial by its intermediate values, and a backtest has none"),
        ("optuna.pruners.HyperbandPruner", {}, "same bars"),
        ("TPESampler", {"pruner": "MedianPruner"}, "a backtest has none"),
        ("TPESampler", {"seed": 3}, "write seed=NUMBER"),
        ("TPESampler", {"n_startup": 3}, "no option 'n_startup'; did you mean 'n_startup_trials'"),
        ("NSGAIISampler", {"population_size": 1}, "NSGAIISampler refuses its options"),
        ("no_such_module.Sampler", {}, "No module named 'no_such_module'"),
        ("optuna.samplers.NoSampler", {}, "optuna.samplers has no 'NoSampler'"),
        ("optuna.study.StudyDirection", {}, "none|refuses its options"),
        ("collections.OrderedDict", {}, "says what it takes"),
        ("collections.UserDict", {}, "Optuna's kind"),
        ("PartialFixedSampler", {"base_sampler": {"_target_": "MedianPruner"}}, "search.options.base_sampler._target_"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(name, options, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        make(name, options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "space", "directions", "message"),
    [
        ("BruteForceSampler", SPACE, ("maximize",), "Optuna's BruteForceSampler cannot search this: .*infinite"),
        ("CmaEsSampler", NUMERIC, TWO, "Optuna's CmaEsSampler cannot search this: .*multi-objective"),
    ],
)
def test_what_a_sampler_cannot_search_is_said_in_one_line(name, space, directions, message):
    with pytest.raises(ConfigError, match=message):
        run(make(name, {}, space, directions), 10)


@pytest.mark.skipif("torch" in sys.modules, reason="torch is there")
def test_missing_package_is_named_at_once():
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="needs the package torch; `pip install torch`"):
            make("GPSampler", {})


def test_optunas_log_stays_as_loud_as_it_was(capfd):
    make("RandomSampler", {})
    assert "study created" not in capfd.readouterr().err
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "options", "directions"),
    [("TPESampler", {"n_startup_trials": 5}, ("maximize",)), ("NSGAIISampler", {"population_size": 8}, TWO)],
)
def test_conditions_on_results_are_told_as_optuna_has_them(name, options, directions):
    def violations(parameters):
        return np.stack([parameters[:, 0] - 20.0, 0.3 - parameters[:, 1]], axis=1)

    sampler = make(name, options, NUMERIC, directions)
    rows = []
    for generation in range(50):
        rows.append(sampler.propose(generation))
        values = evaluate(rows[-1], len(directions))
        broken = np.where(np.isnan(values).any(axis=1)[:, None], np.nan, violations(rows[-1]))
        sampler.tell(generation, rows[-1], values, broken)

    def objective(trial):
        row = np.array([[trial._suggest(key, d) for key, d in NUMERIC.distributions().items()]], dtype=float)
        values = evaluate(row, len(directions))[0]
        if not np.isnan(values).any():
            for place, excess in enumerate(violations(row)[0].tolist()):
                trial.set_constraint(str(place), excess)
        return tuple(values)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=directions, sampler=getattr(optuna.samplers, name)(seed=5, **options))
    study.optimize(objective, n_trials=50)
    expected = [[t.params[key] for key in NUMERIC.keys] for t in study.trials]
    np.testing.assert_array_equal(np.concatenate(rows), np.array(expected, dtype=float))
