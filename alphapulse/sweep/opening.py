"""A study between its name and its first trial: made, or found and continued with what a command says of it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

from alphapulse.config.assembly import assemble, disassemble, with_rules
from alphapulse.config.given import Given
from alphapulse.config.schema import TARGET, SweepConfig
from alphapulse.errors import AlphaPulseError, ConfigError
from alphapulse.search.choosing import Sampler, make_sampler
from alphapulse.search.space import SearchSpace
from alphapulse.study.provenance import code_version, package_versions
from alphapulse.study.records import Study, StudyPlan, TrialRecord
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import StudyInputs
from alphapulse.sweep.starting import STORED, StartPoints
from alphapulse.typing import Float64Array2D

STRATEGY = f"strategy.{TARGET}"
# What a study's configuration holds beside that of its command: see `open_study`.
CHOSEN = ("sampler", STORED)
# What of it is a setting that one backtest takes.
SETTING_GROUPS = ("data", "universe", "strategy", "engine", "validation")


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

    Raises
    ------
    ConfigError
        If it needs the results of all trials where a part of them is stored, or cannot search the space.
    """
    sampler = make_sampler(
        name or config.search.sampler,
        config.space,
        seed=config.seed,
        n_objectives=len(config.objective),
        directions=config.directions,
        n_trials=config.n_trials,
        options=config.search.arguments,
        enqueued=enqueued,
    )
    if config.store == "best" and sampler.needs_history:
        raise ConfigError(
            f"`store=best` must go with a search that needs no results (search=random, grid or qmc), but got "
            f"search={sampler.name}; leave `store` out, or choose one of those"
        )
    return sampler


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
            code_version=code_version(inputs.experiment.definition, inputs.experiment.functions),
            packages=package_versions(inputs.experiment.definition, inputs.experiment.functions),
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
        from alphapulse.study.optuna.mirror import describe_study

        with suppress(AlphaPulseError):
            describe_study(opened.store.database, opened.study.id, status="INTERRUPTED")


def stored_config(study: Study) -> SweepConfig:
    """Return the configuration of a stored study, whose strategy is looked up from the working directory."""
    values = {key: value for key, value in study.config.items() if key not in CHOSEN}
    # The order of the space is part of a study; a configuration sorts its keys.
    return with_rules(replace(_assemble(values), study=study.name, space=study.space, n_trials=study.n_trials))


def setting_of(study: Study, trial: TrialRecord) -> dict[str, Any]:
    """Return data, universe, strategy, engine and validation of a stored trial as plain values."""
    stored = disassemble(stored_config(study))
    values = {name: stored[name] for name in SETTING_GROUPS}
    for key, value in trial["params"].items():
        *groups, name = key.split(".")
        place = values
        for group in groups:
            place = place[group]
        place[name] = value
    return values


def continued_config(study: Study, config: SweepConfig, given: Given) -> SweepConfig:
    """Return the configuration that continues a stored study: its own, with the keys that the user typed.

    Whether the two go together is for `check_same_study` to say.

    Parameters
    ----------
    study : Study
    config : SweepConfig
        What the command line composed, every default in it.
    given : Given
        What of it the user typed.
    """
    stored = stored_config(study)
    typed = disassemble(config)
    if STRATEGY in given.keys and config.strategy[TARGET] != stored.strategy[TARGET]:
        # Parameters and space of another strategy fit nothing that is stored.
        changed = replace(stored, strategy=config.strategy, space=config.space)
        changed = replace(changed, constraints=config.constraints, when=config.when)
    else:
        values = disassemble(stored)
        for key in given.keys - set(config.space.keys):
            put_typed(values, typed, key)
        changed = replace(_assemble(values), space=_space(stored.space, config.space, given))
        if given.whole_space:
            changed = replace(changed, when=config.when)
    own = {
        name: getattr(config, name)
        for name in ("output", "quiet", "log", "details", "traceback", "tear_sheet", "cluster", "db")
    }
    return with_rules(replace(changed, **own))


def _assemble(values: dict[str, Any]) -> SweepConfig:
    """Return the configuration of plain values; parameters of the strategy that they leave out stay left out."""
    config = assemble(SweepConfig, values, os.getcwd())
    return replace(config, strategy={name: config.strategy[name] for name in values["strategy"]})


def put_typed(values: dict[str, Any], typed: Mapping[str, Any], key: str) -> None:
    """Write the value of a dotted key of `typed` to `values`; what is no key of a study's configuration is left out."""
    if key in typed:
        # A name may hold dots itself, as a swept key among the options of a sampler does.
        if key != "space":
            values[key] = typed[key]
        return
    group, _, rest = key.partition(".")
    if isinstance(typed.get(group), Mapping):
        put_typed(values.setdefault(group, {}), typed[group], rest)


def _space(stored: SearchSpace, composed: SearchSpace, given: Given) -> SearchSpace:
    """Return the stored space with what was typed: other dimensions, new ones, and none where a value was."""
    typed = {d.key: d for d in composed.dimensions if given.whole_space or d.key in given.keys}
    kept = {} if given.whole_space else {d.key: d for d in stored.dimensions if d.key not in given.keys}
    found = kept | typed
    order = [key for key in stored.keys if key in found] + [key for key in composed.keys if key not in stored.keys]
    return SearchSpace(tuple(found[key] for key in order if key in found))
