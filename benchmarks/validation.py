"""What each method of the verdict costs, by number of trials.

    python benchmarks/validation.py --n-trials 1000 10000 100000

prints a table of seconds of processor time, all on one core, compiled before. The trials are noise over 190 blocks
of 21 bars. Beside the reality check stands its cost a trial, to be compared with that of evaluating one.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from alphapulse.validation import (
    BlockArrays,
    Ledger,
    ParameterGrid,
    SharpeEstimate,
    TrialArrays,
    VerdictInputs,
    combinatorial_purged,
    deflated_sharpe_ratio,
    make_bootstrap,
    make_verdict,
    overfitting_from_moments,
    parameter_importance,
    plateau,
    step_down,
    walk_forward,
    worst_fold_sharpe,
)

N_BLOCKS, BARS = 190, 21
N_PARAMETERS = 6
# Beyond it a sweep takes a sample of its trials for PBO.
MAX_PBO_TRIALS = 10_000


def methods(n_trials: int) -> dict[str, Callable[[], object]]:
    """Return the methods by name, each ready to run on `n_trials` trials of noise."""
    rng = np.random.default_rng(0)
    sums = rng.standard_normal((n_trials, N_BLOCKS)) * 0.04
    squares = sums * sums / BARS + 0.002
    sizes = np.full(N_BLOCKS, float(BARS))
    bars = N_BLOCKS * BARS
    total = sums.sum(axis=1)
    sharpes = total / bars / np.sqrt((squares.sum(axis=1) - total**2 / bars) / (bars - 1))
    parameters = rng.random((n_trials, N_PARAMETERS))
    no = np.zeros(N_PARAMETERS, dtype=bool)
    continuous = np.full(N_PARAMETERS, np.nan)
    grid = ParameterGrid(np.zeros(N_PARAMETERS), np.ones(N_PARAMETERS), continuous, no, no, no)
    bootstrap, fixed = make_bootstrap(sizes), make_bootstrap(sizes, studentise="fixed")
    observed, maxima = bootstrap.batch_maximum(sums[:100])
    best = int(np.argmax(sharpes))
    own = SharpeEstimate(float(sharpes[best]), bars, 0.0, 3.0)
    inputs = VerdictInputs(
        chosen=best,
        in_sample=own,
        hold_out=own,
        trials=TrialArrays(sharpes, parameters),
        bootstrap=bootstrap,
        observed=observed,
        maxima=maxima,
        ledger=Ledger(n_trials),
        blocks=BlockArrays(sums, squares),
        grid=grid,
    )

    def deflate() -> float:
        variance = float(sharpes.var(ddof=1))
        return deflated_sharpe_ratio(
            own.sharpe, sharpe_variance=variance, n_trials=n_trials, n_returns=bars, skewness=0.0, kurtosis=3.0
        )

    return {
        "reality check, streamed, B = 1,000": lambda: bootstrap.batch_maximum(sums),
        "the same, standard error fixed": lambda: fixed.batch_maximum(sums),
        "StepM on the best 1,000": lambda: step_down(bootstrap, sums, maxima=maxima),
        "DSR": deflate,
        "PBO, S = 16, at most 10,000 trials": lambda: overfitting_from_moments(
            sums[:MAX_PBO_TRIALS], squares[:MAX_PBO_TRIALS], sizes
        ),
        "walk-forward, rolling": lambda: walk_forward(sums, squares, sizes, train_blocks=60, test_blocks=12, purge=1),
        "walk-forward, anchored": lambda: walk_forward(
            sums, squares, sizes, train_blocks=60, test_blocks=12, purge=1, anchored=True
        ),
        "combinatorial purged, 45 splits": lambda: combinatorial_purged(sums, squares, sizes, purge=1),
        "plateau of the best 1,000": lambda: plateau(parameters, sharpes, grid),
        "importance, 200 permutations": lambda: parameter_importance(parameters, sharpes, grid),
        "worst fold": lambda: worst_fold_sharpe(sums, squares, sizes, 5),
        "whole verdict after the stream": lambda: make_verdict(inputs),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-trials", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args(arguments)
    for run in methods(100).values():
        run()
    table = Table(title=f"Seconds of processor time by number of trials ({N_BLOCKS} blocks)")
    table.add_column("method")
    seconds: dict[str, list[str]] = {}
    for n_trials in options.n_trials:
        table.add_column(f"{n_trials:,}", justify="right")
        for name, run in methods(n_trials).items():
            start = time.process_time()
            run()
            elapsed = time.process_time() - start
            each = f" ({elapsed / n_trials * 1e6:.1f} us a trial)" if name.startswith(("reality", "the same")) else ""
            seconds.setdefault(name, []).append(f"{elapsed:.4f}{each}")
    for name, cells in seconds.items():
        table.add_row(name, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
