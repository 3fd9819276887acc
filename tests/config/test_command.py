import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from alphapulse import __version__
from alphapulse.backtesting.metrics import METRICS
from alphapulse.config.assembly import assemble, disassemble
from alphapulse.config.command import command
from alphapulse.config.conf import Conf
from alphapulse.config.found import resource_dir
from alphapulse.config.schema import SweepConfig
from alphapulse.errors import DataError

Run = Callable[..., Any]
Refuse = Callable[..., str]

MY_MODULE = """
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MyStrategy:
    fast: int = 5
    slow: int = 20
    kind: Literal["hard", "soft"] = "hard"

    def __post_init__(self):
        if self.fast >= self.slow:
            raise ValueError(f"`fast < slow` must hold, but got {self.fast} and {self.slow}.")

    def target(self, bars):
        return 0.0 * bars.close
"""


@pytest.fixture
def my_module(tmp_path: Path) -> None:
    (tmp_path / "my_module.py").write_text(MY_MODULE)


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


@pytest.mark.usefixtures("my_module")
def test_own_strategy_from_the_working_directory(run: Run) -> None:
    config = run(
        "sweep", "strategy._target_=my_module.MyStrategy", "strategy.fast=10", "strategy.slow=int(interval(50,200))"
    )
    assert config.strategy == {"_target_": "my_module.MyStrategy", "fast": 10, "slow": 20, "kind": "hard"}
    assert config.space.keys == ("strategy.slow",)
    assert config.study.startswith("MyStrategy-")


@pytest.mark.usefixtures("my_module")
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("strategy.slw=int(interval(50,200))", "did you mean 'strategy.slow'?"),
        ("strategy.slow=interval(50,200)", "write int(interval(50.0,200.0))"),
        ("strategy.kind=hard,sft", "did you mean 'soft'?"),
        ("strategy.slow=5", "`fast < slow` must hold"),
        ("strategy.fast=int(interval(50,60))", "`fast < slow` must hold"),
        ("strategy._target_=my_module.MyStrtegy", "did you mean 'MyStrategy'?"),
        ("strategy._target_=no_module.MyStrategy", "no_module"),
    ],
)
def test_own_strategy_is_checked_early(refuse: Refuse, argument: str, expected: str) -> None:
    fixed = [] if argument.startswith("strategy._target_") else ["strategy._target_=my_module.MyStrategy"]
    assert expected in refuse("sweep", *fixed, "engine.rebalance_band=interval(0,0.3)", argument)


