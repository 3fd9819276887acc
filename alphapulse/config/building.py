"""Frozen dataclasses from plain mappings, with errors that name the key, the value got and the nearest right one."""

import datetime
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from alphapulse.conversion import as_choice, as_kind
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.plain import plain

Config = TypeVar("Config")

PLAIN = (bool, int, float, str)


def build(cls: type[Config], values: Mapping[str, Any], prefix: str = "") -> Config:
    """Return an instance of the dataclass `cls` from a mapping of its fields, nested ones included.

    Parameters
    ----------
    cls : type
        A dataclass whose annotations are dataclasses, literals, unions with None, tuples, mappings or plain types.
    values : mapping
        Fields that are given; the others keep the dataclass's defaults.
    prefix : str
        Dotted name of `values` in the configuration, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown, or a value is not of its field's type or is refused by the dataclass.
    """
    hints = field_types(cls)
    for name in values:
        if name not in hints:
            raise unknown_key(_join(prefix, str(name)), [_join(prefix, known) for known in hints])
    arguments = {name: convert(hints[name], value, _join(prefix, name)) for name, value in values.items()}
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error


def field_types(cls: type) -> dict[str, Any]:
    """Return the annotations of a dataclass's fields, in order."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls) if f.init}


def defaults(cls: type) -> dict[str, Any]:
    """Return every field of the dataclass `cls` with its default, as plain values."""
    types_ = field_types(cls)
    values = {}
    for f in fields(cls):
        hint = types_[f.name]
        if is_dataclass(hint) and isinstance(hint, type):
            values[f.name] = defaults(hint)
        else:
            values[f.name] = plain(f.default_factory() if callable(f.default_factory) else f.default)
    return values


def unknown_key(key: str, known: list[str]) -> ConfigError:
    """Return the error for a key that the configuration does not have."""
    hint = did_you_mean(key, known)
    if not hint and len(known) <= 20:
        hint = f"; known here: {', '.join(sorted(known))}"
    return ConfigError(f"Unknown key {key!r}{hint}")


def convert(hint: Any, value: Any, key: str) -> Any:
    """Return `value` as the type that `hint` says.

    Whole floats pass for integers (1e6), integers for floats, a single value for a tuple of one.

    Raises
    ------
    ConfigError
        If it is not one.
    """
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        members = get_args(hint)
        if value is None:
            if type(None) in members:
                return None
            raise _refuse(key, hint, value)
        return _convert_to_any(members, hint, value, key)
    if origin is Literal:
        return _convert_to_literal(get_args(hint), value, key)
    if is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"`{key}` must be a group of keys ({', '.join(field_types(hint))}), but got {value!r}")
        return build(hint, value, key)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(convert(get_args(hint)[0], item, key) for item in items)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _refuse(key, hint, value)
        return dict(value)
    return _convert_plain(hint, value, key)


def describe(hint: Any) -> str:
    """Return the name of a type in the words of a message: "an integer", "a number or null"."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in get_args(hint))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if origin is tuple:
        return f"a list ({describe(get_args(hint)[0])} each)"
    if origin is not None:
        return "a group of keys"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    return names.get(hint, str(getattr(hint, "__name__", hint)))


def _convert_to_any(members: tuple[Any, ...], hint: Any, value: Any, key: str) -> Any:
    candidates = [member for member in members if member is not type(None)]
    if len(candidates) == 1:
        return convert(candidates[0], value, key)
    for member in candidates:
        try:
            return convert(member, value, key)
        except ConfigError:
            continue
    raise _refuse(key, hint, value)


def _convert_to_literal(choices: tuple[Any, ...], value: Any, key: str) -> Any:
    # YAML 1.1 reads an unquoted on or off as a boolean.
    if isinstance(value, bool) and {"on", "off"} <= set(choices):
        return "on" if value else "off"
    try:
        return as_choice(choices, value)
    except ValueError:
        hint = did_you_mean(str(value), [str(choice) for choice in choices])
        raise ConfigError(f"`{key}` must be one of {', '.join(map(str, choices))}, but got {value!r}{hint}") from None


def _convert_plain(hint: Any, value: Any, key: str) -> Any:
    if hint is str and isinstance(value, datetime.date | int | float) and not isinstance(value, bool):
        # YAML reads a date or a number where a name was written.
        return str(value)
    if isinstance(hint, type) and hint not in PLAIN and isinstance(value, hint):
        return value
    if hint not in PLAIN or value != value:
        raise _refuse(key, hint, value)
    try:
        return as_kind(hint, value)
    except TypeError:
        raise _refuse(key, hint, value) from None


def _refuse(key: str, hint: Any, value: Any) -> ConfigError:
    got = "null" if value is None else repr(value)
    return ConfigError(f"`{key}` must be {describe(hint)}, but got {got}")


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
