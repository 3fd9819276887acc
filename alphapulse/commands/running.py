"""The second half of a sweep, from a Ray that has started to the summary; imported while Ray starts."""

import math
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from alphapulse.commands.interruption import Interruption
from alphapulse.reports.closing import conclude, describe_end, follow_up
from alphapulse.reports.progress import NullProgress, SweepProgress, search_line
from alphapulse.reports.proposals import proposal_costs
from alphapulse.reports.summary import StudySummary, describe_data
from alphapulse.reports.weighing import Weighing
from alphapulse.study.optuna.follower import OptunaFollower
from alphapulse.study.provenance import changes_since
from alphapulse.sweep.clock import Clock, seconds_since_start
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.searching import SearchEnd, is_searched, search
from alphapulse.sweep.workers.cluster import Cluster

__all__ = ["follow_up", "run_opened"]


def run_opened(
    opened: OpenStudy, cluster: Cluster | None, console: Console, directory: Path | None, clock: Clock
) -> StudySummary:
    """Search and weigh an open study; without a cluster nothing is left to run."""
    if cluster is None:
        return conclude(opened, directory, clock, None, interrupted=False, ended=describe_end(opened))
    with Interruption() as interruption:

        def stop() -> bool:
            return interruption.requested

        end: SearchEnd | None = None
        if not is_searched(opened):
            facts = {"data": describe_data(opened.inputs.market, opened.inputs.holdout)}
            if directory is not None:
                facts["run directory"] = str(directory)
            limit = opened.config.optuna.mirror_limit
            with OptunaFollower(opened.store.database, opened.study.id, limit=limit, facts=facts) as follower:
                end = _search(opened, cluster, console, clock, stop)
            clock.seconds["follow"] = follower.seconds
        interrupted = stop() and end is not None and end.reason == "stopped"
        with NullProgress(console, quiet=opened.config.quiet or interrupted) as progress:
            weighing = Weighing(cluster, clock, progress.update, stop, progress.update_holdout)
            ended = None if interrupted else describe_end(opened, end)
            return conclude(opened, directory, clock, weighing, interrupted=interrupted, ended=ended)


def _search(opened: OpenStudy, cluster: Cluster, console: Console, clock: Clock, stop: Callable[[], bool]) -> SearchEnd:
    """Run the missing trials, for as long as `timeout` allows."""
    config = opened.config
    if not config.quiet:
        _announce(opened, cluster, console)
    progress = SweepProgress(
        console,
        n_trials=config.n_trials,
        n_done=opened.study.n_done,
        objective=config.objective[0],
        quiet=config.quiet,
    )
    until = time.monotonic() + config.timeout_seconds
    before, best = opened.study.n_done, math.nan

    def watch(n_done: int, value: float) -> None:
        nonlocal best
        best = value
        progress.update(n_done, value)

    with progress:
        end = search(opened, cluster, clock, watch=watch, stop=lambda: stop() or time.monotonic() >= until)
    clock.seconds["to_best"] = seconds_since_start()
    if end.n_done > before and not config.quiet:
        console.print(search_line(end.n_done - before, clock.seconds["search"], config.objective[0], best))
    return end


def _announce(opened: OpenStudy, cluster: Cluster, console: Console) -> None:
    study, inputs = opened.study, opened.inputs
    if opened.sampler.reason:
        console.print(opened.sampler.reason)
    if study.n_done:
        console.print(f"continuing study {study.name} after {study.n_done:,} trials")
        experiment = inputs.experiment
        for change in changes_since(study, experiment.definition, inputs.market.fingerprint, experiment.functions):
            console.print(f"warning: changed since the study began: {change}; later trials may differ.")
    for line in proposal_costs(opened, cluster.n_cpus):
        console.print(line)
    if cluster.dashboard:
        console.print(
            f"Ray dashboard: http://{cluster.dashboard} (if it asks for a token: `ray get-auth-token` prints it)"
        )
