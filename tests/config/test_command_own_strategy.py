"""A strategy of the working directory on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
