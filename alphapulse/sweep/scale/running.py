"""A study of which a part is stored: its search begun, continued and ended, and its trials drawn again."""

from collections.abc import Callable

from alphapulse.study.columns import StudyColumns
from alphapulse.study.records import Generation
from alphapulse.sweep.failures import Failures
from alphapulse.sweep.null.search import SearchPlan
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.scale.drawing import count_distinct
from alphapulse.sweep.scale.keeping import Keeper
from alphapulse.sweep.scale.stream import Stream
from alphapulse.sweep.starting import StartPoints
from alphapulse.sweep.study_state import StudyState
from alphapulse.sweep.workers.batches import Batches


def stream_of(
    opened: OpenStudy,
    batches: Batches,
    state: StudyState,
    commit: Callable[[Generation], None],
    failures: Failures,
    *,
    watch: Callable[[int, float], None],
    stop: Callable[[], bool],
) -> Stream:
    """Return what runs the missing trials of a study."""
    config, study, sampler, experiment = opened.config, opened.study, opened.sampler, opened.inputs.experiment
    points = StartPoints.of(study).points
    sums = opened.store.sums(study)
    assert sums is not None
    columns = StudyColumns(opened.store.database, study)
    sums.plan(config.n_trials)
    keeper = Keeper(
        experiment,
        state,
        sums,
        periods_per_year=experiment.engine.bars_per_year(opened.inputs.market.bars),
        generation_size=sampler.generation_size,
        n_given=len(points),
        keep_blocks=config.validation.keep_blocks,
        has_patience=config.patience is not None,
    )
    keeper.restore(columns)
    plan = SearchPlan(sampler.name, config.n_trials, config.seed, config.search.arguments, points)
    return Stream(
        sampler,
        plan,
        batches,
        keeper,
        commit,
        failures,
        n_trials=config.n_trials,
        patience=config.patience,
        watch=watch,
        stop=stop,
    )


def end_stream(opened: OpenStudy, keeper: Keeper) -> None:
    """Take out of the database what was displaced since it was stored, when all of a search is stored."""
    study, store = opened.study, opened.store
    keeper.discard_surplus(StudyColumns(store.database, study), lambda *surplus: store.discard(study, *surplus))


def count_settings_of(opened: OpenStudy) -> int:
    """Return how many different settings the trials of a study have, counted where that is not known yet."""
    store, study = opened.store, opened.study
    sums = store.sums(study)
    if sums is not None and sums.n_distinct is None:
        sums.n_distinct = count_distinct(opened.sampler, sums.n_trials)
        store.save_sums(study, sums)
    return store.n_distinct(study)
