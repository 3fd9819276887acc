"""Keys that count under a condition alone: read, masked, counted, and left alone by every sampler."""

import numpy as np
import optuna
import pytest

from alphapulse.errors import ConfigError
from alphapulse.search.choosing import LAG, SAMPLERS, choose_sampler, make_sampler
from alphapulse.search.conditions import filled_column
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.settings import count_settings
from alphapulse.search.space import SearchSpace

KIND = CategoricalDimension("engine.kind", ("none", "percent", "atr"))
TRAILING = CategoricalDimension("engine.trailing", (False, True))
FINITE = (KIND, IntDimension("engine.multiplier", 1, 5), TRAILING, FloatDimension("engine.percent", 0.1, 0.5, 0.1))
CONTINUOUS = (KIND, FloatDimension("engine.multiplier", 1.0, 5.0), TRAILING, FloatDimension("engine.percent", 0.1, 0.5))
NUMERIC = (IntDimension("engine.bars", 0, 3), FloatDimension("engine.fade", 0.1, 1.0, log=True))
VALUES = {"engine.kind": "atr", "engine.multiplier": 2.0, "engine.trailing": True, "engine.percent": 0.05}
VALUES |= {"engine.bars": 0, "engine.fade": 0.5, "strategy.window": 20}
WHEN = {
    "engine.multiplier": 'engine.kind == "atr"',
    "engine.percent": 'engine.kind == "percent"',
    "engine.trailing": "engine.multiplier > 2",
}
NAN = np.nan


def make_space(dimensions, when=WHEN, constraints=(), values=VALUES):
    space = SearchSpace(tuple(dimensions))
    return space.ruled(read_rules(constraints, (), values, when=when, swept=space.keys))


def run(sampler, n_generations, told=None):
    """Return what is proposed; the first generations are `told` where they are given."""
    proposals = list(told or [])
    for g, parameters in enumerate(proposals):
        if sampler.needs_history:
            sampler.tell(g, parameters, values_of(parameters, sampler.n_objectives))
    for g in range(len(proposals), n_generations):
        if g >= LAG and g - LAG >= len(told or []):
            sampler.tell(g - LAG, proposals[g - LAG], values_of(proposals[g - LAG], sampler.n_objectives))
        proposals.append(sampler.propose(g))
    return proposals


def values_of(parameters, n_objectives):
    return np.stack([np.nan_to_num(parameters, nan=0.3).sum(axis=1)] * n_objectives, axis=1)


def make(name, space, **options):
    n = 2 if name.startswith("nsga") else 1
    return make_sampler(name, space, seed=3, n_objectives=n, directions=["maximize"] * n, options=options)


def test_what_is_inactive_is_nan_and_so_is_what_asks_for_it():
    space = make_space(FINITE)
    assert list(space.rules.when) == ["engine.multiplier", "engine.percent", "engine.trailing"]
    raw = np.array([[0, 3, 1, 0.2], [1, 3, 1, 0.2], [2, 3, 1, 0.2], [2, 2, 1, 0.2]])
    masked = np.array([[0, NAN, NAN, NAN], [1, NAN, NAN, 0.2], [2, 3, 1, NAN], [2, 2, NAN, NAN]])
    np.testing.assert_array_equal(space.masked(raw), masked)
    np.testing.assert_array_equal(space.masked(masked), masked)
    assert space.values(masked[1]) == {"engine.kind": "percent", "engine.percent": 0.2}
    assert space.represents(masked).all()
    assert space.represents(raw).tolist() == [False, False, False, False]
    # What is inactive has in a constraint the value that it has where it is not swept.
    bound = make_space(FINITE, constraints=["engine.multiplier <= 2"])
    assert bound.fits(raw).tolist() == [True, True, False, True]
    assert bound.broken(masked[2]) == "engine.multiplier <= 2"


