"""A sweep that counts the processor time of `evaluate_batch` in its workers: `python -m benchmarks.inside key=value`.

It is written to the file that SCALE_FILE names. What the same code takes in another process at another time says little
on a machine that others use as well.
"""

import os
import time
from pathlib import Path
from typing import Any

from alphapulse.market.market import Market
from alphapulse.sweep.__main__ import main
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.workers import cluster

_spent = 0.0


def count(market: Market, experiment: Experiment, work: Any, *arguments: Any) -> Any:
    """Do what a worker is told and note what `evaluate_batch` takes of it."""
    from alphapulse.sweep.scale import stretch

    for module in (cluster, stretch):
        if not hasattr(module, "spent"):
            module.spent, module.evaluate_batch = 0.0, _counted(module, module.evaluate_batch)  # type: ignore[attr-defined]
    before = cluster.spent + stretch.spent  # type: ignore[attr-defined]
    result = work(market, experiment, *arguments)
    result.inside = cluster.spent + stretch.spent - before  # type: ignore[attr-defined]
    return result


def _counted(module: Any, evaluate: Any) -> Any:
    def run(*arguments: Any, **keywords: Any) -> Any:
        before = time.thread_time()
        try:
            return evaluate(*arguments, **keywords)
        finally:
            module.spent += time.thread_time() - before

    return run


class CountingCluster(cluster.Cluster):
    """A cluster whose tasks are counted."""

    def begin(self, work: Any, *arguments: Any, name: str = "") -> Any:
        """Start other work on the study's market and experiment."""
        return super().begin(count, work, *arguments, name=name)

    def result(self, reference: Any) -> Any:
        """Return the outcome of a task that is done."""
        global _spent
        outcome = super().result(reference)
        _spent += getattr(outcome, "inside", 0.0)
        return outcome


if __name__ == "__main__":
    from alphapulse.commands import sweep

    sweep.Cluster = CountingCluster  # type: ignore[misc]
    main()
    Path(os.environ["SCALE_FILE"]).write_text(str(_spent))
