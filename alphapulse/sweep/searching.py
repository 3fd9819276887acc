"""The search of an open study: generations over the workers, committed to the store as they come."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from alphapulse.study.columns import StudyColumns
from alphapulse.study.records import Generation
from alphapulse.sweep.clock import Clock, seconds_since_start
from alphapulse.sweep.failures import Failures
from alphapulse.sweep.generations import Generations
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.study_state import StudyState, read_state
from alphapulse.sweep.workers.batches import Batches, TrialLimits
from alphapulse.sweep.workers.cluster import Cluster


def search(
    opened: OpenStudy,
    cluster: Cluster,
    clock: Clock,
    *,
    watch: Callable[[int, float], None],
    stop: Callable[[], bool],
) -> int:
    """Run the missing trials of a study and return how many trials it has then.

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
    """
    config, store, study, sampler = opened.config, opened.store, opened.study, opened.sampler
    cluster.ship(opened.inputs.market, opened.inputs.experiment)
    pending: deque[Future[None]] = deque()

    def commit(generation: Generation) -> None:
        while pending and pending[0].done():
            pending.popleft().result()
        pending.append(store.append(study, generation))
        clock.seconds.setdefault("to_first_trial", seconds_since_start())

    state = study_state(opened)
    limits = TrialLimits(config.cluster.trial_timeout, config.cluster.trial_memory)
    evaluated_before = state.seconds
    with clock.phase("search"):
        generations = Generations(
            sampler,
            Batches(cluster, opened.inputs.experiment, limits),
            opened.inputs.experiment,
            state,
            commit,
            n_trials=config.n_trials,
            keep_blocks=config.validation.keep_blocks,
            failures=Failures(config.max_failure_rate),
            watch=watch,
            stop=stop,
        )
        history = StudyColumns(store.database, study).trials
        generations.continue_from(study.n_done, history, needs_history=sampler.needs_history)
        generations.run()
        for future in pending:
            future.result()
    clock.seconds["evaluate"] = state.seconds - evaluated_before
    clock.seconds["store"] = store.seconds_writing(study)
    return generations.n_done


def study_state(opened: OpenStudy) -> StudyState:
    """Return what the study remembers of all its stored trials."""
    return read_state(opened.store.state(opened.study), opened.config.validation.n_bootstrap)
