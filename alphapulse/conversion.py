"""What passes for a value of a plain type, and for one of some choices: the rule of configurations and strategies."""

import contextlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

Kind = TypeVar("Kind")
Choice = TypeVar("Choice")


def as_kind(kind: type[Kind], value: object) -> Kind:
    """Return `value` as a bool, an int, a float or a str.

    A whole float passes for an int and an int for a float. A bool is no number, a number is no text and a text no
    number. numpy's scalars are what they are in Python.

    Raises
    ------
    TypeError
        If `value` is not of that kind.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is kind:
        return value
    converted: Any = None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            converted = float(value)
    elif kind is int and isinstance(value, float) and value.is_integer():
        converted = int(value)
    if converted is None:
        raise TypeError(f"`value` must be of type {kind.__name__}, but got {value!r}.")
    number: Kind = converted
    return number


def as_choice(choices: Sequence[Choice], value: object) -> Choice:
    """Return the one of `choices` that `value` equals; 1.0 is the choice 1, but True is not.

    Raises
    ------
    ValueError
        If it equals none.
    """
    for choice in choices:
        if value == choice and isinstance(value, bool | np.bool_) == isinstance(choice, bool):
            return choice
    raise ValueError(f"`value` must be one of {', '.join(map(str, choices))}, but got {value!r}.")
