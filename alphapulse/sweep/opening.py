"""A study between its name and its first trial: made, or found and continued."""

from contextlib import suppress
from dataclasses import dataclass, fields

from alphapulse.config.assembly import disassemble
from alphapulse.config.schema import SweepConfig
from alphapulse.errors import AlphaPulseError
from alphapulse.search.choosing import Sampler, make_sampler
from alphapulse.study.optuna.mirror import describe_study
from alphapulse.study.provenance import code_version, package_versions
from alphapulse.study.records import Study, StudyPlan
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import StudyInputs
from alphapulse.sweep.starting import STORED, StartPoints
from alphapulse.typing import Float64Array2D


@dataclass(frozen=True)
class OpenStudy:
    """A study that this process runs, with all that its search and its end need.

    Attributes
    ----------
    config : SweepConfig
    store : Store
        Keeps other drivers out until `Store.finish`.
    study : Study
    sampler : Sampler
    inputs : StudyInputs
    """

    config: SweepConfig
    store: Store
    study: Study
    sampler: Sampler
    inputs: StudyInputs


def make_study_sampler(config: SweepConfig, name: str | None = None, enqueued: Float64Array2D | None = None) -> Sampler:
    """Return the sampler of a study, under another name than the configuration's where one is given.

    Points (k, p) in `enqueued` are proposed before all others.
    """
    return make_sampler(
        name or config.search.sampler,
        config.space,
        seed=config.seed,
        n_objectives=len(config.objective),
        directions=config.directions,
        n_trials=config.n_trials,
        options=config.search.options,
        enqueued=enqueued,
    )


def open_study(config: SweepConfig, store: Store, inputs: StudyInputs, start: StartPoints | None = None) -> OpenStudy:
    """Make or continue the study that `config` names.

    A continued one keeps the sampler that "auto" chose for it, and the points that it started from.

    Parameters
    ----------
    config : SweepConfig
    store : Store
    inputs : StudyInputs
    start : StartPoints, optional
        What a new study starts from; None is nothing.

    Raises
    ------
    StudyError
        If a stored study of this name is of another making, or another driver runs it.
    """
    assert config.study is not None
    sampler = make_study_sampler(config)
    study = store.open_study(
        StudyPlan(
            name=config.study,
            config=disassemble(config) | {"sampler": sampler.name} | ({STORED: start.stored()} if start else {}),
            space=config.space,
            seed=config.seed,
            objectives=config.objective,
            directions=config.directions,
            fingerprint=inputs.market.fingerprint,
            bars=inputs.bars,
            code_version=code_version(inputs.experiment.definition),
            packages=package_versions(),
            n_trials=config.n_trials,
        )
    )
    chosen = study.config.get("sampler", sampler.name)
    name = None if chosen == sampler.name else chosen
    return OpenStudy(config, store, study, make_study_sampler(config, name, StartPoints.of(study).points), inputs)


def reopen_study(study: Study, config: SweepConfig, store: Store, inputs: StudyInputs) -> OpenStudy:
    """Open a stored study as it is, to weigh what it has.

    Raises
    ------
    StudyError
        If its bars are others by now, or another driver runs it.
    """
    plan = {f.name: getattr(study, f.name) for f in fields(StudyPlan)}
    opened = store.open_study(StudyPlan(**plan | {"fingerprint": inputs.market.fingerprint}))
    sampler = make_study_sampler(config, study.config.get("sampler"), StartPoints.of(study).points)
    return OpenStudy(config, store, opened, sampler, inputs)


def abandon(opened: OpenStudy) -> None:
    """Let other drivers in after an error, with what is stored."""
    with suppress(AlphaPulseError, KeyError):
        opened.store.finish(opened.study, "INTERRUPTED")
    if opened.config.optuna.mirror_limit:
        with suppress(AlphaPulseError):
            describe_study(opened.store.database, opened.study.id, status="INTERRUPTED")
