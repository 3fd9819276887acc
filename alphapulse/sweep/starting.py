"""Where a search starts: the strategy's own setting, then the settings that the user has from elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from alphapulse.config.conf import load_yaml
from alphapulse.config.schema import SweepConfig
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.space import SearchSpace
from alphapulse.study.records import Study
from alphapulse.study.store import Store
from alphapulse.sweep.experiment import ENGINE, STRATEGY, Experiment
from alphapulse.typing import Float64Array2D

N_OF_STUDY = 20
"""Trials that are taken over from another study: its best ones, in order."""

STORED = "enqueued"
"""Where they stand in the configuration of a stored study; a file may be another by the time it goes on."""


@dataclass(frozen=True)
class StartPoints:
    """The first trials of a study, before what its sampler proposes.

    Attributes
    ----------
    points : (k, p) float64
        Parameters in the order of the space, each different.
    has_defaults : bool
        Whether the first of them is the strategy's own setting.
    notes : tuple of str
        A sentence for each thing that was left out.
    """

    points: Float64Array2D
    has_defaults: bool = False
    notes: tuple[str, ...] = ()

    def stored(self) -> dict[str, Any]:
        """Return what stands in the stored configuration."""
        return {"points": self.points.tolist(), "has_defaults": self.has_defaults}

    @classmethod
    def of(cls, study: Study) -> "StartPoints":
        """Return those of a stored study; one of an older version has none."""
        stored = study.config.get(STORED, {"points": [], "has_defaults": False})
        points = np.array(stored["points"], dtype=np.float64).reshape(len(stored["points"]), len(study.space))
        return cls(points, stored["has_defaults"])


def start_points(config: SweepConfig, experiment: Experiment, store: Store) -> StartPoints:
    """Return the points that a new study starts from.

    Parameters
    ----------
    config : SweepConfig
    experiment : Experiment
    store : Store
        Where `search.enqueue` may name a study.

    Raises
    ------
    ConfigError
        If a file of settings cannot be read, or a setting of it is not in the space.
    StudyError
        If there is no such study.
    """
    space, defaults = experiment.space, default_setting(experiment)
    notes: list[str] = []
    rows: list[list[float]] = []
    if config.search.start == "defaults":
        row, outside = _row(space, defaults)
        if outside is None:
            rows.append(row)
        else:
            notes.append(f"the strategy's own setting is no trial: {outside}")
    has_defaults = bool(rows)
    enqueue = config.search.enqueue
    if enqueue is not None and enqueue.endswith((".yaml", ".yml")):
        rows += _of_file(enqueue, space, defaults)
    elif enqueue is not None:
        found, skipped = _of_study(store, enqueue, space, defaults)
        rows, notes = rows + found, notes + skipped
    distinct = list(dict.fromkeys(map(tuple, rows)))
    points = np.array(distinct, dtype=np.float64).reshape(len(distinct), len(space))
    return StartPoints(points, has_defaults, tuple(notes))


def default_setting(experiment: Experiment) -> dict[str, Any]:
    """Return the value that each swept key has where it is not swept."""
    parameters = experiment.definition.parameters
    values = {}
    for key in experiment.space.keys:
        if key.startswith(STRATEGY):
            name = key.removeprefix(STRATEGY)
            values[key] = experiment.strategy.get(name, parameters[name].default)
        else:
            values[key] = reduce(getattr, key.removeprefix(ENGINE).split("."), experiment.engine)
    return values


def _row(space: SearchSpace, setting: Mapping[str, Any]) -> tuple[list[float], str | None]:
    """Return the parameters of a setting, and what of it lies outside the space."""
    row = []
    for d in space.dimensions:
        parameter = d.parameter(setting[d.key])
        if parameter is None:
            return [], f"{d.key}={setting[d.key]} is not in {d.describe()}"
        row.append(parameter)
    broken = space.broken(np.array(row))
    return (row, None) if broken is None else ([], f"it breaks the constraint {broken}")


def _of_file(path: str, space: SearchSpace, defaults: Mapping[str, Any]) -> list[list[float]]:
    settings = load_yaml(Path(path))
    if not isinstance(settings, list) or not all(isinstance(setting, Mapping) for setting in settings):
        raise ConfigError(f"{path} must be a list of mappings such as `- {space.keys[0]}: VALUE`")
    rows = []
    for number, setting in enumerate(settings, start=1):
        for key in setting:
            if key not in space.keys:
                hint = did_you_mean(str(key), space.keys) or f"; swept are {', '.join(space.keys)}"
                raise ConfigError(f"{path}, setting {number}: `{key}` must be a swept key{hint}")
        row, outside = _row(space, {**defaults, **setting})
        if outside is not None:
            raise ConfigError(f"{path}, setting {number}, must lie in the space, but {outside}")
        rows.append(row)
    return rows


def _of_study(
    store: Store, name: str, space: SearchSpace, defaults: Mapping[str, Any]
) -> tuple[list[list[float]], list[str]]:
    study = store.find_study(name)
    # What that study held fixed belongs to its settings.
    fixed = {key: value for key, value in _flat(study.config) if key in space.keys}
    rows, outside = [], []
    for trial in store.best(study, N_OF_STUDY):
        row, reason = _row(space, {**defaults, **fixed, **trial["params"]})
        if reason is None:
            rows.append(row)
        else:
            outside.append(reason)
    if not rows and not outside:
        return [], [f"study {name} has no trial to start from"]
    if not outside:
        return rows, []
    n = len(rows) + len(outside)
    return rows, [f"{len(outside)} of the best {n} trials of study {name} are left out: {outside[0]}"]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
