"""What the values of a command are read as."""

import math
from collections.abc import Callable
from typing import Any

from alphapulse.backtesting.metrics import METRICS
from alphapulse.config.assembly import assemble, disassemble
from alphapulse.config.schema import SweepConfig

Run = Callable[..., Any]
Refuse = Callable[..., str]


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
