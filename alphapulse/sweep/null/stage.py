"""The null sweeps of a study over the workers: one surrogate market a task, kept as they come, ended early."""

import math
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alphapulse.config.machines.cluster import ResourcesConfig
from alphapulse.market.market import Market
from alphapulse.study.columns import StudyColumns
from alphapulse.study.null_values import NullValues
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.careful import careful_null_search
from alphapulse.sweep.null.pieces import NullPiece, count_pieces, run_piece, value_of_pieces
from alphapulse.sweep.null.search import SearchFailedError, SearchPlan, null_search
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.searching import budget
from alphapulse.sweep.starting import StartPoints
from alphapulse.sweep.workers.batches import TrialLimits
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.limits import watched
from alphapulse.sweep.workers.losses import FATAL, RAISED, BatchLostError, WorkerDiedError
from alphapulse.sweep.workers.marks import CANCELLED, told
from alphapulse.validation.null_sweeps import NullSweeps, failed_value, weigh_null_sweeps

AHEAD = 2
"""Null sweeps in flight for each processor; those that are under way when the test ends are not needed."""

ONE_CPU = ResourcesConfig()

MOST_LOST = 200
"""Tasks that may be lost with their workers and nodes before the cluster is given up."""


@dataclass(frozen=True)
class NullTask:
    """What a null sweep has to know beside market and experiment.

    Attributes
    ----------
    plan : SearchPlan
    block : int
        Length of the pieces of the market that stay together [bars].
    limits : TrialLimits
        What a trial may cost.
    median : float
        Time of a trial of the study [s].
    resources : ResourcesConfig
        What a task of trials asks for.
    suspects : tuple of tuple of float, optional
        Settings that may end their worker; None runs the search in one process, trials and all.
    cancelled : str
        Name of the note that says that it is not needed any more.
    """

    plan: SearchPlan
    block: int
    limits: TrialLimits
    median: float
    resources: ResourcesConfig
    suspects: tuple[tuple[float, ...], ...] | None = None
    cancelled: str = ""


def run_null_sweeps(
    opened: OpenStudy,
    cluster: Cluster,
    n_wanted: int,
    observed: float,
    factor: float,
    *,
    watch: Callable[[NullSweeps], None],
    stop: Callable[[], bool],
) -> NullSweeps:
    """Run what is missing of a study's null sweeps and return their outcome.

    What is done is read from the database and not run again; a null sweep counts in the order of the surrogates, so
    that neither the number of workers nor an interruption can change p.

    Parameters
    ----------
    opened : OpenStudy
    cluster : Cluster
        A cluster that has started.
    n_wanted : int
        Most null sweeps, fixed before the first.
    observed : float
        First objective of the trial that was chosen on the market.
    factor : float
        What the ledger multiplies p with [1].
    watch : callable
        Called now and then with the outcome so far.
    stop : callable
        Asked now and then whether to end early; then the outcome's p is NaN unless it was there already.
    """
    config, inputs = opened.config, opened.inputs
    n_trials = budget(opened)
    kept = NullValues(opened.store.database, opened.study, n_trials)
    values = kept.read()
    experiment = inputs.experiment
    begin = StartPoints.of(opened.study).points
    columns, failures = StudyColumns(kept.database, opened.study), opened.store.failures(opened.study)
    plan = SearchPlan(
        opened.sampler.name,
        n_trials,
        config.seed,
        config.search.arguments,
        begin,
        choose=config.choose,
        patience=config.patience,
        fatal=frozenset(row.tobytes() for row in columns.failed_for(FATAL)[1]),
        share_failed=sum(n for reason, n in failures.items() if re.match(RAISED, reason)) / max(n_trials, 1),
    )
    shipment = cluster.put(inputs.market, replace(experiment, bootstrap=None))
    limits = TrialLimits(config.cluster.trial_timeout, config.cluster.trial_memory)
    search = NullTask(
        plan,
        config.validation.null_block,
        limits,
        columns.median_seconds(),
        cluster.resources,
        cancelled=f"null sweeps {uuid.uuid4().hex}",
    )
    careful: set[int] = set()
    suspects: set[tuple[float, ...]] = set()
    n_pieces = count_pieces(plan, opened.sampler, cluster.n_cpus, search.median)
    pieces = [None] if n_pieces == 1 else list(range(n_pieces))
    missing = deque((s, piece) for s in range(n_wanted) if s not in values for piece in pieces)
    gathered: dict[int, dict[int, NullPiece]] = {}
    tasks: dict[Any, tuple[int, int | None]] = {}
    whole: set[int] = set()
    n_lost = 0
    maximize = experiment.directions[0] == "maximize"
    try:
        while True:
            done = [values[s] for s in range(_n_first(values))]
            outcome = weigh_null_sweeps(done, observed, n_wanted=n_wanted, maximize=maximize, factor=factor)
            watch(outcome)
            if outcome.stopped != "budget" or n_wanted == 0 or stop():
                return outcome
            while missing and len(tasks) < AHEAD * cluster.n_cpus:
                s, piece = missing.popleft()
                # One that has its trials run by others waits for them: only its processor is free meanwhile.
                is_careful = s in careful or bool(suspects)
                if piece is not None and not is_careful and s not in whole:
                    name = f"null {s} piece {piece}"
                    reference = cluster.start(shipment, null_piece_task, search, s, piece, n_pieces, name=name)
                    tasks[reference] = s, piece
                    continue
                if piece is not None and s in whole:
                    continue
                whole.add(s)
                only = ONE_CPU if is_careful else None
                task = replace(search, suspects=tuple(sorted(suspects)) if is_careful else None)
                tasks[cluster.start(shipment, null_task, task, s, resources=only, name=f"null {s}")] = s, None
            for reference in cluster.wait(list(tasks), timeout=0.5):
                s, piece = tasks.pop(reference)
                try:
                    result = cluster.result(reference)
                    if piece is not None:
                        gathered.setdefault(s, {})[piece] = result
                        if s in whole or len(gathered[s]) < n_pieces:
                            continue
                        result = _put_together(experiment, plan, gathered.pop(s))
                    values[s], seconds, fatal, failure = result
                    suspects.update(fatal)
                    if failure:
                        cluster.say(f"Null sweep {s} failed: {failure.rstrip('.')}.")
                except BatchLostError as error:
                    n_lost += 1
                    if n_lost > MOST_LOST:
                        raise
                    missing.appendleft((s, piece))
                    if isinstance(error, WorkerDiedError):
                        if not careful:
                            cluster.say(f"Null sweep {s} ended its worker; such ones run again, trial by trial.")
                        careful.add(s)
                    continue
                kept.write(s, values[s], seconds)
    finally:
        if tasks:
            cluster.cancel(search.cancelled)


