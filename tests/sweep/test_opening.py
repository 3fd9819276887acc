"""What a command that continues a study says, and what it takes from the store."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from alphapulse.backtesting.metrics import DEFINITIONS
from alphapulse.config.assembly import disassemble
from alphapulse.config.command import command
from alphapulse.errors import StudyError
from alphapulse.plain import plain
from alphapulse.study.identity import check_same_study
from alphapulse.sweep.opening import continued_config, stored_config

FIRST = [
    "study=mine", "n_trials=300", "seed=5", "strategy=sma_cross", "sweeps=none", "strategy.slow=int(interval(60,200))",
    "strategy.fast=int(interval(5,30))", "engine=frictionless", "search=random", "search.generation_size=64",
    "data.start=2012-01-01", "validation.n_bootstrap=50", "constraints=[strategy.fast != 7]",
]  # fmt: skip


@pytest.fixture
def compose(tmp_path, monkeypatch):
    """Return a function from arguments of the sweep command to its configuration and what was typed."""
    monkeypatch.chdir(tmp_path)

    def compose(*arguments):
        received = []
        main = command("config", "SweepConfig", with_given=True)(
            lambda config, directory, given: received.append((config, given))
        )
        main(list(arguments))
        return received[0]

    return compose


def stored(config, **changes):
    return SimpleNamespace(
        name=config.study, config=plain(disassemble(config)) | {"sampler": "random"}, space=config.space,
        n_trials=config.n_trials, seed=config.seed, objectives=config.objective, directions=config.directions,
        definitions=DEFINITIONS, fingerprint="f", **changes,
    )  # fmt: skip


def check(study, config):
    plan = SimpleNamespace(
        space=config.space, objectives=config.objective, directions=config.directions, seed=config.seed, fingerprint="f"
    )
    check_same_study(study, plan, plain(disassemble(config)))


def test_name_alone_continues_a_study_as_it_is(compose):
    first, _ = compose(*FIRST)
    study = stored(first)
    continued = continued_config(study, *compose("study=mine"))
    assert continued == first
    assert [rule.text for rule in continued.space.rules.constraints] == [
        "strategy.fast < strategy.slow", "strategy.fast != 7",
    ]  # fmt: skip
    check(study, continued)


def test_what_was_typed_counts(compose):
    study = stored(compose(*FIRST)[0])
    config, given = compose(
        "study=mine", "n_trials=900", "cluster.num_cpus=1", "output=json", "validation.thresholds.survive_p=0.01",
        "optuna.mirror_limit=5", "search.generation_size=64", "engine.commission=0", "strategy=sma_cross",
    )  # fmt: skip
    continued = continued_config(study, config, given)
    assert (continued.n_trials, continued.seed, continued.output) == (900, 5, "json")
    assert (continued.cluster.num_cpus, continued.validation.thresholds.survive_p) == (1, 0.01)
    assert (continued.optuna.mirror_limit, continued.validation.n_bootstrap) == (5, 50)
    check(study, continued)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("seed=0", "seed 5, but got 0"),
        ("search=tpe", "search.sampler random, but got tpe"),
        ("search.generation_size=32", "search.generation_size 64, but got 32"),
        ("engine=default", "engine.commission 0.0, but got 0.001"),
        ("engine.stop={kind: percent}", "engine.stop.kind none, but got percent"),
        ("strategy=long_short", r"strategy\._target_ .*SmaCross, but got .*LongShort"),
        ("objective=calmar_ratio", "objective sharpe_ratio, but got calmar_ratio"),
        ("validation.holdout=0.3", "validation.holdout 0.2, but got 0.3"),
        ("constraints=[engine.max_leverage > 0.1]", r"constraints \['strategy.fast != 7'\], but got \['engine.max_l"),
        ("sweeps=sma_cross_daily", "the search space strategy.fast = "),
        ("engine.rebalance_band=interval(0,1)", r"the search space engine.rebalance_band = \(fixed\), but got float"),
    ],
)
def test_what_was_typed_and_differs_is_refused(compose, argument, words):
    study = stored(compose(*FIRST)[0])
    continued = continued_config(study, *compose("study=mine", argument.replace(": ", ":")))
    with pytest.raises(StudyError, match=words):
        check(study, continued)


def test_options_of_an_optuna_sampler_are_part_of_a_study(compose):
    searched = [
        "search=optuna", "search.optuna=PartialFixedSampler", "search.options.base_sampler._target_=TPESampler",
        "search.options.fixed_params={strategy.fast:10}",
    ]  # fmt: skip
    first, _ = compose(*(a for a in FIRST if not a.startswith("search")), *searched)
    study = stored(first)
    for again in ([], searched):
        continued = continued_config(study, *compose("study=mine", *again))
        assert continued.search == first.search
        check(study, continued)
    others = [
        ("fixed_params={strategy.fast:11}", r"search.options.fixed_params.strategy.fast 10, but got 11"),
        ("base_sampler._target_=RandomSampler", "_target_ TPESampler, but got RandomSampler"),
        ("base_sampler.multivariate=true", "multivariate None, but got True"),
    ]
    for option, words in others:
        continued = continued_config(study, *compose("study=mine", *searched[:2], f"search.options.{option}"))
        with pytest.raises(StudyError, match=words):
            check(study, continued)


def test_keys_of_the_stored_strategy_are_compared(compose):
    study = stored(compose(*FIRST)[0])
    for value, words in (("20", r"strategy.fast = int\[5, 30\], but got \(fixed\)"), ("int(interval(5,40))", "40")):
        continued = continued_config(study, *compose("study=mine", "strategy=sma_cross", f"strategy.fast={value}"))
        with pytest.raises(StudyError, match=words):
            check(study, continued)
    same = continued_config(study, *compose("study=mine", "strategy=sma_cross", "strategy.fast=int(interval(5,30))"))
    check(study, same)


def test_order_of_a_stored_space_stays(compose):
    study = stored(compose(*FIRST)[0])
    study.space = replace(study.space, dimensions=tuple(reversed(study.space.dimensions)))
    assert stored_config(study).space == study.space
    assert continued_config(study, *compose("study=mine")).space == study.space
    assert continued_config(study, *compose(*FIRST)).space == study.space


def test_key_that_an_older_version_has_not_stored_has_its_default(compose):
    first, _ = compose(*FIRST)
    study = stored(first)
    del study.config["validation"]["null_block"]
    check(study, continued_config(study, *compose("study=mine")))
    assert stored_config(study).validation.null_block == 1


def test_own_strategy_needs_no_space_where_it_is_stored(compose):
    first, _ = compose(*FIRST)
    config, given = compose("study=mine", "strategy._target_=alphapulse.strategies.sma_cross.SmaCross", "sweeps=none")
    assert len(config.space) == 0
    assert continued_config(stored(first), config, given) == first
