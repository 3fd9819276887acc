"""Seconds from Enter to the best trial: the same crossing of two averages over the same bars, a script a tool.

Each script is what a user of that tool writes first, in a process of its own, imports and all; the searches are random.
Nobody waits for a verdict, which alphapulse alone has, and alphapulse alone stores its trials.
"""

import functools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alphapulse.data_pipeline.providers.sample_provider import SampleProvider

SYMBOL = "SAMPLE_SP500"
FAST, SLOW = (5, 60), (61, 300)

BACKTESTING = """
import sys
import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover

bars = pd.read_csv(sys.argv[1], index_col=0, parse_dates=True)

def average(values, n):
    return pd.Series(values).rolling(n).mean()

class Cross(Strategy):
    fast, slow = 20, 100
    def init(self):
        self.a = self.I(average, self.data.Close, self.fast)
        self.b = self.I(average, self.data.Close, self.slow)
    def next(self):
        if crossover(self.a, self.b):
            self.position.close()
            self.buy()
        elif crossover(self.b, self.a):
            self.position.close()
            self.sell()

if __name__ == "__main__":
    test = Backtest(bars, Cross, cash=1e7, commission=0.0015)
    best = test.optimize(fast=range({fast}), slow=range({slow}), maximize="Sharpe Ratio", max_tries={n}, random_state=0)
    print("best", best["Sharpe Ratio"])
"""

# One vectorised backtest in pandas, costs on what is traded: the fastest that is written by hand.
OPTUNA = """
import sys
import numpy as np, optuna, pandas as pd

bars = pd.read_csv(sys.argv[1], index_col=0, parse_dates=True)
moves = bars["Open"].pct_change().shift(-2)
optuna.logging.set_verbosity(optuna.logging.ERROR)

def objective(trial):
    fast, slow = trial.suggest_int("fast", {fast}), trial.suggest_int("slow", {slow})
    held = np.sign(bars["Close"].rolling(fast).mean() - bars["Close"].rolling(slow).mean()).fillna(0.0)
    returns = held * moves - held.diff().abs() * 0.0015
    return returns.mean() / returns.std() * np.sqrt(252)

study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
study.optimize(objective, n_trials={n})
print("best", study.best_value)
"""


@dataclass(frozen=True)
class Wait:
    """What a user waits for.

    Attributes
    ----------
    tool : str
    n_trials : int
    seconds : float
        From Enter to the best value, the shortest of some runs [s].
    """

    tool: str
    n_trials: int
    seconds: float


def write_bars(folder: Path) -> Path:
    """Write the bars of the sample as the other tools read them."""
    (fetched,) = SampleProvider().fetch([SYMBOL], ["1d"], None, None)
    named = fetched.bars.set_index("timestamp").rename(columns=str.capitalize)
    path = folder / "bars.csv"
    named.tz_localize(None)[["Open", "High", "Low", "Close", "Volume"]].to_csv(path)
    return path


def wait_for(script: str, bars: Path, n_trials: int, *, leaves_end_out: bool) -> float:
    """Run a script to the line with its best value; return the time that it took [s]."""
    ranges = {name: f"{low}, {high + leaves_end_out}" for name, (low, high) in (("fast", FAST), ("slow", SLOW))}
    file = bars.with_name("script.py")
    file.write_text(re.sub(r"\{(fast|slow|n)\}", lambda m: (ranges | {"n": str(n_trials)})[m[1]], script))
    start = time.perf_counter()
    done = subprocess.run([sys.executable, file, bars], capture_output=True, text=True)
    assert "best" in done.stdout, done.stderr
    return time.perf_counter() - start


def wait_for_us(n_trials: int) -> float:
    """Return the seconds from Enter to the best of the same search here, Ray's start and PostgreSQL included."""
    space = [f"strategy.{name}=int(interval({low},{high}))" for name, (low, high) in (("fast", FAST), ("slow", SLOW))]
    command = [sys.executable, "-m", "alphapulse.sweep", "strategy=sma_cross", "sweeps=none", "search=random", *space]
    options = [f"n_trials={n_trials}", "validation.null_sweeps=0", "output=json", "quiet=true", "optuna.mirror_limit=0"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["seconds"]["to_best"])


def run(n_repetitions: int = 3) -> list[Wait]:
    """Return how long each tool is waited for, the tools in turn."""
    with tempfile.TemporaryDirectory() as folder:
        bars = write_bars(Path(folder))
        tools: dict[tuple[str, int], Callable[[], float]] = {
            (name, n): functools.partial(wait, n)
            for n in (1_000, 10_000)
            for name, wait in {
                "alphapulse": wait_for_us,
                "Optuna, a backtest in pandas": lambda n: wait_for(OPTUNA, bars, n, leaves_end_out=False),
                "backtesting.py, optimize": lambda n: wait_for(BACKTESTING, bars, n, leaves_end_out=True),
            }.items()
            # Ten times as many take it ten times as long.
            if n == 1_000 or not name.startswith("backtesting")
        }
        wait_for_us(100)
        times = [{tool: wait() for tool, wait in tools.items()} for _ in range(n_repetitions)]
    return [Wait(name, n, min(one[name, n] for one in times)) for name, n in tools]
