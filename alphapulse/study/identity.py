"""Whether a command continues the study that it names, or would make another one under its name."""

from collections.abc import Iterator, Mapping
from typing import Any

from alphapulse.backtesting.metrics import DEFINITIONS
from alphapulse.config.building import defaults
from alphapulse.config.schema import SweepConfig
from alphapulse.errors import StudyError
from alphapulse.search.dimensions import Dimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.records import Study, StudyPlan

# What else the configuration holds may change between commands: workers, output, the total of trials.
PINNED_SEARCH = ("search", "constraints", "when", "feasible", "choose", "store")
PINNED = ("universe", "strategy", "engine", "validation", *PINNED_SEARCH)
STRATEGY = "strategy._target_"
PINNED_IN_VALIDATION = ("holdout", "objective", "null_block", "n_bootstrap", "keep_blocks")


def check_same_study(study: Study, plan: StudyPlan, config: Mapping[str, Any]) -> None:
    """Raise StudyError that names the first difference between a stored study and a plan, if there is one.

    A study whose trials were computed by other definitions than this code's is never continued.

    Parameters
    ----------
    study : Study
    plan : StudyPlan
    config : mapping
        The plan's configuration in JSON's types, as the study's is.
    """
    if study.definitions != DEFINITIONS:
        raise StudyError(
            f"Study {study.name!r} was made with definitions {study.definitions} of engine and metrics, but this "
            f"version of alphapulse has {DEFINITIONS}: it can be reported and replayed, not continued; choose another "
            "name with study=NAME."
        )
    for what, stored, given in _differences(study, plan, config):
        raise StudyError(
            f"Study {study.name!r} was made with {what} {stored}, but got {given}; "
            "choose another name with study=NAME, or the old value to continue it."
        )


def _differences(study: Study, plan: StudyPlan, config: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    old, new = _flat(study.config), _flat(config)
    # The space of another strategy differs as well, but that is not what the user changed.
    if old.get(STRATEGY) != new.get(STRATEGY):
        yield STRATEGY, old.get(STRATEGY), new.get(STRATEGY)
    yield from _dimensions(study.space, plan.space)
    for what, stored, given in (
        ("objective", study.objectives, plan.objectives),
        ("direction", study.directions, plan.directions),
    ):
        if stored != given:
            yield what, ", ".join(stored), ", ".join(given)
    if study.seed != plan.seed:
        yield "seed", study.seed, plan.seed
    # What a study of an older version has not stored was what is the default now.
    before = _flat(defaults(SweepConfig)) | old
    for key in sorted(old.keys() | new.keys()):
        if _is_pinned(key) and before.get(key) != new.get(key):
            yield key, before.get(key), new.get(key)
    # A study that waited for longer is what it would have been from the start; one that waits for less is not.
    waited, waits = before.get("patience"), new.get("patience")
    if waits is not None and (waited is None or waits < waited):
        yield "patience", waited, f"{waits}, and may only grow"
    if study.fingerprint != plan.fingerprint:
        for key in sorted(old.keys() | new.keys()):
            if key.startswith("data.") and old.get(key) != new.get(key):
                yield key, old.get(key), new.get(key)
        yield "data of fingerprint", study.fingerprint[:12], f"{plan.fingerprint[:12]} (bars were added or changed)"


def _dimensions(stored: SearchSpace, given: SearchSpace) -> Iterator[tuple[str, Any, Any]]:
    old = {d.key: d for d in stored.dimensions}
    new = {d.key: d for d in given.dimensions}
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield f"the search space {key} =", _describe(old.get(key)), _describe(new.get(key))
    if stored.keys != given.keys:
        yield "the search space in the order", ", ".join(stored.keys), ", ".join(given.keys)


def _describe(dimension: Dimension | None) -> str:
    return "(fixed)" if dimension is None else dimension.describe()


def _is_pinned(key: str) -> bool:
    group, _, rest = key.partition(".")
    return group in PINNED and (group != "validation" or rest.split(".")[0] in PINNED_IN_VALIDATION)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
