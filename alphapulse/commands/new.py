"""A strategy, what to search of it, and its test, to start from: `python -m alphapulse.new`."""

import keyword
from pathlib import Path
from string import Template

from alphapulse.config.schema import NewConfig
from alphapulse.errors import ConfigError
from alphapulse.reports.formatting import print_json

STRATEGY = '''"""Hold what has risen, stay out when the market is nervous: change it into an idea of your own."""

from dataclasses import dataclass

import numpy as np

from alphapulse.strategies.base import Bars, Strategy
from alphapulse.strategies.indicators import realized_volatility, sma


@dataclass(frozen=True)
class $class_name(Strategy):
    """Each field is a parameter with its default; a name that ends in window counts as warm-up."""

    window: int = 100
    volatility_window: int = 20
    calm: float = 25.0

    def indicators(self, bars: Bars) -> dict[str, np.ndarray]:
        """Return what decisions are made of, one number a bar, from that bar and earlier ones; NaN is unknown."""
        return {
            "average": bars.indicator(sma, "close", self.window),
            "volatility": bars.indicator(realized_volatility, "close", self.volatility_window, bars.periods_per_year),
        }

    def target(self, bars: Bars) -> np.ndarray:
        """Return the part of the equity to hold after each close: 1 is all of it, -1 short all of it, 0 nothing.

        It must never be NaN: comparisons with NaN are false, so that what is unknown holds nothing here.
        """
        known = self.indicators(bars)
        is_up = bars.close > known["average"]
        is_calm = known["volatility"] < self.calm
        return np.where(is_up & is_calm, 1.0, 0.0)
'''

EXPERIMENT = """# python -m alphapulse.sweep sweeps=$name.yaml
overrides:
  - data=sample  # your own bars: data=csv data.path=FILE.csv, or data=database data.symbols=[SYMBOL] after a download
  - engine.execution=next_close  # most opens of the sample are the close before; leave this out where yours are prices
  - strategy._target_=$name.$class_name
space:
  strategy.window: int(interval(20,250))
  strategy.calm: interval(10,60)
"""

TEST = '''"""What $class_name decides, on bars that are made up."""

import numpy as np
from $name import $class_name

from alphapulse.backtesting.signal_processor import generate_target_allocation


def rising(n=300):
    import pandas as pd

    close = 100 * np.exp(0.001 * np.arange(n) + 0.0005 * np.sin(np.arange(n)))
    index = pd.date_range("2020-01-01", periods=n, tz="UTC")
    return pd.DataFrame({"open": close, "high": close, "low": close, "close": close}, index=index)


def test_${name}_holds_what_rises():
    target = generate_target_allocation({"A": rising()}, $class_name(window=50))
    assert target.iloc[:40].eq(0).all()
    assert target.iloc[-100:].eq(1).all()


def test_${name}_does_not_see_the_future():
    bars = rising()
    whole = generate_target_allocation({"A": bars}, $class_name())
    part = generate_target_allocation({"A": bars.iloc[:200]}, $class_name())
    assert whole.iloc[:200].tolist() == part.tolist()
'''


def run_new(config: NewConfig, folder: Path | None = None) -> None:
    """Write the three files into `folder`, by default the working directory.

    Raises
    ------
    ConfigError
        If the name is none for a module, or one of the files is there.
    """
    name = str(config.name)
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise ConfigError(f"`name` must be one of a Python module, such as my_idea, but got {name!r}")
    names = {"name": name, "class_name": "".join(part.capitalize() for part in name.split("_"))}
    files = {f"{name}.py": STRATEGY, f"{name}.yaml": EXPERIMENT, f"test_{name}.py": TEST}
    folder = folder or Path.cwd()
    for file in files:
        if (folder / file).exists():
            raise ConfigError(f"{file} is there already; choose another name")
    try:
        for file, text in files.items():
            (folder / file).write_text(Template(text).substitute(names), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} must be writable, but {error.strerror}") from error
    if config.output == "json":
        print_json({"files": list(files)})
        return
    print(f"Wrote {', '.join(files)}. Next:")
    print(f"  python -m alphapulse.backtest sweeps={name}.yaml")
    print(f"  python -m alphapulse.sweep sweeps={name}.yaml")
    print(f"  python -m alphapulse.sweep sweeps={name}.yaml data=csv data.path=FILE.csv   # on bars of your own")
