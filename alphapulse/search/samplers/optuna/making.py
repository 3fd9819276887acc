"""A sampler of Optuna's from its name and its options, which may name further ones."""

import os
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, isclass, signature
from typing import TYPE_CHECKING, Any

from alphapulse.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

TARGET = "_target_"
KEY = "search.optuna"
OPTIONS = "search.options"

NEEDS = {"CmaEsSampler": "cmaes", "GPSampler": "torch", "QMCSampler": "scipy"}
"""Packages that Optuna imports when such a sampler first proposes, which may be long after the start."""

SILENT = ("warn_independent_sampling", "warn_asynchronous_seeding")
"""Options under which Optuna says the same of every trial."""

NO_PRUNERS = (
    "a pruner stops a trial by its intermediate values, and a backtest has none: all trials are scored on the same "
    "bars, many at a time; leave it out"
)


def make_optuna_sampler(name: str, options: Mapping[str, Any], seed: int) -> "BaseSampler":
    """Return a sampler, seeded, the further ones among its options too.

    Parameters
    ----------
    name : str
        A name of `optuna.samplers`, or the dotted path of any `BaseSampler`.
    options : mapping
        Its keyword arguments; a mapping with `_target_` stands for an object made in the same way.
    seed : int
        One below 2**32 is what Optuna would be given; of a larger one all bits count.

    Raises
    ------
    ConfigError
        If there is no such sampler or option, it is a pruner, or what it needs is not installed.
    """
    from optuna.samplers import BaseSampler

    made = _make(name, options, (seed ^ seed >> 32) & 0xFFFFFFFF, KEY, OPTIONS)
    if not isinstance(made, BaseSampler):
        raise ConfigError(f"`{KEY}` must be a sampler of Optuna's kind, but got {name}, which is none.")
    return made


def _make(name: str, options: Mapping[str, Any], seed: int, key: str, place: str) -> Any:
    made_of = _find(name, key)
    _refuse_missing(made_of, key, name)
    try:
        known = signature(made_of).parameters
    except (TypeError, ValueError):
        raise ConfigError(f"`{key}` must be a class that says what it takes, but got {name}.") from None
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values())
    for option in options:
        if option == "seed":
            raise ConfigError(
                f"`{place}.seed` must be left out: the sampler has the seed of the study; write seed=NUMBER."
            )
        if "pruner" in option:
            raise ConfigError(f"`{place}.{option}` must be left out: {NO_PRUNERS}.")
        if option not in known and not takes_any:
            names = [one for one in known if one != "seed"]
            raise ConfigError(
                f"{name} has no option {option!r}{did_you_mean(option, names)}; it takes {', '.join(names) or 'none'}."
            )
    arguments = {option: _value(value, seed, f"{place}.{option}") for option, value in options.items()}
    arguments |= {one: False for one in SILENT if one in known and known[one].default is True and one not in options}
    if "seed" in known:
        arguments["seed"] = seed
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        # Who asks for an experimental sampler by its name knows.
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return made_of(**arguments)
        except ImportError as error:
            raise missing(name, error) from error
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} refuses its options: {error}") from error


def _value(value: Any, seed: int, place: str) -> Any:
    """Return an option, with what its mappings that have `_target_` stand for."""
    if isinstance(value, Mapping):
        if TARGET in value:
            options = {str(option): inner for option, inner in value.items() if option != TARGET}
            return _make(str(value[TARGET]), options, seed, f"{place}.{TARGET}", place)
        return {name: _value(inner, seed, f"{place}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_value(inner, seed, place) for inner in value]
    return value


def _find(name: str, key: str) -> Any:
    """Return the class of a name of `optuna.samplers` or of a dotted path."""
    from optuna import pruners, samplers

    module, _, last = name.rpartition(".")
    if last in pruners.__all__:
        raise ConfigError(f"`{key}` must be a sampler, but got the pruner {last}: {NO_PRUNERS}.")
    if not module:
        known = [one for one in samplers.__all__ if isclass(getattr(samplers, one)) and not one.startswith("Base")]
        if name not in known:
            hint = did_you_mean(name, known) or f"; known are {', '.join(known)}, or write the dotted path of a class"
            raise ConfigError(f"`{key}` must be a sampler of optuna.samplers, but got {name!r}{hint}.")
        return getattr(samplers, name)
    try:
        found = getattr(_import(module), last)
    except ImportError as error:
        raise ConfigError(f"`{key}` must be a class that can be imported, but got {name!r}: {error}.") from error
    except AttributeError:
        raise ConfigError(f"`{key}` must be a class, but {module} has no {last!r}.") from None
    if not callable(found):
        raise ConfigError(f"`{key}` must be a class, but got {name!r}, which is {type(found).__name__}.")
    return found


def _import(module: str) -> Any:
    """Import a module, from the working directory too, as strategies are."""
    here = os.getcwd()
    if here in sys.path:
        return import_module(module)
    sys.path.append(here)
    try:
        return import_module(module)
    finally:
        sys.path.remove(here)


def _refuse_missing(made_of: Any, key: str, name: str) -> None:
    ancestors = {one.__name__ for one in getattr(made_of, "__mro__", ())}
    for ancestor, package in NEEDS.items():
        if ancestor in ancestors and find_spec(package) is None:
            raise ConfigError(f"`{key}={name}` needs the package {package}; `pip install {package}`.")


def missing(name: str, error: ImportError) -> ConfigError:
    """Return the line for a package that a sampler does not find."""
    package = (error.name or "").partition(".")[0]
    hint = f"`pip install {package}`" if package else " ".join(str(error).split())
    return ConfigError(f"Optuna's {name} needs a package that is not installed: {hint}.")