BAD = [
    ("sweep", "n_trials=0", "`n_trials` must be >= 1, but got 0"),
    ("sweep", "n_trials=many", "`n_trials` must be an integer, but got 'many'"),
    ("sweep", "n_trials=2.5", "`n_trials` must be an integer, but got 2.5"),
    ("sweep", "n_trials=true", "`n_trials` must be an integer, but got True"),
    ("sweep", "n_trials=null", "`n_trials` must be an integer, but got null"),
    ("sweep", "n_trials=1,2", "`n_trials` must have one value"),
    ("sweep", "seed=-1", "`seed` must be in"),
    ("sweep", "output=xml", "`output` must be one of table, json, but got 'xml'"),
    ("sweep", "quiet=maybe", "`quiet` must be true or false"),
    ("sweep", "objective=sharp", "did you mean 'sharpe_ratio'?"),
    ("sweep", "objective=[]", "at least one metric"),
    ("sweep", "objective=[cagr,cagr]", "twice"),
    ("sweep", "objective=cagr,max_drawdown", "a list is objective=[cagr,max_drawdown]"),
    ("sweep", "patience=0", "`patience` must be >= 1"),
    ("sweep", "timeout=soon", "`timeout` must be a time such as 90s, 10m or 1.5h, but got 'soon'"),
    ("sweep", "timeout=0", "`timeout` must be a time such as 90s, 10m or 1.5h, but got '0'"),
    ("sweep", "choose=knee", "`choose=knee` must go with several objectives, but got one"),
    ("sweep", "choose=cagr - volatility", "search for it with objective=cagr - volatility"),
    ("sweep", "objective=sharp - 2", "`objective` must be made of known names, but got 'sharp'"),
    ("sweep", "objective=cagr > 3", "`objective` must be a number made of metrics, but got 'cagr > 3'"),
    ("sweep", "objective=3", "`objective` must be a number made of metrics, but got '3'"),
    ("sweep", "feasible=[n_trade >= 30]", "`feasible` must be made of known names, but got 'n_trade'"),
    ("sweep", "feasible=[n_trade >= 30]", "did you mean 'n_trades'?"),
    ("sweep", "feasible=n_trades", "`feasible` must compare something, as in 'a < b', but got 'n_trades'"),
    ("sweep", "feasible=n_trades >", "`feasible` must be an expression, but got 'n_trades >'"),
    ("sweep", "feasible=open('x') > 3", "open() is no function here"),
    ("sweep", "constraints=[strategy.ma_windw < 9]", "but got 'strategy.ma_windw' in 'strategy.ma_windw < 9'; did you"),
    ("sweep", "constraints=strategy.ma_window", "`constraints` must compare something, as in 'a < b', but got"),
    ("sweep", "constraints=ma_window < 9", "did you mean 'strategy.ma_window'?"),
    ("sweep", "direction=up", "one of maximize, minimize"),
    ("sweep", "direction=[maximize,minimize]", "one entry an objective"),
    ("sweep", "search=tpee", "did you mean 'tpe'?"),
    ("sweep", "search=tpe,random", "`search` must have one value"),
    ("sweep", "strategy=long_shrt", "did you mean 'long_short'?"),
    ("sweep", "strategy=long_short,sma_cross", "`strategy` must have one value"),
    ("sweep", "sweeps=long_short", "did you mean 'long_short_daily'?"),
    ("sweep", "searh=tpe", "did you mean 'search'?"),
    ("sweep", "n_trails=10", "did you mean 'n_trials'?"),
    ("sweep", "strategy.ma_windw=int(interval(10,250))", "did you mean 'strategy.ma_window'?"),
    ("sweep", "strategy.ma_windw=10", "did you mean 'strategy.ma_window'?"),
    ("sweep", "engine.slipage=0.1", "did you mean 'engine.slippage'?"),
    ("sweep", "engine.stop.multiplyer=interval(1,5)", "did you mean 'engine.stop.multiplier'?"),
    ("sweep", "engine.stop.kind=atr,percnt", "did you mean 'percent'?"),
    ("sweep", "engine.execution=next_opn", "did you mean 'next_open'?"),
    ("sweep", "engine.execution=interval(1,2)", "write engine.execution=next_open,next_close,same_close"),
    ("sweep", "engine.max_leverage=interval(-1,2)", "`engine.max_leverage` must be >= 0, but got -1.0"),
    ("sweep", "engine.commission=interval(0,0.01)", "`engine.commission` must have one value: it is a fact of the"),
    ("sweep", "engine.cash_rate=0.01,0.04", "`engine.cash_rate` must have one value: it is a fact of the world"),
    ("sweep", "engine.initial_capital=interval(1e3,1e6)", "a search would pick the cheapest one"),
    ("sweep", "engine.commission=2", "`engine.commission` must be in [-0.5, 0.5], but got 2.0"),
    ("sweep", "engine.commission=cheap", "`engine.commission` must be a number, but got 'cheap'"),
    ("sweep", "strategy.ma_window=interval(10,250)", "write int(interval(10.0,250.0))"),
    ("sweep", "strategy.ma_window=int(interval(250,10))", "write interval(10,250)"),
    ("sweep", "strategy.ma_window=0", "ma_window"),
    ("sweep", "strategy.volatility_source=vix", "must be one of"),
    ("sweep", "strategy._target_=1,2", "run once for each strategy"),
    ("sweep", "data.timeframe=1q", "`data.timeframe` must be a whole number of m, h, d, wk or mo such as 5m"),
    ("sweep", "data.timeframe=daily", "but got 'daily'"),
    ("sweep", "data.periods_per_year=0", "`data.periods_per_year` must be > 0"),
    ("sweep", "data.symbols=[]", "at least one symbol"),
    ("sweep", "data.symbols=A,B", "a list is data.symbols=[A,B]"),
    ("sweep", "data.symbols=choice([A],[B])", "only strategy.* and engine.* are searched"),
    ("sweep", "data.symbols=[A,A]", "'A' twice"),
    ("sweep", "data.symbls=[A]", "did you mean 'data.symbols'?"),
    ("sweep", "data.start=yesterday", "ISO date"),
    ("sweep", "data.max_staleness=week", "a duration such as 7d"),
    ("sweep", "validation.holdout=1.5", "`validation.holdout` must be in [0, 1), but got 1.5"),
    ("sweep", "validation.lookahead=of", "did you mean 'off'?"),
    ("sweep", "validation.pbo_blocks=15", "an even number"),
    ("sweep", "validation.priors=[1.5]", "(0, 1)"),
    ("sweep", "cluster.num_cpus=0", "`cluster.num_cpus` must be >= 1"),
    ("sweep", "db.port=99999", "`db.port` must be in [1, 65535]"),
    ("sweep", "study=''", "`study` must not be blank"),
    ("sweep", "strategy.ma_window", "Arguments must be key=value"),
    ("sweep", "strategy.ma_window=int(interval(10,", "Cannot read"),
    ("sweep", "~strategy.ma_windw", "did you mean 'strategy.ma_window'?"),
    ("sweep", "--multirun", "must be left out"),
    ("sweep", "--unknown", "unrecognized arguments: --unknown"),
    ("sweep", "hydra.run.dri=x", "hydra.run"),
    ("sweep", "study=${nowhere}", "nowhere"),
    ("backtest", "strategy.ma_window=10,20", "`python -m alphapulse.sweep` searches"),
    ("backtest", "strategy.ma_windw=10", "did you mean 'strategy.ma_window'?"),
    ("backtest", "strategy.ma_window=ten", "`strategy.ma_window` must be an integer"),
    ("sweep", "sweeps=a,b", "`sweeps` must have one value"),
    ("backtest", "n_trials=10", "Unknown key 'n_trials'"),
    ("download", "provider=yahoo", "`provider` must be one of its options, but got 'yahoo'"),
    ("download", "provider.name=yahoo", "`provider.name` must be one of csv, sample, yfinance, but got 'yahoo'"),
    ("download", "provider=sampel", "did you mean 'sample'?"),
    ("sweep", "search.sampler=tpee", "did you mean 'tpe'?"),
    ("sweep", "search.sampler=null", "`search.sampler` must be a text"),
    ("download", "data=database", "`data` must be a group of keys"),
    ("download", "data.volatility_symbol=X", "Unknown key 'data.volatility_symbol'"),
    ("replay", "study=x", "study=NAME trial=NUMBER"),
    ("report", "output=json", "study=NAME"),
    ("dashboard", "port=http", "`port` must be an integer"),
    ("db", "url=x", "Unknown key 'url'"),
    ("db", "updgrade", "did you mean 'upgrade'?"),
]


