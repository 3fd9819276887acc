"""Whole sweeps as a user runs them: one process each, everything stored, seconds by phase and peak memory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

# A lattice of a million points; a search of fewer trials takes them in the grid's own order.
GRID = (
    "search=grid",
    "strategy.ma_window=range(10,110)",
    "strategy.rsi_window=range(5,15)",
    "strategy.rsi_oversold=range(15,40,2.5)",
    "strategy.rsi_overbought=range(60,85,2.5)",
    "engine.stop.multiplier=range(1,5,0.4)",
    "strategy.volatility_threshold=25",
    "strategy.high_volatility_scale=0.5",
    "strategy.reversion_weight=0.3",
)


@dataclass(frozen=True)
class SweepRun:
    """One sweep, measured from outside and by its own clock.

    Attributes
    ----------
    seconds : dict of str to float
        By phase, as the sweep reports them [s].
    wall : float
        From start to exit [s].
    driver_memory, worker_memory : int
        Peak resident memory of the driver and of the largest worker [bytes].
    n_trials : int
    best : float
        Objective of the best trial.
    """

    seconds: dict[str, float]
    wall: float
    driver_memory: int
    worker_memory: int
    n_trials: int
    best: float

    @property
    def rate(self) -> float:
        """Trials per second of the search, storing included."""
        return self.n_trials / self.seconds["search"]


def run_sweep(*overrides: str, environment: Mapping[str, str] | None = None) -> SweepRun:
    """Run `python -m alphapulse.sweep` with `overrides`, and variables beside ours, and return what it took."""
    command = [sys.executable, "-m", "alphapulse.sweep", "output=json", "quiet=true", *overrides]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    driver, worker = _watch(process)
    assert process.stdout is not None
    text = process.stdout.read()
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    document: dict[str, Any] = json.loads(text)
    return SweepRun(
        seconds=document["seconds"],
        wall=time.perf_counter() - start,
        driver_memory=driver,
        worker_memory=worker,
        n_trials=document["n_trials"],
        best=next(iter(document["best"][0]["values"].values())),
    )


def _watch(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Return the peak memory of a driver and of its largest Ray worker [bytes], sampled until it ends."""
    driver = psutil.Process(process.pid)
    peak_driver = peak_worker = 0
    while process.poll() is None:
        with suppress(psutil.Error):
            peak_driver = max(peak_driver, driver.memory_info().rss)
            for child in driver.children(recursive=True):
                if child.name().startswith("ray::"):
                    memory = child.memory_info()
                    # Pages of the object store are shared with the driver.
                    peak_worker = max(peak_worker, memory.rss - memory.shared)
        time.sleep(0.25)
    return peak_driver, peak_worker


def table_rows(sizes: Sequence[int], searches: Sequence[str]) -> list[tuple[str, SweepRun]]:
    """Run each search at each size and return what they took, by name."""
    rows = []
    for search in searches:
        for n_trials in sizes:
            overrides = GRID if search == "grid" else (f"search={search}",)
            rows.append((f"{search} {n_trials:,}", run_sweep(f"n_trials={n_trials}", *overrides)))
    return rows
