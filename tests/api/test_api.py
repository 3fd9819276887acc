"""Sweeps, backtests and stored studies from Python, with strategies of cells, functions and scripts."""

import doctest
import linecache
import subprocess
import sys
import types
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from random_bars import random_bars

import alphapulse as ap
from alphapulse.api.bars import bar_table
from alphapulse.api.cells import target_of
from alphapulse.api.sweeps import _dimension
from alphapulse.commands.backtest import run_backtest as run_command
from alphapulse.config.assembly import find_strategy
from alphapulse.config.groups import ValidationConfig
from alphapulse.config.schema import BacktestConfig
from alphapulse.errors import ConfigError, DataError, StrategyError
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension

FEW = {"null_sweeps": 3, "n_bootstrap": 50, "walk_forward": {"train_blocks": 20, "test_blocks": 5}, "pbo_blocks": 8}
FACTOR = 2.0


def scaled(values, factor):
    return np.clip(values * factor, -1.0, 1.0)


def make_strategy(threshold, levels):
    """Return a strategy as a cell of a notebook would have it: of nobody's module, with what it has captured."""

    @dataclass(frozen=True)
    class Momentum:
        window: int = 20
        size: float = 0.5

        def target(self, bars):
            past = np.full(len(bars), np.nan)
            past[self.window :] = bars.close[: -self.window]
            rise = bars.close / past - 1.0
            return np.nan_to_num(scaled(np.where(rise > threshold + levels[0], self.size, 0.0), FACTOR))

    return Momentum


@pytest.fixture
def frame():
    """Return five years of daily bars as people have them: dates as index, names in capitals."""
    bars = random_bars()
    index = pd.DatetimeIndex(pd.bdate_range("2015-01-01", periods=len(bars)), name="Date")
    return pd.DataFrame({n.capitalize(): getattr(bars, n) for n in ("open", "high", "low", "close")}, index=index)


def test_strategy_of_a_cell_is_a_module_with_all_that_it_names():
    made = make_strategy(0.01, np.array([0.0, np.inf]))
    target = target_of(made)
    definition = find_strategy(target, None)
    bars = random_bars()
    assert definition.build({"window": 5}).target(bars).tolist() == made(window=5).target(bars).tolist()
    assert target_of(make_strategy(0.01, np.array([0.0, np.inf]))) == target
    assert target_of(make_strategy(0.02, np.array([0.0, np.inf]))) != target
    assert target_of("sma_cross") == "sma_cross"
    assert target_of(import_module("alphapulse.strategies.sma_cross").SmaCross).endswith("sma_cross.SmaCross")


CELL = """
least = 0.25

def above(values):
    return values > least

@dataclass(frozen=True)
class Above:
    size: float = 1.0

    def target(self, bars):
        return np.where(above(bars.close), self.size, 0.0)
"""


def test_class_of_a_notebook_is_found_in_its_cell(monkeypatch):
    """A notebook's module has no file, and its frame is called as the argument of every strategy is."""
    notebook = types.ModuleType("notebook_of_this_test")
    monkeypatch.setitem(sys.modules, notebook.__name__, notebook)
    vars(notebook).update(np=np, dataclass=dataclass, bars=pd.DataFrame({"close": [1.0]}))
    lines = CELL.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, "/tmp/cell_7.py", (len(CELL), None, lines, "/tmp/cell_7.py"))
    exec(compile(CELL, "/tmp/cell_7.py", "exec"), vars(notebook))
    definition = find_strategy(target_of(notebook.Above), None)
    bars = random_bars()
    assert definition.build({"size": 0.5}).target(bars).tolist() == np.where(bars.close > 0.25, 0.5, 0.0).tolist()


def test_what_cannot_be_written_down_is_refused():
    handle = object()

    def strategy(close, window=5):
        return np.zeros(len(close)) if handle else close

    with pytest.raises(StrategyError, match="strategy uses handle, a object, which cannot be written down"):
        target_of(strategy)
    with pytest.raises(StrategyError, match="must be a class, a function or a dotted path, but got a int"):
        target_of(7)
    with pytest.raises(StrategyError, match=r"gone was defined in a notebook or a script whose source is not in"):
        find_strategy("cell_0123456789abcdef.gone", None)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("a", (5, 50), IntDimension("strategy.a", 5, 50)),
        ("a", (5, 50.0), FloatDimension("strategy.a", 5.0, 50.0)),
        ("engine.stop.multiplier", (1.0, 5.0), FloatDimension("engine.stop.multiplier", 1.0, 5.0)),
        ("kind", ["a", None], CategoricalDimension("strategy.kind", ("a", None))),
        ("step", range(5, 55, 5), IntDimension("strategy.step", 5, 50, 5)),
    ],
)
def test_space_as_python_writes_it(name, values, expected):
    assert _dimension(name, values) == expected


@pytest.mark.parametrize("values", [(5, 1), (1, 2, 3), [], 7, range(3, 3), (True, False)])
def test_space_that_is_none_is_refused(values):
    with pytest.raises(ConfigError, match=r"`strategy\.a` must"):
        _dimension("a", values)