def test_equal_settings_have_one_code():
    for dimensions, n_codes in ((FINITE, 3 * 5 * 2 * 5), (CONTINUOUS, 3 * 2)):
        space = make_space(dimensions)
        assert space.n_codes == n_codes
        raw = make("random", SearchSpace(dimensions), generation_size=500).propose(0)
        settings = space.masked(raw)
        codes = space.codes(settings)
        is_countable = codes >= 0
        assert codes.max() < n_codes
        assert is_countable.all() == (dimensions is FINITE)
        rows = {row.tobytes() for row in settings[is_countable]}
        assert len(rows) == len(np.unique(codes[is_countable]))


def test_conditions_on_what_is_fixed_are_settled_at_once():
    space = make_space(FINITE[1:], values=VALUES | {"engine.kind": "percent"})
    # Multiples are never active then, nor what asks for them; the percentage always is.
    assert space.keys == ("engine.percent",)
    assert not space.is_conditional
    space = make_space(FINITE[1:])
    assert space.keys == ("engine.multiplier", "engine.trailing")
    assert list(space.rules.when) == ["engine.trailing"]
    # One of a key that is not swept says nothing.
    assert make_space(FINITE, {"strategy.window": "engine.bars > 0"}).rules.when == {}


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (
            {"engine.multiplyer": "engine.bars > 0"},
            r"`when` must .* got 'engine.multiplyer'; did you mean 'engine.mult",
        ),
        ({"engine.percent": "engine.kin > 0"}, r"`when engine.percent` must be made of known names, .*'engine.kind'"),
        ({"engine.percent": "engine.bars + 1"}, r"`when engine.percent` must compare something"),
        ({"engine.percent": "engine.percent > 0"}, r"of engine.percent must not .* engine.percent -> engine.percent"),
        (
            {"engine.percent": "not engine.trailing", "engine.trailing": "engine.percent > 0"},
            r"got engine.percent -> engine.trailing -> engine.percent",
        ),
    ],
)
def test_mistakes_name_the_key(when, message):
    with pytest.raises(ConfigError, match=message):
        make_space(FINITE, when)


@pytest.mark.parametrize("dimensions", [FINITE, CONTINUOUS])
def test_key_that_no_setting_makes_active_is_refused(dimensions):
    with pytest.raises(
        ConfigError, match=r"`when` of engine.percent must hold in some setting, but engine.kind == \"a"
    ):
        make("random", make_space(dimensions, {"engine.percent": 'engine.kind == "atrr"'}))


def test_grid_has_each_setting_once_and_says_so():
    # none; percent and five of them; atr and 1, 2, or 3, 4, 5 that may trail.
    n = 1 + 5 + 2 + 3 * 2
    space = make_space(FINITE)
    assert (space.size, count_settings(space)) == (150, n)
    sampler = make("grid", space, generation_size=4)
    assert sampler.reason == "grid has 150 points, 14 distinct."
    found = np.concatenate(run(sampler, 5))
    assert len({row.tobytes() for row in found}) == len(found) == n
    bound = make_space(FINITE, constraints=['engine.kind != "none"'])
    assert make("grid", bound).reason == "grid has 150 points, 14 distinct, 13 after constraints."
    assert choose_sampler(space, n_objectives=1, n_trials=20)[1].endswith("all 14 points fit into 20 trials.")
    points = space.masked(found[[3, 5]])
    begin = make_sampler("grid", space, seed=3, options={"generation_size": 4}, enqueued=points)
    again = np.concatenate(run(begin, 5))
    np.testing.assert_array_equal(again[:2], points)
    assert {row.tobytes() for row in again} == {row.tobytes() for row in found}
    assert len(again) == n


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("grid", "cmaes", "gp")])
@pytest.mark.parametrize("dimensions", [FINITE, CONTINUOUS])
def test_samplers_leave_alone_what_is_inactive(name, dimensions):
    space = make_space(dimensions)
    straight = run(make(name, space, generation_size=6), 8)
    found = np.concatenate(straight)
    np.testing.assert_array_equal(space.masked(found), found)
    assert not (space.active(found) & np.isnan(found)).any()
    if name != "optuna":
        assert len(found) == (14 if dimensions is FINITE else 48)
        countable = found[space.codes(found) >= 0]
        assert len({row.tobytes() for row in countable}) == len(countable) > 0
    if dimensions is CONTINUOUS or name == "optuna":
        for g, proposed in enumerate(run(make(name, space, generation_size=6), 8, straight[:5])[5:], start=5):
            np.testing.assert_array_equal(proposed, straight[g])


