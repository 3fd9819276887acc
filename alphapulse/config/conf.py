"""The configuration directories: primary configurations, groups with their options, experiments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alphapulse.config.found import FOUND, resource_dir
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.plain import in_quotes

PARTS = ("overrides", "space", "constraints", "when")


@dataclass(frozen=True)
class Experiment:
    """One file of `sweeps/`: overrides in Hydra's grammar, constraints among them, the space as texts by key, and the
    conditions under which keys of it count.
    """

    name: str | None = None
    overrides: tuple[str, ...] = ()
    space: Mapping[str, str] = field(default_factory=dict)
    when: Mapping[str, str] = field(default_factory=dict)


class Conf:
    """The configuration directories: the user's own first, then the package's.

    Parameters
    ----------
    config_dir : str, optional
        The user's own directory.
    config_name : str
        Primary configuration in one of them.

    Raises
    ------
    ConfigError
        If there is no such directory, no such primary configuration in it, or one that is not YAML.
    """

    def __init__(self, config_dir: str | None, config_name: str) -> None:
        own = [Path(config_dir)] if config_dir is not None else []
        for folder in own:
            if not folder.is_dir():
                raise ConfigError(f"`--config-dir` must be a directory, but got {config_dir!r}")
        self.config_name = config_name.removesuffix(".yaml")
        self.own = own[0] if own else None
        self.package = resource_dir("conf")
        self.folders = [*own, self.package]
        self.sweep_folders = [folder / "sweeps" for folder in own] + [resource_dir("sweeps")]
        if self.find(f"{self.config_name}.yaml") is None:
            known = sorted(path.stem for folder in self.folders for path in folder.glob("*.yaml"))
            where = f"{config_dir} or the package" if own else "the package; your own go with --config-dir"
            hint = did_you_mean(self.config_name, known)
            raise ConfigError(f"`--config-name` must name a file of {where}, but got {config_name!r}{hint}")
        self.choices = self._read_choices(self.config_name)

    def _read_choices(self, config_name: str) -> dict[str, str]:
        path = self.find(f"{config_name}.yaml")
        entries = [] if path is None else (read_yaml(path).get("defaults") or [])
        pairs = [pair for entry in entries if isinstance(entry, Mapping) for pair in entry.items()]
        return {str(group): str(option) for group, option in pairs if not str(group).startswith("override ")}

    def find(self, name: str) -> Path | None:
        """Return the first file of this relative name."""
        return next((folder / name for folder in self.folders if (folder / name).is_file()), None)

    def groups(self) -> list[str]:
        """Return the names of all groups but Hydra's own."""
        found = {
            path.parent.relative_to(folder).as_posix() for folder in self.folders for path in folder.glob("*/**/*.yaml")
        }
        return sorted(group for group in found | FOUND.keys() if group.partition("/")[0] != "hydra")

    def options(self, group: str) -> list[str]:
        """Return the names of a group's options."""
        files = {path.stem for folder in self.folders for path in (folder / group).glob("*.yaml")}
        return sorted(files | FOUND.get(group, {}).keys())

    def experiments(self) -> list[str]:
        """Return the names of all experiments."""
        return sorted({path.stem for folder in self.sweep_folders for path in folder.glob("*.yaml")})

    def experiment(self, name: str) -> Experiment:
        """Return the experiment of this name, or of this file.

        Raises
        ------
        ConfigError
            If there is none, or it is not one.
        """
        candidates = [Path(name)] if name.endswith(".yaml") else [f / f"{name}.yaml" for f in self.sweep_folders]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            known = self.experiments()
            if name.endswith(".yaml"):
                beside = [str(one) for one in sorted(Path(name).parent.glob("*.yaml"))]
                hint = did_you_mean(name, beside) or "; `python -m alphapulse.new NAME` writes one"
                raise ConfigError(f"`sweeps` must be a file, but there is no {name!r}{hint}")
            hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"`sweeps` must name an experiment, but got {name!r}{hint}")
        content = read_yaml(path)
        for key in content:
            if key not in PARTS:
                hint = did_you_mean(str(key), PARTS)
                raise ConfigError(f"{path}: an experiment must hold {', '.join(PARTS)}, but got {key!r}{hint}")
        overrides, space = content.get("overrides") or [], content.get("space") or {}
        if not isinstance(overrides, list) or not all(isinstance(item, str) for item in overrides):
            raise ConfigError(f"{path}: `overrides` must be a list of texts such as data=sample, but got {overrides!r}")
        constraints = content.get("constraints") or []
        if not isinstance(constraints, list) or not all(isinstance(item, str) for item in constraints):
            raise ConfigError(f"{path}: `constraints` must be a list of texts such as a < b, but got {constraints!r}")
        if constraints:
            overrides = [*overrides, f"constraints=[{','.join(map(in_quotes, constraints))}]"]
        if not isinstance(space, Mapping):
            raise ConfigError(f"{path}: `space` must map keys to texts such as interval(10,250), but got {space!r}")
        when = content.get("when") or {}
        if not isinstance(when, Mapping):
            raise ConfigError(f"{path}: `when` must map keys to conditions such as a == 'b', but got {when!r}")
        texts = ({str(key): str(text) for key, text in part.items()} for part in (space, when))
        return Experiment(path.stem, tuple(overrides), *texts)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, empty for an empty one.

    Raises
    ------
    ConfigError
        If it cannot be read, is not YAML, or not a mapping.
    """
    content = load_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a mapping of keys, but got {type(content).__name__}")
    return content


def load_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises
    ------
    ConfigError
        If it cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be YAML, but {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ConfigError(f"{path} must be readable, but {' '.join(str(error).split())}") from error
