"""The README's figures of speed and memory: `python -m benchmarks`, or `python -m benchmarks --only sweeps rivals`.

The other tools come with `pip install -e '.[test,benchmarks]'`. Figures of search quality come from
`python -m benchmarks.search_quality`.

Ratios are between things measured in the same run; absolute times are this machine's. The whole takes about 25 minutes
on two cores with --sizes up to 1000000, about eight with the default.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import first_best, kernel, loading, rivals, scale, scheduling, starting, storing, sweeps

SECTIONS = ("kernel", "sweeps", "scaling", "rivals", "storing", "loading", "starting", "enter", "first", "scale")
PHASES = ("ray", "load", "compile", "search", "verdict", "mirror", "tear_sheet", "total")
ENTER = (
    "to_ray",
    "gate",
    "compile",
    "ray",
    "to_first_trial",
    "to_best",
    "to_verdict",
    "files",
    "report",
    "mirror",
    "total",
)
SEARCHES = ("random", "tpe", "grid")
TPE_LIMIT = 10_000


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    return table


def _sweep_table(title: str, rows: list[tuple[str, sweeps.SweepRun]]) -> Table:
    table = _table(title, "trials", "trials/s", *PHASES, "evaluate", "store", "driver MB", "worker MB")
    for name, run in rows:
        table.add_row(
            name,
            f"{run.rate:,.0f}",
            *(f"{run.seconds.get(phase, 0.0):.1f}" for phase in PHASES),
            *(f"{run.seconds.get(phase, float('nan')):.1f}" for phase in ("evaluate", "store")),
            f"{run.driver_memory / 2**20:,.0f}",
            f"{run.worker_memory / 2**20:,.0f}",
        )
    return table


def run_sweeps(console: Console, sizes: list[int]) -> None:
    """Whole sweeps: random, TPE and grid, everything stored."""
    sweeps.run_sweep("search=random", "n_trials=100")
    rows = []
    for search in SEARCHES:
        rows += sweeps.table_rows([n for n in sizes if search != "tpe" or n <= TPE_LIMIT], [search])
    console.print(_sweep_table("Sweeps, everything stored: seconds by phase", rows))


def run_scaling(console: Console, sizes: list[int]) -> None:
    """The same random sweep on one and on two CPUs."""
    n_trials = min(100_000, max(sizes))
    rows = [
        (f"{cpus} CPU", sweeps.run_sweep("search=random", f"n_trials={n_trials}", f"cluster.num_cpus={cpus}"))
        for cpus in (1, 2)
    ]
    console.print(_sweep_table(f"Scaling: {n_trials:,} random trials", rows))


def run_rivals(console: Console, sizes: list[int]) -> None:
    """The same work in other tools, and in a sweep of ours, one after the other."""
    work = rivals.default_work()
    distributions = work.space.distributions()
    rng = np.random.default_rng(0)
    trials = [work.draw(rng) for _ in range(256)]
    ours = sweeps.run_sweep("search=random", "n_trials=100000").rate
    measured: dict[str, Callable[[], float]] = {
        "Optuna, RDBStorage on PostgreSQL, 2 processes": lambda: rivals.optuna_rdb(
            work.optuna_url, distributions, work.make_objective, n_trials=200
        ),
        "Ray Tune, OptunaSearch": lambda: rivals.ray_tune(
            distributions, work.make_objective, n_trials=40, folder=tempfile.mkdtemp()
        ),
        "vectorbt, one by one": lambda: rivals.vectorbt(work.bars, trials[:30], n_columns=1),
        "vectorbt, 256 columns": lambda: rivals.vectorbt(work.bars, trials, n_columns=256),
        "backtesting.py": lambda: rivals.backtesting_py(work.bars, trials[:8]),
    }
    table = _table("The same backtests elsewhere", "tool", "trials/s", "alphapulse is faster by")
    for name, measure in measured.items():
        rate = measure()
        table.add_row(name, f"{rate:,.1f}", f"{ours / rate:,.0f} x")
    table.add_row("alphapulse, random search, everything stored", f"{ours:,.0f}", "")
    console.print(table)


def run_storing(console: Console, sizes: list[int]) -> None:
    """Rows a second into our tables and into Optuna's."""
    result = storing.run()
    table = _table("Storing", "way", "rows/s")
    table.add_row("binary COPY of whole generations", f"{result.stored:,.0f}")
    table.add_row("copy in Optuna's tables, set-based SQL", f"{result.mirrored:,.0f}")
    table.add_row("Optuna's study.add_trials", f"{result.add_trials:,.0f}")
    console.print(table)