@pytest.mark.parametrize(("name", "argument", "expected"), BAD)
def test_bad_argument_is_refused_in_one_line(refuse: Refuse, name: str, argument: str, expected: str) -> None:
    assert expected in refuse(name, argument)


def test_start_after_end_is_refused(refuse: Refuse) -> None:
    line = refuse("sweep", "data.start=2015-01-01", "data.end=2010-01-01")
    assert "`data.start` must not be after `data.end`, but got 2015-01-01 and 2010-01-01" in line


def test_group_given_twice_is_refused(refuse: Refuse) -> None:
    assert "`search` must be given once, but got tpe and random" in refuse("sweep", "search=tpe", "search=random")


def test_nothing_is_written_when_arguments_are_refused(refuse: Refuse, tmp_path: Path) -> None:
    refuse("sweep", "n_trails=3")
    assert list(tmp_path.iterdir()) == []


def test_a_working_directory_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as leaving:
        command("config", "SweepConfig")(print)(["n_trials=200"])
    assert leaving.value.code == 1
    assert capsys.readouterr().err.startswith("error: the working directory is gone; ")


def test_db_words(run: Run) -> None:
    config = run("db", "init", "postgresql://me:p'q@host:5432/postgres?sslmode=require")
    assert (config.action, config.admin_url) == ("init", "postgresql://me:p'q@host:5432/postgres?sslmode=require")
    assert run("db", "url", "show_password=true").show_password
    assert run("db", "action=upgrade").action == "upgrade"