def test_frames_are_read_as_people_have_them(frame):
    table = bar_table(frame)
    assert table["timestamp"].iloc[0] == pd.Timestamp("2015-01-01", tz="UTC")
    assert bar_table(frame.reset_index())["close"].tolist() == table["close"].tolist()
    with pytest.raises(DataError, match="but high are missing"):
        bar_table(frame.drop(columns="High"))
    with pytest.raises(DataError, match="start of each as their index or in a column"):
        bar_table(frame.reset_index(drop=True))


@pytest.mark.postgres
def test_backtest_of_a_frame(frame, database, tmp_path):
    backtest = ap.run_backtest(make_strategy(0.0, (0.0,)), frame, symbol="MINE", window=10)
    assert len(backtest.equity) == len(frame) - 10
    assert backtest.metrics["n_trades"] > 10
    assert [trace.name for trace in backtest.plot().data] == ["Momentum", "buy and hold"]
    assert "Sharpe" not in repr(backtest)
    assert "<table>" in backtest._repr_html_()
    path = tmp_path / "mine.csv"
    frame.to_csv(path)
    again = ap.run_backtest(make_strategy(0.0, (0.0,)), path, window=10)
    assert again.metrics == backtest.metrics
    assert ap.run_backtest(make_strategy(0.0, (0.0,)), "MINE", window=10).metrics == backtest.metrics
    changed = frame.assign(High=frame["High"] * 1.01)
    assert ap.run_backtest("breakout", changed, symbol="MINE").market.bars.high[0] == changed["High"].iloc[0]
    with pytest.raises(DataError, match="1 rows of 'BAD' cannot be bars"):
        ap.run_backtest("sma_cross", frame.assign(Low=[-1.0, *frame["Low"][1:]]), symbol="BAD")


@pytest.mark.ray
@pytest.mark.postgres
def test_sweep_of_a_cells_strategy_is_the_commands_study(ray_cluster, frame, database, tmp_path, capsys):
    space = {"window": (5, 60), "size": (0.1, 0.5)}
    made = make_strategy(0.0, (0.0,))
    study = ap.run_sweep(made, frame, space=space, n_trials=40, symbol="MINE", study="mine", quiet=True, validation=FEW)
    assert (study.n_trials, study.status) == (40, "COMPLETE")
    assert study.verdict.word in ("SURVIVES", "INCONCLUSIVE", "LIKELY LUCK")
    assert study.verdict.sentence in study.verdict._repr_html_()
    assert len(study.trials) == 40
    assert study.trials["value"].max() == study.best.values["sharpe_ratio"]
    assert (study.find_trials("window > 30", top=3)["strategy.window"] > 30).all()
    again = study.backtest(study.best.number)
    assert again.metrics["sharpe_ratio"] == study.best.metrics["sharpe_ratio"]
    assert study.plot_heatmap("window", "strategy.size").data[0].type == "heatmap"
    with pytest.raises(ConfigError, match="did you mean 'window'"):
        study.plot_heatmap("windo", "size")
    assert len(study.plot().data) >= 2
    assert study.report(tmp_path / "r.html").stat().st_size > 1_000_000
    assert len(study.optuna.trials) == 40
    assert study.name in study._repr_html_()
    assert repr(study.best).startswith(f"<trial {study.best.number}: sharpe_ratio ")
    assert "n_trades" in study.best._repr_html_()
    assert ap.list_studies()["study"].tolist() == ["mine"]
    more = ap.run_sweep(made, "MINE", space=space, n_trials=60, study="mine", quiet=True, validation=FEW)
    assert more.n_trials == ap.load_study("mine").n_trials == 60
    whole = ValidationConfig(lookahead="off")
    run_command(BacktestConfig(study="mine", trial="best", output="json", quiet=True, validation=whole), tmp_path)
    assert '"trial": ' in capsys.readouterr().out


SCRIPT = """
import numpy as np
import alphapulse as ap

LEVEL = 0.02


def rising(close, window: int = 10):
    past = np.r_[np.full(window, np.nan), close[:-window]]
    return np.nan_to_num((close / past - 1.0 > LEVEL).astype(float))


if __name__ == "__main__":
    print(ap.run_backtest(rising, window=20).metrics["n_trades"])
    study = ap.run_sweep(rising, space={"window": (5, 50)}, n_trials=20, study="script", quiet=True,
                         validation={"null_sweeps": 1, "n_bootstrap": 20}, cluster={"num_cpus": 1, "dashboard": False})
    print(study.n_trials)
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.postgres
def test_strategy_of_a_script_reaches_the_workers(environment, database, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "20"


@pytest.mark.ray
@pytest.mark.postgres
@pytest.mark.parametrize("module", ["backtests", "sweeps"])
def test_examples(ray_cluster, database, module):
    outcome = doctest.testmod(import_module(f"alphapulse.api.{module}"))
    assert (outcome.failed, outcome.attempted > 0) == (0, True)