@pytest.mark.parametrize("name", ["cmaes", "gp"])
def test_samplers_of_numbers_leave_alone_what_is_inactive(name):
    space = make_space(NUMERIC, {"engine.fade": "engine.bars > 1"})
    straight = run(make(name, space, generation_size=8), 6)
    found = np.concatenate(straight)
    np.testing.assert_array_equal(np.isnan(found[:, 1]), found[:, 0] <= 1)
    assert np.count_nonzero(np.isnan(found[:, 1])) == 2
    for g, proposed in enumerate(run(make(name, space, generation_size=8), 6, straight[:4])[4:], start=4):
        np.testing.assert_array_equal(proposed, straight[g])


def test_a_setting_without_what_is_inactive_always_looks_the_same_to_a_sampler():
    space = make_space(CONTINUOUS)
    encoding = make("tpe", space).encoding
    settings = space.masked(encoding.decode(np.random.default_rng(0).random((2000, 4))))
    full = encoding.completed(settings)
    np.testing.assert_array_equal(full, np.concatenate([encoding.completed(row[None, :]) for row in settings]))
    np.testing.assert_array_equal(space.masked(full), settings)
    spread = encoding.encode(full)[np.isnan(settings[:, 1]) & ~np.isnan(settings[:, 3]), 1]
    np.testing.assert_allclose(np.quantile(spread, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05)


@pytest.mark.parametrize("name", ["TPESampler", "RandomSampler", "NSGAIISampler", "CmaEsSampler"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optunas_samplers_are_asked_as_an_objective_with_if_asks_them(name):
    space = make_space(CONTINUOUS)
    sampler = make_sampler("optuna", space, seed=5, options={"optuna": name, "generation_size": 1})
    ours = []
    for g in range(30):
        ours.append(sampler.propose(g))
        sampler.tell(g, ours[-1], values_of(ours[-1], 1))

    def objective(trial):
        row = [float(KIND.choices.index(trial.suggest_categorical("engine.kind", KIND.choices))), NAN, NAN, NAN]
        if row[0] == 2:
            row[1] = trial.suggest_float("engine.multiplier", 1.0, 5.0)
        if row[0] == 1:
            row[3] = trial.suggest_float("engine.percent", 0.1, 0.5)
        if row[1] > 2:
            row[2] = float(trial.suggest_categorical("engine.trailing", [False, True]))
        theirs.append(row)
        return values_of(np.array([row]), 1)[0, 0]

    theirs = []
    options = {"warn_independent_sampling": False} if name == "CmaEsSampler" else {}
    made = getattr(optuna.samplers, name)(seed=5, **options)
    optuna.create_study(direction="maximize", sampler=made).optimize(objective, n_trials=30)
    np.testing.assert_array_equal(np.concatenate(ours), theirs)


@pytest.mark.parametrize(
    ("dimension", "otherwise", "expected"),
    [
        (IntDimension("a", 1, 5), 9, [1, 9, 3]),
        (IntDimension("a", 1, 5), 2.5, [1, 2.5, 3]),
        (IntDimension("a", 1, 5), None, [1, None, 3]),
        (FloatDimension("a", 1.0, 5.0), 0.5, [1.0, 0.5, 3.0]),
        (CategoricalDimension("a", (False, True, None, False)), True, [True, True, False]),
        (CategoricalDimension("a", ("x", "y", "z", "w")), "q", ["y", "q", "w"]),
        (CategoricalDimension("a", ((1, 2), (3, 4), (5, 6), (7, 8))), [0, 0], [(3, 4), (0, 0), (7, 8)]),
        (CategoricalDimension("a", (0, 1, 2, 3)), (1, 2), [1, (1, 2), 3]),
    ],
)
def test_a_column_has_another_value_where_a_trial_has_none(dimension, otherwise, expected):
    column = filled_column(dimension, np.array([1.0, NAN, 3.0]), otherwise)
    found = column.tolist() if isinstance(column, np.ndarray) else column
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]
