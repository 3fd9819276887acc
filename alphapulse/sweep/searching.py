"""The search of an open study: generations over the workers, committed to the store as they come."""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from alphapulse.study.columns import StudyColumns
from alphapulse.study.records import Generation
from alphapulse.sweep.clock import Clock, seconds_since_start
from alphapulse.sweep.failures import Failures
from alphapulse.sweep.generations import Ended, Generations
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.patience import Patience, stored_patience
from alphapulse.sweep.scale.running import end_stream, stream_of
from alphapulse.sweep.scale.stream import Stream
from alphapulse.sweep.study_state import StudyState, read_state
from alphapulse.sweep.workers.batches import Batches, TrialLimits
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.metrics import StudyMetrics


class SearchEnd(NamedTuple):
    """How a search ended.

    Attributes
    ----------
    n_done : int
        Trials that the study has.
    reason : {"complete", "exhausted", "patience", "stopped"}
    """

    n_done: int
    reason: Ended


def search(
    opened: OpenStudy,
    cluster: Cluster,
    clock: Clock,
    *,
    watch: Callable[[int, float], None],
    stop: Callable[[], bool],
) -> SearchEnd:
    """Run the missing trials of a study.

    Parameters
    ----------
    opened : OpenStudy
    cluster : Cluster
        A cluster that has started.
    clock : Clock
        Learns the time of the search, of the workers (over all of them) and of the writing connection.
    watch : callable
        Called now and then with the number of evaluated trials and the best value of the first objective.
    stop : callable
        Asked now and then whether to end early.

    Returns
    -------
    SearchEnd
    """
    config, store, study = opened.config, opened.store, opened.study
    cluster.ship(opened.inputs.market, opened.inputs.experiment)
    pending: deque[tuple[int, Future[None]]] = deque()
    failures = Failures(config.max_failure_rate)

    def commit(generation: Generation) -> None:
        while pending and pending[0][1].done():
            pending.popleft()[1].result()
        pending.append((generation.n_trials, store.append(study, generation)))
        clock.seconds.setdefault("to_first_trial", seconds_since_start())
        if generation.part is None:
            failures.count(generation.trials)

    batches: Batches[Any] = Batches(
        cluster, opened.inputs.experiment, TrialLimits(config.cluster.trial_timeout, config.cluster.trial_memory)
    )
    metrics = StudyMetrics(study.name, study.n_done)

    best_told = math.nan

    def tell(n_evaluated: int, best: float) -> None:
        nonlocal best_told
        best_told = best
        watch(n_evaluated, best)
        n_unstored = sum(n for n, future in pending if not future.done())
        metrics.update(
            n_evaluated, best, n_failed=failures.n_failed, n_queued=batches.n_under_way, n_unstored=n_unstored
        )

    state = study_state(opened)
    evaluated_before = state.seconds
    with clock.phase("search"):
        run: Generations | Stream
        if study.is_part:
            run = stream_of(opened, batches, state, commit, failures, watch=tell, stop=stop)
        else:
            run = Generations(
                opened.sampler,
                batches,
                opened.inputs.experiment,
                state,
                commit,
                n_trials=config.n_trials,
                keep_blocks=config.validation.keep_blocks,
                patience=config.patience,
                watch=tell,
                stop=stop,
            )
            run.continue_from(study.n_done, StudyColumns(store.database, study).trials)
        run.run()
        for _, future in pending:
            future.result()
        metrics.finish(run.n_done, best_told, n_failed=failures.n_failed)
        if isinstance(run, Stream):
            end_stream(opened, run.keeper)
    clock.seconds["evaluate"] = state.seconds - evaluated_before
    clock.seconds["store"] = store.seconds_writing(study)
    return SearchEnd(run.n_done, run.ended)


def patience_of(opened: OpenStudy) -> Patience:
    """Return the patience of a study after its stored trials."""
    store, study, config = opened.store, opened.study, opened.config
    sums = store.sums(study)
    if sums is not None:
        return Patience(study.directions, config.patience, n_waited=sums.n_waited)
    history = StudyColumns(store.database, study).trials
    return stored_patience(study.directions, config.patience, opened.sampler, store.n_done(study), history)


def is_searched(opened: OpenStudy) -> bool:
    """Return whether no trial is missing, or patience says that none will be."""
    return opened.study.n_done >= opened.config.n_trials or patience_of(opened).ended


def is_weighed(opened: OpenStudy) -> bool:
    """Return whether the stored verdict speaks of all trials that there are, or no trial has anything to weigh."""
    store, study = opened.store, opened.study
    if study.verdict is not None and study.verdict.get("n_trials") == store.n_done(study):
        return True
    return not store.best(study, 1)


def budget(opened: OpenStudy) -> int:
    """Return how many trials the search of a study might have had: fewer than wanted only where time ended it."""
    n_done = opened.store.n_done(opened.study)
    return max(opened.config.n_trials, n_done) if patience_of(opened).ended else n_done


def study_state(opened: OpenStudy) -> StudyState:
    """Return what the study remembers of all its stored trials."""
    return read_state(opened.store.state(opened.study), opened.config.validation.n_bootstrap)
