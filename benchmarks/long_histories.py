"""Memory of the driver and the look-ahead gate over two million minute bars: `python -m benchmarks.long_histories`.

What is measured is all that the driver does before the first trial, but for starting Ray: loading, the checks of
quality, the gate, compiling, and what Ray would put into its object store. Imports and what is compiled come first, by
the same on a short history.
"""

import pickle
import time
from dataclasses import dataclass, replace

import sqlalchemy

from alphapulse.config.groups import DataConfig, ValidationConfig
from alphapulse.config.schema import SweepConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.sweep.inputs import StudyInputs, compile_for, load_inputs, pass_gate
from alphapulse.sweep.opening import make_study_sampler
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
    """

    n_rows: int
    array_bytes: int
    memory: float
    gate_cpu: float


def _prepare(config: SweepConfig, database: Database) -> tuple[StudyInputs, float]:
    """Do what a driver does before its first trial; return processor time of the gate [s] too."""
    inputs = load_inputs(config, database)
    before = time.process_time()
    inputs = pass_gate(inputs, config)
    gate = time.process_time() - before
    compile_for(inputs, make_study_sampler(config))
    pickle.dumps(inputs.market, protocol=5, buffer_callback=lambda buffer: False)
    return inputs, gate


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
    finally:
        with database.sync_engine.begin() as connection:
            connection.execute(sqlalchemy.text("DELETE FROM ohlcv_data WHERE symbol = :symbol"), {"symbol": SYMBOL})
    inputs, gate = found[0]
    bars = (inputs.holdout or inputs.market).bars
    names = ("timestamp", "open", "high", "low", "close", "volume", "volatility")
    size = sum(getattr(bars, name).nbytes for name in names)
    return LongHistory(n_rows, size, memory / size, gate)


def main() -> None:
    result = run()
    print(f"{result.n_rows:,} bars, {result.array_bytes / 2**20:.0f} MiB as arrays")
    print(f"driver before the first trial: peak {result.memory:.2f} x the arrays above the imports")
    print(f"look-ahead gate: {result.gate_cpu:.1f} s of processor time")


if __name__ == "__main__":
    main()
