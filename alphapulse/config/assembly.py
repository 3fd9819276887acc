"""Typed configurations from what Hydra composed, strategy and search space included, and back to plain values."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

from alphapulse.backtesting.params import FACTS_OF_THE_WORLD, EngineParams
from alphapulse.config.bars.universe import check_account
from alphapulse.config.building import build, convert, field_types, unknown_key
from alphapulse.config.grammar import fit, read_space, write_space
from alphapulse.config.schema import TARGET, SweepConfig
from alphapulse.config.settings import CELL_PREFIX, cells_folder
from alphapulse.errors import AlphaPulseError, ConfigError, StrategyError
from alphapulse.plain import plain
from alphapulse.search.rules import Rules, read_rules
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.parameters import Parameter
from alphapulse.strategies.resolve import StrategyDefinition, resolve

Config = TypeVar("Config")

MOST_CORNERS = 1024


def assemble(cls: type[Config], values: Mapping[str, Any], search_path: str | None = None) -> Config:
    """Return the configuration `cls` of plain `values`.

    Parameters
    ----------
    cls : type
        A dataclass of `config.schema`.
    values : mapping
        Nested plain values by key. `space` maps dotted keys to texts in Hydra's sweep grammar.
    search_path : str, optional
        Directory that a strategy of the user's own is imported from.

    Raises
    ------
    ConfigError
        If a key is unknown or a value or a space impossible.
    StrategyError
        If the strategy cannot be imported.
    """
    given = dict(values)
    texts = given.pop("space", None)
    definition = None
    if "strategy" in field_types(cls) and "strategy" in given:
        definition = _define(given["strategy"], search_path)
        given["strategy"] = _complete(definition, given["strategy"])
    config = build(cls, given)
    if isinstance(config, SweepConfig):
        if definition is None:
            definition = _define(config.strategy, search_path)
        space = check_space(read_space(texts or {}), definition)
        _try_engine(config.engine, space)
        _try_strategy(definition, config.strategy, space)
        _check_universe(config, definition, space.keys)
        return replace(config, space=space.ruled(_rules(replace(config, space=space), definition)))
    if definition is not None:
        _try_strategy(definition, given["strategy"], SearchSpace(()))
        _check_universe(config, definition)
    return config


def with_rules(config: SweepConfig) -> SweepConfig:
    """Return a configuration whose space has the rules that it and its strategy state.

    Raises
    ------
    ConfigError
        If one of them is no condition over keys of the strategy and the engine.
    """
    return replace(config, space=config.space.ruled(_rules(config, _define(config.strategy, None))))


def _rules(config: SweepConfig, definition: StrategyDefinition) -> Rules:
    """Return the rules that a configuration and its strategy state."""
    values = {f"strategy.{name}": parameter.default for name, parameter in definition.parameters.items()}
    values |= {f"strategy.{name}": value for name, value in config.strategy.items() if name != TARGET}
    for name, value in plain(config.engine).items():
        values |= {f"engine.{name}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {}
        values |= {} if isinstance(value, dict) else {f"engine.{name}": value}
    swept = config.space.keys
    return read_rules(
        config.constraints, definition.constraints, values, when=config.when, swept=swept, origin=definition.name
    )


def disassemble(config: Any) -> dict[str, Any]:
    """Return a configuration as plain values that `assemble` reads back; `db` is left out, since it has a password."""
    return {
        f.name: write_space(value) if isinstance(value, SearchSpace) else plain(value)
        for f in fields(config)
        if f.name != "db"
        for value in [getattr(config, f.name)]
    }


def check_space(space: SearchSpace, definition: StrategyDefinition) -> SearchSpace:
    """Return `space` with every dimension made to fit the field that it sweeps.

    Raises
    ------
    ConfigError
        If a key is not one that can be swept, or its values are not of the field's type.
    """
    known = swept_fields(definition)
    dimensions = []
    for d in space.dimensions:
        if d.key not in known:
            raise unknown_key(d.key, list(known)) if d.key.startswith(("strategy.", "engine.")) else _not_swept(d.key)
        if d.key.removeprefix("engine.") in FACTS_OF_THE_WORLD:
            raise ConfigError(
                f"`{d.key}` must have one value: it is a fact of the world, and a search would pick the cheapest one; "
                "the sensitivity table at the end of a sweep says how the chosen trial fares under other costs"
            )
        dimensions.append(fit(d, known[d.key]))
    return SearchSpace(tuple(dimensions))


def require_space(config: SweepConfig) -> None:
    """Raise ConfigError if a configuration sweeps nothing."""
    if not len(config.space):
        raise ConfigError(
            "the search space must hold a key, but nothing is swept; "
            "add such as 'strategy.NAME=int(interval(10,250))', or sweeps=NAME"
        )


def swept_fields(definition: StrategyDefinition) -> dict[str, Any]:
    """Return the type of every key that can be swept, by dotted name."""
    known = {f"strategy.{name}": _hint(parameter) for name, parameter in definition.parameters.items()}
    for name, hint in field_types(EngineParams).items():
        if is_dataclass(hint) and isinstance(hint, type):
            known |= {f"engine.{name}.{inner}": inner_hint for inner, inner_hint in field_types(hint).items()}
        else:
            known[f"engine.{name}"] = hint
    return known


def _hint(parameter: Parameter) -> Any:
    """Return the annotation that a parameter was read from."""
    if parameter.choices:
        hint: Any = Literal[parameter.choices]
    else:
        hint = Any if parameter.type is object else parameter.type
    return hint | None if parameter.optional and hint is not Any else hint


def _not_swept(key: str) -> ConfigError:
    return ConfigError(
        f"`{key}` must have one value in a sweep, only strategy.* and engine.* are searched; run once for each"
    )


def _define(strategy: Any, search_path: str | None) -> StrategyDefinition:
    target = strategy.get(TARGET) if isinstance(strategy, Mapping) else None
    if not isinstance(target, str) or not target:
        raise ConfigError(f"`strategy.{TARGET}` must be a dotted path such as my_module.MyStrategy, but got {target!r}")
    return find_strategy(target, search_path)


def find_strategy(target: str, search_path: str | None) -> StrategyDefinition:
    """Return a strategy by its dotted path; one of a notebook's cell or a script from where its source was kept.

    Raises
    ------
    StrategyError
        If it cannot be imported.
    """
    if not target.startswith(CELL_PREFIX):
        return resolve(target, search_path)
    folder = cells_folder()
    module, _, name = target.partition(".")
    if not (folder / f"{module}.py").is_file():
        raise StrategyError(
            f"The strategy {name} was defined in a notebook or a script whose source is not in {folder}; run the study "
            "from there, or on the machine and with the ALPHAPULSE_HOME on which it was made."
        )
    return resolve(target, str(folder))


def _check_universe(config: Any, definition: StrategyDefinition, swept: Sequence[str] = ()) -> None:
    """Refuse a strategy or an engine that the kind of universe does not have."""
    universe = getattr(config, "universe", None)
    if universe is not None:
        check_account(config.engine, config.data.symbols, universe, swept)
        definition.check_universe(is_account=universe.is_account)


def _complete(definition: StrategyDefinition, strategy: Mapping[str, Any]) -> dict[str, Any]:
    parameters = definition.parameters
    for name in strategy:
        if name != TARGET and name not in parameters:
            raise unknown_key(f"strategy.{name}", [f"strategy.{known}" for known in parameters])
    return {TARGET: strategy[TARGET]} | {
        name: convert(_hint(parameter), strategy[name], f"strategy.{name}") if name in strategy else parameter.default
        for name, parameter in parameters.items()
    }


def _try_engine(engine: EngineParams, space: SearchSpace) -> None:
    for d in space.dimensions:
        if d.key.startswith("engine."):
            for value in d.ends:
                _try(functools.partial(engine.with_values, {d.key.removeprefix("engine."): value}))


def _try_strategy(definition: StrategyDefinition, strategy: Mapping[str, Any], space: SearchSpace) -> None:
    """Refuse a strategy that no corner of the space can build.

    A strategy may tie parameters together (fast below slow), so that some corners may well be refused.
    """
    values = {name: value for name, value in strategy.items() if name != TARGET}
    swept = [d for d in space.dimensions if d.key.startswith("strategy.")]
    names = [d.key.removeprefix("strategy.") for d in swept]
    first: ConfigError | None = None
    for corner in itertools.islice(itertools.product(*(d.ends for d in swept)), MOST_CORNERS):
        try:
            _try(functools.partial(definition.build, values | dict(zip(names, corner, strict=True))))
            return
        except ConfigError as error:
            first = first or error
    if first is not None:
        raise first


def _try(make: Callable[[], Any]) -> None:
    try:
        make()
    except (AlphaPulseError, ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error
