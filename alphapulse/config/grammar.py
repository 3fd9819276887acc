"""Hydra's override grammar as the language of search spaces: `int(interval(10,250))` and back.

The parser is Hydra's own, stop of a range exclusive. Its functions are too, except that `int` of an interval keeps the
whole numbers inside the bounds where Hydra truncates the bounds, and that what has no meaning in a space is refused.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

from alphapulse.config.building import convert, describe
from alphapulse.config.texts import quote_texts
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.choices import is_same_choice, shown_choice
from alphapulse.search.dimensions import CategoricalDimension, Dimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace

FORMS = "a,b, choice(..), range(..), interval(..), int(..) and tag(log,..)"

_HYDRAS = create_functions().functions


class _RefusedError(ValueError):
    """A function was given what a search space cannot hold."""


def _cast_int(*args: Any, value: Any = None) -> Any:
    interval = args[0] if len(args) == 1 else value
    if isinstance(interval, IntervalSweep):
        start, end = _bounds(interval)
        if math.isfinite(start) and math.isfinite(end):
            low, high = math.ceil(start), math.floor(end)
            if start <= end and low > high:
                raise _RefusedError("holds no whole number")
            return IntervalSweep(start=low, end=high, tags=set(interval.tags))
        return interval
    return _HYDRAS["int"](*args, value=value)


def _bounds(interval: IntervalSweep) -> tuple[float, float]:
    assert interval.start is not None
    assert interval.end is not None
    return interval.start, interval.end


def _choose(*args: Any) -> Any:
    """Return a choice among `args`, of which one may be null."""
    return _HYDRAS["choice"](*args)


def _refuse_function(name: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise _RefusedError(f"{name}() has no meaning in a search space, where order is the sampler's; use {FORMS}")

    return refuse


def _create_parser() -> OverridesParser:
    functions = create_functions()
    functions.functions["int"] = _cast_int
    # Hydra's own has null in `a,null` but not in `choice(a,null)`.
    del functions.definitions["choice"]
    functions.register("choice", _choose)
    for name in ("shuffle", "sort", "glob"):
        functions.functions[name] = _refuse_function(name)
    return OverridesParser(functions=functions)


_PARSER = _create_parser()


def parse(line: str) -> Override:
    """Return one `key=value` of the command line, parsed.

    Names need no quotes, though Hydra wants them around `^GSPC` and reads 1.10 as a number.

    Raises
    ------
    ConfigError
        If it is not in Hydra's grammar.
    """
    try:
        return _PARSER.parse_override(quote_texts(line))
    except HydraException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, _RefusedError):
            cause = cause.__cause__
        if cause is not None:
            key, _, text = line.partition("=")
            reason = f"`{key.lstrip('+')}` must be a space that can be searched, but got {text!r}: {cause}"
            raise ConfigError(reason) from error
        if "=" not in line:
            raise ConfigError(f"Arguments must be key=value, but got {line!r}") from error
        reason = " ".join(str(error).split())
        hint = f"quote a text with signs as key='a, text', space forms are {FORMS}"
        raise ConfigError(f"Cannot read {line!r}: {reason}; {hint}") from error


def dimension(override: Override) -> Dimension:
    """Return the dimension that a sweep override stands for.

    Raises
    ------
    ConfigError
        If its range is empty, reversed, infinite, not positive with log, or repeats a choice.
    """
    key, text, sweep = override.key_or_group, override.get_value_string(), override.value()
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"`{key}` must be swept by one of {FORMS}, but got {text!r}")
    unknown = sorted(sweep.tags - {"log"})
    if unknown:
        raise ConfigError(f"`{key}` must have no tag but log, but got {text!r}{did_you_mean(unknown[0], ['log'])}")
    log = "log" in sweep.tags
    if isinstance(sweep, IntervalSweep):
        return _interval(key, text, sweep, log)
    if log:
        raise ConfigError(f"`{key}` must be an interval where it is tagged log, but got {text!r}")
    if isinstance(sweep, RangeSweep):
        return _range(key, text, sweep)
    assert isinstance(sweep, ChoiceSweep)
    return _choice(key, text, sweep)


def _interval(key: str, text: str, sweep: IntervalSweep, log: bool) -> Dimension:
    low, high = _bounds(sweep)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"`{key}` must have finite bounds, but got {text!r}")
    if low > high:
        raise ConfigError(
            f"`{key}` must have its lower bound first, but got {text!r}; write interval({high:g},{low:g})"
        )
    if log and not low > 0:
        raise ConfigError(f"`{key}` must have a lower bound > 0 where it is tagged log, but got {text!r}")
    if isinstance(low, int):
        return IntDimension(key, low, int(high), log=log)
    return FloatDimension(key, low, high, log=log)


def _range(key: str, text: str, sweep: RangeSweep) -> Dimension:
    bounds = (sweep.start, sweep.stop, sweep.step)
    if not all(math.isfinite(bound) for bound in bounds if bound is not None):
        raise ConfigError(f"`{key}` must have finite bounds, but got {text!r}")
    # The decimals that were written, so that range(0,1,0.1) ends at 0.9 and not at 0.9 + 1e-16.
    start, stop, step = (Decimal(repr(bound)) for bound in bounds)
    if step == 0:
        raise ConfigError(f"`{key}` must have a step other than 0, but got {text!r}")
    if (stop - start) / step <= 0:
        raise ConfigError(f"`{key}` must hold a value, but got {text!r}, which is empty; the stop is exclusive")
    if abs(step) > abs(stop - start):
        raise ConfigError(f"`{key}` must have a step within its range, but got {text!r}")
    last = start + (math.ceil((stop - start) / step) - 1) * step
    low, high = sorted((start, last))
    if all(isinstance(bound, int) for bound in bounds):
        return IntDimension(key, int(low), int(high), int(abs(step)))
    return FloatDimension(key, float(low), float(high), float(abs(step)))


def _choice(key: str, text: str, sweep: ChoiceSweep) -> Dimension:
    choices = tuple(_plain_choice(item) for item in sweep.list)
    if not all(_is_choice(choice) for choice in choices):
        raise ConfigError(
            f"`{key}` must be chosen among texts, numbers, true, false, null and lists of them, but got {text!r}"
        )
    if len({(type(choice), choice) for choice in choices}) < len(choices):
        raise ConfigError(f"`{key}` must have each choice once, but got {text!r}")
    return CategoricalDimension(key, choices)


def _plain_choice(item: Any) -> Any:
    """Return a choice as the parser has it, without its quotes and with a tuple for a list."""
    if isinstance(item, list):
        return tuple(_plain_choice(inner) for inner in item)
    return item.text if isinstance(item, QuotedString) else item


def _is_choice(choice: Any) -> bool:
    if isinstance(choice, tuple):
        return all(_is_choice(inner) for inner in choice)
    return choice is None or (isinstance(choice, str | int | float) and choice == choice)


def _refuse_twice(dimension: Dimension) -> None:
    """Raise ConfigError where two choices are one setting of their field, as 1 and 1.0 are of a number."""
    choices = dimension.choices if isinstance(dimension, CategoricalDimension) else ()
    for place, choice in enumerate(choices):
        if any(is_same_choice(choice, other) for other in choices[:place]):
            got = f"{shown_choice(choice)} twice in {dimension.describe()}"
            raise ConfigError(f"`{dimension.key}` must have each choice once, but got {got}")


def fit(dimension: Dimension, hint: Any) -> Dimension:
    """Return a dimension whose values are of its field's type.

    Parameters
    ----------
    dimension : Dimension
    hint : Any
        Annotation of the field that it sweeps.

    Raises
    ------
    ConfigError
        If they cannot be.
    """
    key, got = dimension.key, dimension.to_grammar()
    if hint is Any:
        _refuse_twice(dimension)
        return dimension
    plain = {member for member in _members(hint) if member is not type(None)}
    fitted = dimension.fitted(plain, lambda choice: convert(hint, choice, key))
    if fitted is not None:
        _refuse_twice(fitted)
        return fitted
    if int in plain:
        raise ConfigError(f"`{key}` must be an integer, but got {got!r}; write int({got})")
    members = [choice for member in plain if get_origin(member) is Literal for choice in get_args(member)]
    example = ",".join(map(str, members)) if members else "true,false" if bool in plain else "a,b"
    raise ConfigError(f"`{key}` must be {describe(hint)}, but got {got!r}; write {key}={example}")


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)


def read_space(texts: Mapping[str, str]) -> SearchSpace:
    """Return the space of dotted keys and what each may be, in the order of the keys' names.

    The order does not depend on how the keys were given, so that the same space is the same study.
    """
    return SearchSpace(tuple(dimension(parse(f"{key}={texts[key]}")) for key in sorted(texts)))


def write_space(space: SearchSpace) -> dict[str, str]:
    """Return the mapping that `read_space` reads back."""
    return {d.key: d.to_grammar() for d in space.dimensions}