def test_db_without_action_is_refused(refuse: Refuse) -> None:
    assert "init ADMIN_URL" in refuse("db")


def test_commands_without_files_leave_none(run: Run, tmp_path: Path) -> None:
    for name, *arguments in (("download",), ("dashboard",), ("db", "url"), ("replay", "study=x", "trial=1")):
        run(name, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_run_directory_is_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[tuple[Path, Path]] = []
    body = command("config", "SweepConfig")(lambda config, directory: seen.append((directory, Path.cwd())))
    body([])
    body(["hydra.run.dir=here"])
    assert [folder.relative_to(tmp_path).parts[0] for folder, _ in seen] == ["outputs", "here"]
    assert [cwd for _, cwd in seen] == [tmp_path, tmp_path]
    saved = yaml.safe_load((tmp_path / "here" / ".hydra" / "config.yaml").read_text())
    assert saved["space"]["strategy.ma_window"] == "int(interval(10,250))"
    assert not list((tmp_path / "here").glob("*.log"))


def test_password_is_used_but_not_written(run: Run, tmp_path: Path) -> None:
    config = run("sweep", "db.password='s3cret, word'", "hydra.run.dir=here")
    assert config.db.password == "s3cret, word"
    written = [path.read_text() for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert written
    assert not any("s3cret" in text for text in written)
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    "given", [["db={password:s3cret,host:h}"], ["db={password:'s3cret, word',host:h}"], ["db=mine"]]
)
def test_password_of_a_group_is_used_but_not_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    (tmp_path / "own" / "db").mkdir(parents=True)
    (tmp_path / "own" / "db" / "mine.yaml").write_text("password: s3cret\n")
    arguments = ["sweep", "--config-dir", str(tmp_path / "own"), *given]
    assert run(*arguments, "hydra.run.dir=here").db.password.startswith("s3cret")
    written = [path.read_text() for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert any("***" in text for text in written)
    assert not any("s3cret" in text for text in written)
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700
    for part in ("job", "hydra", "all"):
        run(*arguments, "--cfg", part)
        assert "s3cret" not in capsys.readouterr().out


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


def test_missing_config_dir_is_refused(refuse: Refuse) -> None:
    assert "must be a directory" in refuse("sweep", "--config-dir", "nowhere")


@pytest.mark.parametrize("name", ["sweep", "backtest", "download", "replay", "report", "dashboard", "db"])
def test_help_names_the_command_and_its_flags(run: Run, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(name, "--help") is None
    text = capsys.readouterr().out
    assert text.startswith(f"python -m alphapulse.{name}")
    assert "--config-dir" in text


def test_cfg_shows_every_key(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "strategy.ma_window=7", "--cfg", "job", "search=random") is None
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["strategy"]["ma_window"] == 7
    assert shown["engine"]["stop"]["kind"] == "atr"
    assert shown["search"]["sampler"] == "random"
    assert shown["validation"]["thresholds"]["luck_p"] == 0.2
    assert "strategy.ma_window" not in shown["space"]


def test_version_ends_without_a_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download", "--version") is None
    assert capsys.readouterr().out == f"alphapulse {__version__}\n"


def test_assemble_reads_what_disassemble_writes(run: Run) -> None:
    config = run("sweep", "engine.stop.kind=atr,percent", "objective=[sharpe_ratio,max_drawdown]", "search=nsga2")
    assert assemble(SweepConfig, disassemble(config)) == config
    assert "db" not in disassemble(config)


def test_conditions_are_typed_as_they_read(run: Run) -> None:
    config = run("sweep", 'feasible=["n_trades >= 30", max_drawdown >= -0.25,min(cagr, exposure) > 1e-3]')
    assert config.feasible == ("n_trades >= 30", "max_drawdown >= -0.25", "min(cagr, exposure) > 1e-3")
    assert [condition.names for condition in config.conditions] == [
        ("n_trades",),
        ("max_drawdown",),
        ("cagr", "exposure"),
    ]
    assert assemble(SweepConfig, disassemble(config)) == config
    assert run("sweep", "feasible=n_trades>=30").feasible == ("n_trades>=30",)
    assert run("sweep", "feasible=[]").feasible == ()


def test_objectives_are_typed_as_they_read(run: Run) -> None:
    config = run("sweep", "objective=[sharpe_ratio - 2*abs(max_drawdown),volatility, my_module.score]", "search=nsga2")
    assert config.objective == ("sharpe_ratio - 2*abs(max_drawdown)", "volatility", "my_module.score")
    assert config.directions == ("maximize", "minimize", "maximize")
    assert run("sweep", "objective=-cagr / max(0.01, volatility)").objective == ("-cagr / max(0.01, volatility)",)


def test_choice_is_typed_as_it_reads(run: Run, refuse: Refuse) -> None:
    two = ("objective=[sharpe_ratio,max_drawdown]", "search=nsga2")
    assert run("sweep", *two).choose == "first"
    assert run("sweep", *two, "choose=sharpe_ratio - 2*abs(max_drawdown)").choose == (
        "sharpe_ratio - 2*abs(max_drawdown)"
    )
    assert run("sweep", *two, "choose=knee").choose == "knee"
    assert "did you mean 'knee'?" in refuse("sweep", *two, "choose=kne")
    assert "did you mean 'cagr'?" in refuse("sweep", *two, "choose=2*cagrr")
    assert "must be a number made of metrics" in refuse("sweep", *two, "choose=cagr > 1")


def test_timeout_is_a_length_of_time(run: Run) -> None:
    for text, seconds in {"90s": 90.0, "10m": 600.0, "1.5h": 5400.0, "1d": 86400.0, "45": 45.0}.items():
        assert run("sweep", f"timeout={text}").timeout_seconds == seconds
    assert math.isinf(run("sweep").timeout_seconds)


def test_natural_directions() -> None:
    minimised = {name for name in METRICS if SweepConfig(objective=(name,)).directions == ("minimize",)}
    assert minimised == {"volatility", "kurtosis", "turnover", "costs_paid"}
    assert SweepConfig(objective=("sharpe_ratio", "volatility")).directions == ("maximize", "minimize")


def _fail(error: BaseException) -> Callable[[Any], None]:
    def body(config: Any, directory: Path) -> None:
        raise error

    return body


def test_error_of_the_family_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        command("download", "DownloadConfig")(_fail(DataError("No bars\nfor 'X'.")))([])
    assert leaving.value.code == 1
    assert capsys.readouterr().err == "error: No bars for 'X'.\n"


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (KeyboardInterrupt(2), 130), (KeyboardInterrupt(15), 143)]
)
def test_interrupt_is_one_line(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        command("download", "DownloadConfig")(_fail(error))([])
    assert leaving.value.code == code
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault"), ValueError("a fault"), OSError("a fault")])
def test_fault_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(error), match="a fault"):
        command("download", "DownloadConfig")(_fail(error))([])
    assert capsys.readouterr().err == ""


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
