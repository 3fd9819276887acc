"""Hydra, by its public functions: a configuration composed and shown, and the directory of a run made.

Hydra's own flags, callbacks, launchers and multiruns have no part here. What a user can cause while it composes
is a ConfigError; what a command's body raises passes through untouched.
"""

import contextlib
import copy
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, env_override
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from yaml import YAMLError

from alphapulse.config.conf import Conf
from alphapulse.config.settings import read_settings
from alphapulse.config.texts import OwnFiles
from alphapulse.errors import ConfigError

JOBS = "runtime_resources"
"""Folder of Ray's in which the working directories of jobs are (`ray job submit --working-dir`)."""

MASK = "***"
_PASSWORD = re.compile(r"""(\bpassword["']?\s*[:=]\s*)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,}\s]+)""")


class OwnDirectory(SearchPathPlugin):
    """Puts the user's own directory into Hydra's search path, after the package's, while something is composed."""

    directory: ClassVar[str | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the directory, if there is one; Hydra calls this."""
        if self.directory is not None:
            search_path.append("command-line", f"{OwnFiles.scheme()}://{self.directory}")


@contextlib.contextmanager
def composing(conf: Conf, overrides: Sequence[str]) -> Iterator[DictConfig]:
    """Compose the configuration, Hydra's node `hydra` included; until the end `${hydra:...}` stands for its values.

    Parameters
    ----------
    conf : Conf
    overrides : sequence of str
        In Hydra's grammar.

    Raises
    ------
    ConfigError
        If Hydra refuses.
    """
    before = HydraConfig.instance().cfg
    try:
        with _refusals(), _search_path(conf):
            composed = compose(conf.config_name, list(overrides), return_hydra_config=True)
            HydraConfig.instance().set_config(composed)
    except OSError as error:
        raise ConfigError(f"the configuration cannot be read: {' '.join(str(error).split())}") from error
    try:
        yield composed
    finally:
        HydraConfig.instance().cfg = before


@contextlib.contextmanager
def _search_path(conf: Conf) -> Iterator[None]:
    """Let Hydra look in the package's directory, then in the user's own."""
    for plugin in (OwnDirectory, OwnFiles):
        Plugins.instance().register(plugin)
    OwnDirectory.directory = None if conf.own is None else os.path.abspath(conf.own)
    try:
        with initialize_config_dir(str(conf.package), job_name=conf.config_name, version_base="1.3"):
            yield
    finally:
        OwnDirectory.directory = None


def show(composed: DictConfig, part: str, package: str | None, *, resolve: bool) -> None:
    """Print a composed configuration as YAML.

    Parameters
    ----------
    composed : DictConfig
    part : {"job", "hydra", "all"}
        The command's keys, Hydra's without its help texts, or both.
    package : str, optional
        The key below which is shown; None is all.
    resolve : bool
        Whether interpolations are replaced by what they stand for.

    Raises
    ------
    ConfigError
        If there is nothing at `package`, or an interpolation has no value.
    """
    shown = composed
    if part == "job":
        shown = _without_hydra(composed)
    elif part == "hydra":
        shown = _part(composed, ["hydra"])
        with read_write(shown.hydra), open_dict(shown.hydra):
            del shown.hydra["help"], shown.hydra["hydra_help"]
    with _refusals():
        chosen: Any = shown if package in (None, "_global_") else OmegaConf.select(shown, package)
        if chosen is None:
            raise ConfigError(f"`--package` must name a key that is set, but got {package!r}")
        if not OmegaConf.is_config(chosen):
            print(chosen)
            return
        if resolve:
            if "hydra" in shown:
                OmegaConf.set_readonly(shown.hydra, False)
            OmegaConf.resolve(chosen)
        text = _to_yaml(chosen)
    heading = "" if chosen is shown else f"# @package {package}\n"
    sys.stdout.write(heading + text)


@contextlib.contextmanager
def run_directory(composed: DictConfig) -> Iterator[Path]:
    """Yield the directory of a run, absolute, and let `${hydra:runtime.output_dir}` say so.

    One that is named by the time is this run's own: another of the same second has another. Where the run fails and has
    left nothing but its configuration and its log, it is removed.

    Raises
    ------
    ConfigError
        If it cannot be made.
    """
    with _refusals():
        # Ray deletes the working directory of a job.
        base = read_settings().home if JOBS in Path.cwd().parts else Path.cwd()
        directory = Path(os.path.abspath(base / str(composed.hydra.run.dir)))
        made = _missing(directory)
        if "${now:" in str(OmegaConf.to_container(composed.hydra.run, resolve=False)):
            directory = _reserved(directory)
            made = [directory, *(path for path in made if path in directory.parents)]
        with read_write(composed.hydra.runtime), open_dict(composed.hydra.runtime):
            composed.hydra.runtime.output_dir = str(directory)
        HydraConfig.instance().set_config(composed)
    try:
        yield directory
    except Exception:
        if made:
            _remove_bare(made, composed.hydra.output_subdir)
        raise


def _reserved(directory: Path) -> Path:
    """Make a directory that nobody else has made: the one that is asked for, or one with a number after its name."""
    numbers = itertools.count(2)
    name = directory.name
    while True:
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            # What somebody searches is nobody else's business on a machine that is shared.
            directory.mkdir(mode=0o700)
            return directory
        except FileExistsError:
            directory = directory.with_name(f"{name}_{next(numbers)}")
        except OSError as error:
            raise _not_made(error) from error


def _not_made(error: OSError) -> ConfigError:
    return ConfigError(f"the run directory cannot be made: {' '.join(str(error).split())}; set hydra.run.dir")


def values_of(composed: DictConfig) -> dict[str, Any]:
    """Return the command's own keys as plain values, interpolations resolved.

    Raises
    ------
    ConfigError
        If an interpolation has no value.
    """
    with _refusals():
        values = OmegaConf.to_container(_without_hydra(composed), resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def refuse_followers(composed: DictConfig, swept: Iterable[str]) -> None:
    """Refuse a key that is to follow, by an interpolation, one that has another value in each trial.

    Raises
    ------
    ConfigError
        Naming the first such key.
    """
    probe = copy.deepcopy(_without_hydra(composed))
    OmegaConf.set_readonly(probe, False)
    OmegaConf.set_struct(probe, False)
    for key in swept:
        OmegaConf.update(probe, key, MISSING, merge=False, force_add=True)
    for key, section, name in list(_interpolations(probe, "")):
        try:
            section[name]
        except InterpolationToMissingValueError as error:
            text = OmegaConf.to_container(section, resolve=False)[name]  # type: ignore[call-overload,index]
            followed = max((one for one in swept if one in str(error)), key=len, default="a key")
            raise ConfigError(
                f"`{key}` must not follow `{followed}`, which is swept, but got {text!r}: it would stay what that is "
                f"without a sweep; sweep `{key}` too and tie the two by `constraints`, or make one parameter of them"
            ) from error
        except (OmegaConfBaseException, ValueError):
            # For `values_of` to report.
            continue


def _interpolations(section: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted key of each interpolation, what holds it and its name there."""
    names: Iterable[Any] = range(len(section)) if OmegaConf.is_list(section) else list(section)
    for name in names:
        if OmegaConf.is_interpolation(section, name):
            yield f"{prefix}{name}", section, name
        elif not OmegaConf.is_missing(section, name) and OmegaConf.is_config(section[name]):
            yield from _interpolations(section[name], f"{prefix}{name}.")


@contextlib.contextmanager
def running(composed: DictConfig, directory: Path) -> Iterator[None]:
    """Make the directory of a run with the configuration in it, and log as `hydra.job_logging` says.

    Parameters
    ----------
    composed : DictConfig
    directory : Path
        As `run_directory` says.

    Raises
    ------
    ConfigError
        If the directory cannot be made or written to, or the logging is impossible.
    """
    node = composed.hydra
    if node.callbacks:
        raise ConfigError(f"`hydra.callbacks` must be left out, but got {', '.join(node.callbacks)}; none is called")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _refusals():
            configure_log(node.job_logging, node.verbose)
        if node.output_subdir is not None:
            folder = directory / node.output_subdir
            folder.mkdir(parents=True, exist_ok=True)
            _save(_without_hydra(composed), folder / "config.yaml")
            _save(_part(composed, ["hydra"]), folder / "hydra.yaml")
            _save(node.overrides.task, folder / "overrides.yaml")
    except OSError as error:
        raise _not_made(error) from error
    within = contextlib.chdir(directory) if node.job.chdir else contextlib.nullcontext()
    with within, env_override(dict(node.job.env_set)):
        yield


def _missing(directory: Path) -> list[Path]:
    """Return the directories that are not there yet, the innermost first."""
    return [path for path in (directory, *directory.parents) if not path.exists()]


def _remove_bare(made: list[Path], output_subdir: str | None) -> None:
    """Remove the directories of a run that has failed and left nothing there but its configuration and its log."""
    directory = made[0]
    own = directory / (output_subdir or ".hydra")
    files = [path for path in directory.rglob("*") if path.is_file()]
    if all(path.parent == own or path.suffix == ".log" for path in files):
        shutil.rmtree(directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in made[1:]:
                parent.rmdir()


def _without_hydra(composed: DictConfig) -> DictConfig:
    return _part(composed, [str(key) for key in composed if key != "hydra"])


def _part(composed: DictConfig, keys: list[str]) -> DictConfig:
    part = OmegaConf.masked_copy(composed, keys)
    # A moment that an interpolation has seen stays what it was.
    OmegaConf.copy_cache(from_config=composed, to_config=part)
    return part


def _save(config: Any, path: Path) -> None:
    path.write_text(_to_yaml(config), encoding="utf-8")


def _to_yaml(config: Any) -> str:
    """Return a configuration as YAML in which no password can be read."""
    return OmegaConf.to_yaml(OmegaConf.create(_masked(OmegaConf.to_container(config))))


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: MASK if key == "password" and item is not None else _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    # An override is a text that may hold one: db={password:...}.
    return _PASSWORD.sub(rf"\1{MASK}", value) if isinstance(value, str) else value


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what Hydra raises on a user's mistake into one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
        reason = " ".join(f"{error} {cause or ''}".split())
        raise ConfigError(reason or type(error).__name__) from error
