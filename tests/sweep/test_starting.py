"""Where a search starts: defaults, settings of a file, the best of a study."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from alphapulse.backtesting.models import EngineParams
from alphapulse.config.groups import SearchConfig
from alphapulse.errors import ConfigError
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan
from alphapulse.sweep.starting import StartPoints, start_points

SPACE = SearchSpace(
    (
        IntDimension("strategy.fast", 5, 50),
        CategoricalDimension("strategy.allow_short", (True, False)),
        FloatDimension("engine.stop.multiplier", 1.0, 5.0, step=0.5),
    )
)
DEFINITION = resolve("alphapulse.strategies.sma_cross.SmaCross")
DEFAULT_FAST = DEFINITION.parameters["fast"].default
DEFAULTS = [DEFAULT_FAST, 0.0 if DEFINITION.parameters["allow_short"].default else 1.0, 2.0]


def start(space=SPACE, store=None, strategy=None, **search):
    experiment = Experiment(space, DEFINITION, strategy or {}, EngineParams())
    return start_points(SimpleNamespace(search=SearchConfig(**search)), experiment, store)


def test_defaults_are_the_first_point():
    begin = start()
    assert (begin.points.tolist(), begin.has_defaults, begin.notes) == ([DEFAULTS], True, ())
    assert start(strategy={"fast": 7}).points[0, 0] == 7
    none = start(start="none")
    assert (none.points.shape, none.has_defaults, none.notes) == ((0, 3), False, ())


def test_defaults_outside_the_space_are_told():
    space = SearchSpace((IntDimension("strategy.fast", 100, 200),))
    begin = start(space)
    assert (len(begin.points), begin.has_defaults) == (0, False)
    assert begin.notes == (
        f"the strategy's own setting is no trial: strategy.fast={DEFAULT_FAST} is not in int[100, 200]",
    )


def test_setting_that_breaks_a_constraint_is_none_to_start_from(write):
    rules = read_rules(["strategy.fast < strategy.slow"], [], {"strategy.fast": 20, "strategy.slow": 20})
    begin = start(SearchSpace(SPACE.dimensions, rules))
    assert (len(begin.points), begin.has_defaults) == (0, False)
    assert begin.notes == (
        "the strategy's own setting is no trial: it breaks the constraint strategy.fast < strategy.slow",
    )
    with pytest.raises(ConfigError, match="setting 1, must lie in the space, but it breaks the constraint"):
        start(SearchSpace(SPACE.dimensions, rules), enqueue=write("- strategy.fast: 30\n"))


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "known.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_settings_of_a_file_come_next(write):
    path = write(
        "- {strategy.fast: 10, strategy.allow_short: false, engine.stop.multiplier: 3}\n- strategy.fast: 11.0\n"
        f"- strategy.fast: {DEFAULT_FAST}\n"
    )
    assert start(enqueue=path).points.tolist() == [DEFAULTS, [10, 1, 3.0], [11, *DEFAULTS[1:]]]
    begin = start(enqueue=path, start="none")
    assert begin.points.tolist() == [[10, 1, 3.0], [11, *DEFAULTS[1:]], DEFAULTS]
    assert not begin.has_defaults


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- strategy.fast: 99\n", r"setting 1, must lie in the space, but strategy.fast=99 is not in int\[5, 50\]"),
        ("- {}\n- engine.stop.multiplier: 1.7\n", r"setting 2, .* engine.stop.multiplier=1.7 is not in float"),
        ("- strategy.allow_short: 1\n", "strategy.allow_short=1 is not in choice"),
        ("- strategy.fats: 9\n", "`strategy.fats` must be a swept key; did you mean 'strategy.fast'"),
        ("- strategy.slow: 99\n", "`strategy.slow` must be a swept key"),
        ("strategy.fast: 9\n", "must be a list of mappings such as `- strategy.fast: VALUE`"),
        ("- [1]\n", "must be a list of mappings"),
        ("", "must be a list of mappings"),
        ("- {\n", "must be YAML"),
    ],
)
def test_file_that_does_not_fit_is_refused(write, text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        start(enqueue=write(text))
    assert "\n" not in str(caught.value)


def test_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be readable"):
        start(enqueue=str(tmp_path / "none.yaml"))


class OneStudy:
    """A store with one study, whose trials are these."""

    def __init__(self, params, config=None):
        self._params, self._study = params, SimpleNamespace(name="old", config=config or {})

    def find_study(self, name):
        assert name == "old"
        return self._study

    def best(self, study, n):
        assert n == 20
        return [{"params": params} for params in self._params[:n]]


def test_best_trials_of_a_study_come_next():
    trials = [{"strategy.fast": 20, "strategy.slow": 100}, {"strategy.fast": 60}, {"strategy.fast": 21}]
    store = OneStudy(trials, {"engine": {"stop": {"multiplier": 4.0}}, "strategy": {"allow_short": False, "fast": 1}})
    begin = start(store=store, enqueue="old")
    assert begin.points.tolist() == [DEFAULTS, [20, 1, 4.0], [21, 1, 4.0]]
    assert begin.notes == ("1 of the best 3 trials of study old are left out: strategy.fast=60 is not in int[5, 50]",)
    assert start(store=OneStudy([]), enqueue="old").notes == ("study old has no trial to start from",)


def test_points_are_read_back_from_a_study():
    begin = start()
    study = SimpleNamespace(space=SPACE, config={"enqueued": begin.stored()})
    np.testing.assert_array_equal(StartPoints.of(study).points, begin.points)
    assert StartPoints.of(study).has_defaults
    old = StartPoints.of(SimpleNamespace(space=SPACE, config={}))
    assert (old.points.shape, old.has_defaults) == ((0, 3), False)


def test_null_sweeps_start_from_the_same_points():
    begin = start()
    plan = SearchPlan("tpe", 40, seed=0, enqueued=begin.points)
    for seed in (0, 1):
        sampler = plan.start(Experiment(SPACE, DEFINITION), seed)
        np.testing.assert_array_equal(sampler.propose(0)[0], begin.points[0])


def test_what_is_inactive_need_not_lie_in_the_space(write):
    space = SearchSpace((CategoricalDimension("engine.stop.kind", ("none", "atr")), *SPACE.dimensions[2:]))
    values = {"engine.stop.kind": "atr", "engine.stop.multiplier": 2.0}
    rules = read_rules([], [], values, when={"engine.stop.multiplier": 'engine.stop.kind == "atr"'}, swept=space.keys)
    space = space.ruled(rules)
    file = write("- engine.stop.kind: none\n  engine.stop.multiplier: 77\n- engine.stop.kind: none\n")
    begin = start(space, enqueue=file)
    np.testing.assert_array_equal(begin.points, [[1.0, 2.0], [0.0, np.nan]])
    stored = json.loads(json.dumps(begin.stored(), allow_nan=False))
    again = StartPoints.of(SimpleNamespace(config={"enqueued": stored}, space=space))
    np.testing.assert_array_equal(again.points, begin.points)
    with pytest.raises(ConfigError, match=r"engine.stop.multiplier=77 is not in"):
        start(space, enqueue=write("- engine.stop.kind: atr\n  engine.stop.multiplier: 77\n"))
