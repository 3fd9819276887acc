"""Memory and time of a sweep over two million minute bars: `python -m benchmarks.long_histories`.

First what the driver does before the first trial, but for starting Ray: loading, the checks of quality, the gate,
compiling, and what Ray would put into its object store; imports and what is compiled come first, by the same on a short
history. Then a whole sweep on one worker from the bars to the report, beside the same on a short history: 8 trials, the
hold-out's surrogates, without null sweeps.
"""

import pickle
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import sqlalchemy
from rich.console import Console

from alphapulse.commands.sweep import run_study
from alphapulse.config.groups import DataConfig, ValidationConfig
from alphapulse.config.machines.cluster import ClusterConfig
from alphapulse.config.schema import SweepConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.sweep.inputs import StudyInputs, compile_for, load_inputs, pass_gate
from alphapulse.sweep.opening import make_study_sampler
from alphapulse.sweep.workers.cluster import Cluster
from benchmarks.loading import SYMBOL, make_bars, measure


@dataclass(frozen=True)
class LongHistory:
    """What `n_rows` bars took before the first trial.

    Attributes
    ----------
    n_rows : int
    array_bytes : int
        Of the arrays of the market that the search sees and the hold-out [bytes].
    memory : float
        Peak resident memory above that after the imports, in multiples of the arrays [1].
    gate_cpu : float
        Processor time of the gate [s].
    driver_memory, worker_memory : float
        Peaks over a whole sweep above those over one of a short history, in multiples of the arrays [1].
    seconds : mapping of str to float
        What the phases of the sweep took [s].
    """

    n_rows: int
    array_bytes: int
    memory: float
    gate_cpu: float
    driver_memory: float
    worker_memory: float
    seconds: Mapping[str, float]


def _prepare(config: SweepConfig, database: Database) -> tuple[StudyInputs, float]:
    """Do what a driver does before its first trial; return processor time of the gate [s] too."""
    inputs = load_inputs(config, database)
    before = time.process_time()
    inputs = pass_gate(inputs, config)
    gate = time.process_time() - before
    compile_for(inputs, make_study_sampler(config))
    pickle.dumps(inputs.market, protocol=5, buffer_callback=lambda buffer: False)
    return inputs, gate


def _sweep(config: SweepConfig, name: str) -> tuple[int, int, Mapping[str, float]]:
    """Run a whole sweep; return the peaks of resident memory of driver and worker [bytes], and its seconds."""
    config = replace(config, study=name, n_trials=8, cluster=ClusterConfig(num_cpus=1, dashboard=False))
    driver, done, peaks = psutil.Process(), threading.Event(), {True: 0, False: 0}

    def watch() -> None:
        while not done.wait(0.05):
            for process in (driver, *driver.children(recursive=True)):
                try:
                    is_driver = process == driver
                    if is_driver or process.cmdline()[0].startswith("ray::"):
                        peaks[is_driver] = max(peaks[is_driver], process.memory_info().rss)
                except (psutil.Error, IndexError):
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            console = Console(stderr=True, highlight=False)
            summary = run_study(lambda: Cluster.of(config.cluster, name), config, console, Path(folder))
    finally:
        done.set()
        watcher.join()
    return peaks[True], peaks[False], summary.seconds


def run(n_rows: int = 2_100_000, database: Database | None = None) -> LongHistory:
    """Store `n_rows` minute bars, make ready for a sweep over them, and remove them."""
    database = database if database is not None else open_database()
    data = DataConfig(source="database", symbols=(SYMBOL,), timeframe="1m", volatility_symbol=None)
    config = SweepConfig(
        study="benchmark",
        data=data,
        strategy={"_target_": "long_short", "volatility_source": "realized"},
        space=SearchSpace((IntDimension("strategy.ma_window", 10, 250), IntDimension("strategy.rsi_window", 5, 30))),
        validation=ValidationConfig(null_sweeps=0),
    )
    found: list[tuple[StudyInputs, float]] = []
    try:
        write_bars(database, [make_bars(n_rows)])
        short = replace(config, data=replace(data, start="2010-01-04", end="2010-01-20"))
        _prepare(short, database)
        memory = measure(lambda: found.append(_prepare(config, database)))[1]
        inputs, gate = found.pop()
        bars = (inputs.holdout or inputs.market).bars
        names = ("timestamp", "open", "high", "low", "close", "volume", "volatility")
        size = sum(getattr(bars, name).nbytes for name in names)
        del inputs, bars
        stamp = f"benchmark {time.time_ns()}"
        short_peaks = _sweep(short, f"{stamp} short")
        driver, worker, seconds = _sweep(config, stamp)
    finally:
        with database.sync_engine.begin() as connection:
            connection.execute(sqlalchemy.text("DELETE FROM ohlcv_data WHERE symbol = :symbol"), {"symbol": SYMBOL})
    above = ((driver - short_peaks[0]) / size, (worker - short_peaks[1]) / size)
    return LongHistory(n_rows, size, memory / size, gate, *above, seconds)


def main() -> None:
    result = run()
    print(f"{result.n_rows:,} bars, {result.array_bytes / 2**20:.0f} MiB as arrays")
    print(f"driver before the first trial: peak {result.memory:.2f} x the arrays above the imports")
    print(f"look-ahead gate: {result.gate_cpu:.1f} s of processor time")
    peaks = f"driver {result.driver_memory:.2f}, worker {result.worker_memory:.2f}"
    print(f"a whole sweep: peak {peaks} x the arrays above a short one")
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items()))


if __name__ == "__main__":
    main()
