"""Machine code that is compiled once a machine, by processes beside this one."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

import alphapulse
from alphapulse.backtesting.account.batch import simulate_account
from alphapulse.backtesting.batch import EngineColumns, simulate_batch
from alphapulse.backtesting.kernel.loop import run_tile
from alphapulse.backtesting.params import EngineParams
from alphapulse.compiling import is_on_disk
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.search.choosing import make_sampler, rehearse
from alphapulse.search.dimensions import FloatDimension
from alphapulse.search.space import SearchSpace
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


class _NoAccountTargets:
    """One trial that holds nothing: `AccountTargets`."""

    failures: Mapping[int, str] = {}

    def __init__(self, market: Market) -> None:
        self._nothing: Float64Array2D = np.zeros((len(market.bars), len(market.bars.symbols)))

    def groups(self) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield the trial."""
        yield np.zeros(1, dtype=np.int64), self._nothing, self._nothing


class Build:
    """The machine code of a first sweep on a machine, made by processes beside this one; nothing where it is on disk.

    One compiles the engine and then surrogate markets, which wait for nobody: they are needed after the search. The
    other compiles a sampler.

    Parameters
    ----------
    sampler : str
        Name of the sampler.
    n_objectives : int
    """

    def __init__(self, sampler: str, n_objectives: int = 1) -> None:
        self.is_needed = not is_on_disk(run_tile)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        if self.is_needed:
            self._processes["engine"] = _start("compile_engine_and_surrogates")
            self._processes["sampler"] = _start("compile_sampler", sampler, n_objectives)

    def wait(self, part: Literal["engine", "sampler"]) -> None:
        """Wait for a part; where it failed, whoever needs it compiles it and hears why."""
        if part in self._processes:
            out = self._processes[part].stdout
            assert out is not None
            out.readline()

    def stop(self) -> None:
        """End what is still at work."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def _start(function: str, *arguments: Any) -> "subprocess.Popen[bytes]":
    # A child finds the package where this process has it, whatever its own path.
    root = str(Path(alphapulse.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {root!r}); from {__name__} import {function}; {function}(*{arguments!r})"
    silent = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-c", code], stdin=silent, stdout=subprocess.PIPE, stderr=silent)


def load_engine(market: Market, engine: EngineParams) -> None:
    """Load the compiled engine, or compile it."""
    if market.is_account:
        simulate_account(market, _NoAccountTargets(market), EngineColumns.build(engine))
    else:
        simulate_batch(market, _NoTargets(len(market.bars)), EngineColumns.build(engine, {}, 2))


def compile_engine() -> None:
    """Compile the engine as the market of any study runs it."""
    load_engine(_market(), EngineParams())


def compile_engine_and_surrogates() -> None:
    """Compile the engine, end a line on stdout, and compile surrogate markets."""
    compile_engine()
    print(flush=True)
    surrogate_market(_market(), 0)


def compile_sampler(name: str, n_objectives: int) -> None:
    """Compile what a sampler runs; that takes arrays, so it is the same for any space."""
    space = SearchSpace((FloatDimension("a", 0.0, 1.0), FloatDimension("b", 0.0, 1.0)))
    rehearse(make_sampler(name, space, seed=0, n_objectives=n_objectives, directions=("maximize",) * n_objectives))


def _market() -> Market:
    level, day = np.linspace(100.0, 101.0, N_BARS), np.arange(N_BARS, dtype=np.int64) * DAY
    for column in (level, day):
        column.flags.writeable = False
    return Market.of(Bars("", "1d", day, level, level, level, level, level, level), 1, "")
