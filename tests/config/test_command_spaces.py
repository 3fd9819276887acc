"""What is swept: experiments, groups, keys that follow, constraints."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from alphapulse.config.assembly import assemble, disassemble
from alphapulse.config.conf import Conf
from alphapulse.config.found import resource_dir
from alphapulse.config.schema import SweepConfig

Run = Callable[..., Any]
Refuse = Callable[..., str]


def test_sweep_default_is_the_long_short_experiment(run: Run) -> None:
    config = run("sweep")
    assert config.sweeps == "long_short_daily"
    assert config.study.startswith("long_short_daily-")
    assert config.n_trials == 2000
    assert config.search.sampler == "tpe"
    assert config.strategy["volatility_source"] == "realized"
    assert config.data.symbols == ("SAMPLE_SP500",)
    assert config.space.distributions() == {
        "engine.stop.multiplier": FloatDistribution(1, 5),
        "strategy.high_volatility_scale": FloatDistribution(0, 1),
        "strategy.ma_window": IntDistribution(10, 250),
        "strategy.reversion_weight": FloatDistribution(0, 1),
        "strategy.rsi_overbought": FloatDistribution(60, 85),
        "strategy.rsi_oversold": FloatDistribution(15, 40),
        "strategy.rsi_window": IntDistribution(5, 30),
        "strategy.volatility_threshold": FloatDistribution(10, 40),
    }


def test_sweep_override_replaces_the_experiments(run: Run) -> None:
    space = run("sweep", "strategy.ma_window=range(20,101,20)").space.distributions()
    assert space["strategy.ma_window"] == IntDistribution(20, 100, step=20)


def test_sweep_override_adds_a_dimension(run: Run) -> None:
    config = run("sweep", "engine.stop.kind=atr,percent", "engine.rebalance_band=tag(log,interval(1e-3,0.5))")
    space = config.space.distributions()
    assert space["engine.stop.kind"] == CategoricalDistribution(("atr", "percent"))
    assert space["engine.rebalance_band"] == FloatDistribution(1e-3, 0.5, log=True)


def test_plain_value_fixes_a_swept_parameter(run: Run) -> None:
    config = run("sweep", "strategy.ma_window=120", "engine.stop.multiplier=3")
    assert "strategy.ma_window" not in config.space.keys
    assert "engine.stop.multiplier" not in config.space.keys
    assert config.strategy["ma_window"] == 120
    assert config.engine.stop.multiplier == 3.0


def test_deleted_key_is_neither_swept_nor_set(run: Run) -> None:
    config = run("sweep", "~strategy.ma_window")
    assert "strategy.ma_window" not in config.space.keys
    assert config.strategy["ma_window"] == 40


def test_multirun_mode_is_one_run(run: Run) -> None:
    assert "strategy.ma_window" in run("sweep", "hydra.mode=MULTIRUN").space.keys


@pytest.mark.parametrize("prefix", ["+", "++"])
def test_added_sweep_override_is_swept(run: Run, prefix: str) -> None:
    assert "engine.rebalance_band" in run("sweep", f"{prefix}engine.rebalance_band=interval(0,0.3)").space.keys


def test_later_argument_wins(run: Run) -> None:
    config = run("sweep", "strategy.ma_window=interval(1,2)", "strategy.ma_window=50", "n_trials=1", "n_trials=7")
    assert "strategy.ma_window" not in config.space.keys
    assert config.n_trials == 7


@pytest.mark.parametrize("name", sorted(path.stem for path in resource_dir("sweeps").glob("*.yaml")))
def test_every_experiment_composes(run: Run, name: str) -> None:
    config = run("sweep", f"sweeps={name}")
    assert config.sweeps == name
    assert len(config.space) > 0


def test_strategy_takes_its_own_daily_experiment(run: Run) -> None:
    config = run("sweep", "strategy=sma_cross")
    assert config.sweeps == "sma_cross_daily"
    assert config.space.size == 300


def test_experiment_of_another_strategy_is_refused(refuse: Refuse) -> None:
    assert "use sweeps=breakout_daily" in refuse("sweep", "sweeps=long_short_daily", "strategy=breakout")


def test_no_space_is_refused(refuse: Refuse) -> None:
    assert "nothing is swept" in refuse("sweep", "sweeps=none")


def test_every_group_option_composes(run: Run) -> None:
    groups = ("data", "search", "cluster", "db", "validation", "engine")
    conf = Conf(None, "config")
    options = [[f"{group}={option}" for option in conf.options(group)] for group in groups]
    for together in itertools.zip_longest(*options):
        needed = ["data.path=bars.csv"] if "data=csv" in together else []
        run("sweep", *filter(None, together), *needed)


def test_config_dir_adds_groups_and_experiments(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "data").mkdir(parents=True)
    (own / "sweeps").mkdir()
    (own / "data" / "mine.yaml").write_text("source: database\nsymbols: [MINE]\nvolatility_symbol: null\n")
    (own / "sweeps" / "mine.yaml").write_text(
        "overrides: [data=mine]\nspace:\n  strategy.ma_window: int(interval(5,9))\n"
    )
    config = run("sweep", "--config-dir", str(own), "sweeps=mine")
    assert config.data.symbols == ("MINE",)
    assert config.space.distributions() == {"strategy.ma_window": IntDistribution(5, 9)}
    assert run("sweep", "--config-dir", str(own), "search=random").search.sampler == "random"


def test_experiment_by_path(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("space:\n  strategy.ma_window: 10,20\n")
    config = run("sweep", "sweeps=./mine.yaml")
    assert config.space.size == 2
    assert config.sweeps == "mine"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("spce:\n  strategy.ma_window: 1,2\n", "did you mean 'space'?"),
        ("space:\n  strategy.ma_windw: 1,2\n", "did you mean 'strategy.ma_window'?"),
        ("space:\n  strategy.ma_window: 120\n", "must be swept by one of"),
        ("space:\n  data.start: a,b\n", "only strategy.* and engine.* are searched"),
        ("overrides: data=sample\n", "a list of texts"),
        ("overrides: ['strategy.ma_window=1,2']\n", "put it under space"),
        ("overrides: ['sarch=tpe']\n", "did you mean 'search'?"),
        ("space: [1\n", "must be YAML"),
        ("[1, 2]\n", "must be a mapping"),
    ],
)
def test_bad_experiment_is_refused_in_one_line(refuse: Refuse, tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    assert expected in refuse("sweep", "sweeps=bad.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("source: sample\nsymbls: [A]\n", "did you mean 'data.symbols'?"),
        ("source: sample\nsymbols: [A\n", "YAML"),
        ("source: smple\n", "did you mean 'sample'?"),
    ],
)
def test_bad_group_file_is_refused_in_one_line(refuse: Refuse, tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "bad.yaml").write_text(content)
    refused = refuse("sweep", "--config-dir", str(tmp_path / "own"), "data=bad")
    assert expected in refused or "while parsing" in refused


def test_constraints_are_rules_of_the_space(run: Run) -> None:
    config = run("sweep", "strategy=sma_cross", "constraints=[strategy.fast + 20 <= strategy.slow, strategy.size < 2]")
    assert [rule.text for rule in config.space.rules.constraints] == [
        "strategy.fast < strategy.slow", "strategy.fast + 20 <= strategy.slow", "strategy.size < 2",
    ]  # fmt: skip
    assert config.space.rules.fixed["strategy.size"] == 1.0
    assert run("sweep", "constraints=strategy.ma_window < 100").constraints == ("strategy.ma_window < 100",)


def test_constraints_of_an_experiment(run: Run, refuse: Refuse, tmp_path: Path) -> None:
    text = "space: {strategy.ma_window: 'int(interval(10,250))'}\nconstraints: ['strategy.ma_window < 100']\n"
    (tmp_path / "own.yaml").write_text(text)
    assert run("sweep", "sweeps=own.yaml").constraints == ("strategy.ma_window < 100",)
    typed = run("sweep", "sweeps=own.yaml", "constraints=[strategy.ma_window != 40]")
    assert typed.constraints == ("strategy.ma_window != 40",)
    (tmp_path / "bad.yaml").write_text("constraints: strategy.ma_window < 100\n")
    assert "`constraints` must be a list of texts" in refuse("sweep", "sweeps=bad.yaml")


def test_conditions_of_keys(run: Run, refuse: Refuse, tmp_path: Path) -> None:
    text = (
        "space: {engine.stop.kind: 'none,atr', engine.stop.multiplier: 'interval(1,5)'}\n"
        'when: {engine.stop.multiplier: engine.stop.kind == "atr"}\n'
    )
    (tmp_path / "own.yaml").write_text(text)
    expected = {"engine.stop.multiplier": 'engine.stop.kind == "atr"'}
    config = run("sweep", "sweeps=own.yaml")
    assert (config.when, config.space.is_conditional) == (expected, True)
    assert assemble(SweepConfig, disassemble(config)).space == config.space
    for typed in (
        ['when.engine.stop.multiplier=engine.stop.kind == "atr"'],
        ["when.engine.stop.multiplier='engine.stop.kind == \"atr\"'"],
        ['when={engine.stop.multiplier: engine.stop.kind == "atr"}'],
    ):
        space = ["sweeps=none", "engine.stop.kind=none,atr", "engine.stop.multiplier=interval(1,5)"]
        assert run("sweep", *space, *typed).space == config.space
    other = run("sweep", "sweeps=own.yaml", "when.engine.stop.multiplier=engine.max_bars == 0")
    assert (other.space.keys, other.space.is_conditional) == (config.space.keys, False)
    assert not run("sweep", "sweeps=own.yaml", "when.engine.stop.multiplier=null").space.is_conditional
    # Where the kind is one, what does not belong to it is not searched.
    assert run(
        "sweep", "sweeps=own.yaml", "engine.stop.kind=percent", "strategy.ma_window=range(5,50,5)"
    ).space.keys == ("strategy.ma_window",)
    assert "`when` must map keys to conditions" in refuse("sweep", "when=3")
    (tmp_path / "bad.yaml").write_text("when: [a]\n")
    assert "`when` must map keys to conditions" in refuse("sweep", "sweeps=bad.yaml")
    assert "got 'engine.stop.multiplyer'; did you mean" in refuse("sweep", "when.engine.stop.multiplyer=engine.lot > 0")


@pytest.mark.parametrize("text", ["${strategy.ma_window}", "a-${strategy.ma_window}-b", "${.ma_window}"])
def test_key_that_follows_a_swept_one_is_refused(run: Run, refuse: Refuse, text: str) -> None:
    line = refuse("sweep", f"strategy.rsi_window={text}", "strategy.ma_window=int(interval(5,50))")
    assert "`strategy.rsi_window` must not follow `strategy.ma_window`, which is swept, but got" in line
    refuse("sweep", "study=x${strategy.rsi_window}", "strategy.rsi_window=int(interval(5,50))")
    # What is not swept may be followed.
    config = run("sweep", "strategy.rsi_window=${strategy.atr_window}", "strategy.atr_window=9")
    assert config.strategy["atr_window"] == 9


def test_nothing_follows_a_key_swept_by_an_experiment(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "overrides: ['strategy.rsi_window=${strategy.ma_window}']\n"
        "space: {strategy.ma_window: 'int(interval(10,250))'}\n"
    )
    assert "`strategy.rsi_window` must not follow `strategy.ma_window`" in refuse("sweep", "sweeps=own.yaml")