def null_task(
    market: Market, experiment: Experiment, task: NullTask, s: int
) -> tuple[float, float, list[tuple[float, ...]], str]:
    """Return the best value that the search finds on surrogate `s`, NaN without one, and what it took [s].

    One that has ended its worker is run carefully: no trial of it can do so again. The settings that do come third, and
    then why the search failed as the study did not, with `failed_value`; empty where it did not.
    """
    if told(task.cancelled) == CANCELLED:
        return math.nan, 0.0, [], ""
    started = time.perf_counter()
    fatal: list[tuple[float, ...]] = []
    failure = ""
    limits = task.limits.at(task.median)
    try:
        if task.suspects is not None:
            value, fatal = careful_null_search(
                market,
                experiment,
                task.plan,
                s,
                block=task.block,
                limits=TrialLimits(limits.seconds, limits.gigabytes),
                resources=task.resources,
                suspects=task.suspects,
            )
        else:
            with watched(limits._replace(ends=True)):
                value = null_search(market, experiment, task.plan, s, block=task.block)
    except SearchFailedError as error:
        value, failure = failed_value(maximize=experiment.directions[0] == "maximize"), str(error)
    return value, time.perf_counter() - started, fatal, failure


def null_piece_task(
    market: Market, experiment: Experiment, task: NullTask, s: int, piece: int, n_pieces: int
) -> NullPiece:
    """Run a piece of the null sweep on surrogate `s`; one that ends its worker is run carefully, and whole."""
    if told(task.cancelled) == CANCELLED:
        return NullPiece(experiment.untried(np.empty((0, len(experiment.space)))), 0, Counter())
    started = time.perf_counter()
    with watched(task.limits.at(task.median)._replace(ends=True)):
        found = run_piece(market, experiment, task.plan, s, block=task.block, piece=piece, n_pieces=n_pieces)
    return replace(found, seconds=time.perf_counter() - started)


def _put_together(
    experiment: Experiment, plan: SearchPlan, pieces: dict[int, NullPiece]
) -> tuple[float, float, list[tuple[float, ...]], str]:
    """Return what `null_task` does, from all pieces of a null sweep."""
    seconds = sum(piece.seconds for piece in pieces.values())
    try:
        value, failure = value_of_pieces(experiment, plan, [pieces[place] for place in sorted(pieces)]), ""
    except SearchFailedError as error:
        value, failure = failed_value(maximize=experiment.directions[0] == "maximize"), str(error)
    return value, seconds, [], failure


def _n_first(values: dict[int, float]) -> int:
    """Return how many surrogates from 0 on are done without a gap."""
    n = 0
    while n in values:
        n += 1
    return n
