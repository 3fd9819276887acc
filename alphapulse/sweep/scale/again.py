"""A trial that was run and is not stored, drawn again by its number."""

import math

from alphapulse.backtesting.metrics import METRICS
from alphapulse.study.picking import pick_trial
from alphapulse.study.records import Study, TrialRecord
from alphapulse.study.store import NotStoredError, Store
from alphapulse.sweep.opening import make_study_sampler, stored_config
from alphapulse.sweep.scale.drawing import Drawing
from alphapulse.sweep.starting import StartPoints


def pick_or_draw(store: Store, study: Study, name: str) -> TrialRecord:
    """Return a trial of a study as `pick_trial` does; one that is not stored is drawn again, without its outcome.

    Raises
    ------
    StudyError
        If there is no such trial.
    """
    try:
        return pick_trial(store, study, name)
    except NotStoredError as missing:
        return _draw(study, missing.number)


def _draw(study: Study, number: int) -> TrialRecord:
    sampler = make_study_sampler(stored_config(study), study.config.get("sampler"), StartPoints.of(study).points)
    parameters = Drawing(sampler).between(number, number + 1)[0]
    return TrialRecord(
        number=number,
        generation=number // sampler.generation_size,
        state="DRAWN",
        parameters=parameters,
        params=study.space.values(parameters),
        values=[math.nan] * len(study.objectives),
        violation=[],
        metrics=dict.fromkeys(METRICS, math.nan),
        ruined=False,
        error=None,
        seconds=0.0,
        completed_at=study.updated_at,
    )
