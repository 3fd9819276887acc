"""Where a search starts: the strategy's own setting, then the settings that the user has from elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphapulse.config.conf import load_yaml
from alphapulse.config.schema import SweepConfig
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.space import SearchSpace
from alphapulse.study.records import Study
from alphapulse.study.store import Store
from alphapulse.sweep.experiment import Experiment
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
        # JSON has no NaN, which a key that is inactive has.
        points = [[None if p != p else p for p in point] for point in self.points.tolist()]
        return {"points": points, "has_defaults": self.has_defaults}

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
    points = np.array(rows, dtype=np.float64).reshape(len(rows), len(space))
    points = points[np.sort(np.unique(points.view(np.int64), axis=0, return_index=True)[1])] if len(points) else points
    return StartPoints(points, has_defaults, tuple(notes))


def default_setting(experiment: Experiment) -> dict[str, Any]:
    """Return the value that each swept key has where it is not swept."""
    return {key: experiment.default(key) for key in experiment.space.keys}


def _row(space: SearchSpace, setting: Mapping[str, Any]) -> tuple[list[float], str | None]:
    """Return the parameters of a setting, NaN where a key is inactive, and what of it lies outside the space."""
    found = [d.parameter(setting[d.key]) for d in space.dimensions]
    # What lies outside is of no matter where it is inactive; until that is known its value is the default.
    row = space.masked(np.array([[np.nan if parameter is None else parameter for parameter in found]]))[0]
    is_active = space.active(row[None, :])[0]
    for d, parameter, counts in zip(space.dimensions, found, is_active.tolist(), strict=True):
        if counts and parameter is None:
            return [], f"{d.key}={setting[d.key]} is not in {d.describe()}"
    broken = space.broken(row)
    return (row.tolist(), None) if broken is None else ([], f"it breaks the constraint {broken}")


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
