"""Parameters declared with their bounds, once; what must hold is read from the declarations."""

import math
from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, TypeAlias

Invariant: TypeAlias = tuple[tuple[str, ...], str, Callable[[Any], Any]]
"""Names of parameters, what must hold of them as text, and whether it does for one set of parameters or, element by
element, for columns of them."""


def at_least(default: float, low: float) -> Any:
    """Return a field of a dataclass that is finite and at least `low`."""
    return field(default=default, metadata={"holds": lambda name: _at_least(name, low)})


def finite(default: float) -> Any:
    """Return a field of a dataclass that is finite."""
    return field(default=default, metadata={"holds": _finite})


def one_of(default: str, choices: tuple[str, ...]) -> Any:
    """Return a field of a dataclass that is one of `choices`."""
    return field(default=default, metadata={"holds": lambda name: _one_of(name, choices)})


def invariants(cls: Any) -> tuple[Invariant, ...]:
    """Return what the declarations of a dataclass demand of each field, in their order."""
    return tuple(f.metadata["holds"](f.name) for f in fields(cls) if "holds" in f.metadata)


def numbers(cls: Any) -> tuple[str, ...]:
    """Return the names of the numbers of a dataclass, in the order in which compiled code gets them."""
    return tuple(f.name for f in fields(cls) if f.type is float)


def _at_least(name: str, low: float) -> Invariant:
    return (name,), f"{low:g} <= {name} < inf", lambda p: (getattr(p, name) >= low) & (getattr(p, name) < math.inf)


def _finite(name: str) -> Invariant:
    return (name,), f"-inf < {name} < inf", lambda p: abs(getattr(p, name)) < math.inf


def _one_of(name: str, choices: tuple[str, ...]) -> Invariant:
    def holds(p: Any) -> Any:
        found: Any = False
        for choice in choices:
            found = found | (getattr(p, name) == choice)
        return found

    return (name,), f"{name} is {' or '.join(choices)}", holds
