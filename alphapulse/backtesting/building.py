"""The engine's machine code: loaded, or compiled once a machine by a process beside this one."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import alphapulse
from alphapulse.backtesting.batch import EngineColumns, simulate_batch
from alphapulse.backtesting.kernel.loop import run_tile
from alphapulse.backtesting.params import EngineParams
from alphapulse.compiling import is_on_disk
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.typing import Float64Array2D, Int64Array1D

DAY = 86_400 * 10**9
N_BARS = 8


class _NoTargets:
    """Two trials that hold nothing: a `TargetBlock`."""

    failures: Mapping[int, str] = {}

    def __init__(self, n_bars: int) -> None:
        self.order: Int64Array1D = np.arange(2)
        self.atr: Float64Array2D = np.full((1, n_bars), np.nan)
        self.atr_row: Int64Array1D = np.zeros(2, dtype=np.int64)

    def fill(self, start: int, stop: int, trials: Int64Array1D, out: Float64Array2D) -> None:
        """Write no target."""
        out[:] = 0.0


class EngineBuild:
    """The engine being compiled beside this process; nothing where its machine code is on disk."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if not is_on_disk(run_tile):
            # A child finds the package where this process has it, whatever its own path.
            root = str(Path(alphapulse.__file__).parents[1])
            code = f"import sys; sys.path.insert(0, {root!r}); from {__name__} import compile_engine; compile_engine()"
            silent = subprocess.DEVNULL
            self._process = subprocess.Popen([sys.executable, "-c", code], stdin=silent, stdout=silent, stderr=silent)

    def wait(self) -> None:
        """Wait for it; where it failed, whoever needs the engine compiles it and hears why."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """End it where it is still at work."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def load_engine(market: Market, engine: EngineParams) -> None:
    """Load the compiled engine, or compile it."""
    simulate_batch(market, _NoTargets(len(market.bars)), EngineColumns.build(engine, {}, 2))


def compile_engine() -> None:
    """Compile the engine as the market of any study runs it."""
    level, day = np.linspace(100.0, 101.0, N_BARS), np.arange(N_BARS, dtype=np.int64) * DAY
    for column in (level, day):
        column.flags.writeable = False
    bars = Bars("", "1d", day, level, level, level, level, level, level)
    load_engine(Market.of(bars, 1, ""), EngineParams())