def run_loading(console: Console, sizes: list[int]) -> None:
    """Bars out of the database beside pandas."""
    result = loading.run()
    table = _table(f"Loading {result.n_rows:,} bars", "way", "rows/s", "peak memory / arrays")
    table.add_row("binary COPY into arrays", f"{result.n_rows / result.copy_seconds:,.0f}", f"{result.copy_memory:.2f}")
    table.add_row("pandas.read_sql", f"{result.n_rows / result.read_sql_seconds:,.0f}", f"{result.read_sql_memory:.2f}")
    table.add_row("ratio", f"{result.ratio:.1f} x", "")
    console.print(table)


def run_starting(console: Console, sizes: list[int]) -> None:
    """The start of a command from a checkout and from an installed wheel."""
    table = _table("Starting: seconds of processor time", "command", "checkout", "wheel", "wheel / checkout")
    for start in starting.run():
        table.add_row(start.command, f"{start.checkout:.2f}", f"{start.wheel:.2f}", f"{start.ratio:.2f} x")
    console.print(table)


def run_enter(console: Console, sizes: list[int]) -> None:
    """From Enter to the verdict of 2,000 trials: the times `to_...` are since the start, the others of a phase."""
    table = _table("From Enter to the verdict, without null sweeps: seconds", "machine", *ENTER)
    arguments = ("n_trials=2000", "validation.null_sweeps=0")
    sweeps.run_sweep(*arguments)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "warm": sweeps.run_sweep(*arguments),
            "nothing compiled": sweeps.run_sweep(*arguments, environment={"XDG_CACHE_HOME": folder}),
        }
    for name, run in runs.items():
        table.add_row(name, *(f"{run.seconds.get(phase, 0.0):.1f}" for phase in ENTER))
    console.print(table)


def run_scale(console: Console, sizes: list[int]) -> None:
    """A large random search beside its backtests alone, and its scheduler on more processors than these."""
    table = _table(
        "A random search on two cores, over the processor time of its backtests alone",
        "trials",
        "seconds",
        "seconds x cores / alone",
        "all processes / inside",
        *scale.PARTS,
    )
    for store in ("best", "all"):
        run = scale.run(max(sizes), store)
        ratios = (run.ratio, run.busy_ratio, *(run.parts[part] / run.inside for part in scale.PARTS))
        table.add_row(f"{max(sizes):,}, store={store}", f"{run.seconds:.1f}", *(f"{ratio:.2f}" for ratio in ratios))
    console.print(table)
    parts = scheduling.measure()
    console.print(scheduling.describe(parts))
    table = _table(
        "store=best on more cores, simulated", "cores", "trials", "a trial", "seconds", "efficiency", "driver"
    )
    for case in scheduling.CASES:
        found = scheduling.simulate(parts, *case)
        table.add_row(
            f"{case.n_cpus:,}",
            f"{case.n_trials:,}",
            f"{1e3 * (case.trial or parts.trial):.3f} ms",
            f"{found.seconds:.1f}",
            f"{found.efficiency:.0%}",
            f"{found.driver:.0%}",
        )
    console.print(table)


def run_first(console: Console, sizes: list[int]) -> None:
    """From Enter to the best trial, in other tools and here."""
    table = _table("From Enter to the best of a crossing of averages", "tool", "trials", "seconds")
    for wait in first_best.run():
        table.add_row(wait.tool, f"{wait.n_trials:,}", f"{wait.seconds:.1f}")
    console.print(table)


def run_kernel(console: Console, sizes: list[int]) -> None:
    """Nanoseconds a bar and trial of the compiled engine."""
    kernel.main([])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    options = parser.parse_args(arguments)
    console = Console(width=None if Console().is_terminal else 200)
    runs: dict[str, Callable[[Console, list[int]], Any]] = {
        "kernel": run_kernel,
        "sweeps": run_sweeps,
        "scaling": run_scaling,
        "rivals": run_rivals,
        "storing": run_storing,
        "loading": run_loading,
        "starting": run_starting,
        "enter": run_enter,
        "first": run_first,
        "scale": run_scale,
    }
    for name in options.only:
        start = time.perf_counter()
        runs[name](console, options.sizes)
        console.print(f"({name}: {time.perf_counter() - start:.0f} s)\n")


if __name__ == "__main__":
    main()
