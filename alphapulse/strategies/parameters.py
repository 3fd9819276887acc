"""Parameters of a strategy, read from the signature of its class or function."""

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from alphapulse.conversion import as_choice, as_kind
from alphapulse.errors import StrategyError, did_you_mean

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes
    ----------
    name : str
    type : type
        It is int, float, bool or str, or object for what is passed as it is.
    default : object
    choices : tuple
        What it may be; empty for any value of its type.
    optional : bool
        Whether None is allowed.
    """

    name: str
    type: type
    default: Any = None
    choices: tuple[Any, ...] = ()
    optional: bool = False

    def convert(self, value: Any) -> Any:
        """Return `value` as the parameter's type.

        Raises
        ------
        StrategyError
            If it is not one: a bool is no number, 2.5 and "40" no whole number.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None and self.optional:
            return None
        if self.choices:
            try:
                return as_choice(self.choices, value)
            except ValueError:
                known = ", ".join(str(c) for c in self.choices)
                hint = did_you_mean(str(value), [str(c) for c in self.choices]) or "."
                raise StrategyError(f"`strategy.{self.name}` must be one of {known}, but got {value!r}{hint}") from None
        if self.type is object:
            return value
        try:
            return as_kind(self.type, value)
        except TypeError:
            forms = "; sweep it with int(interval(a,b)) or range(a,b)"
            hint = forms if self.type is int and type(value) is float else ""
            raise StrategyError(
                f"`strategy.{self.name}` must be {KINDS[self.type]}, but got {value!r}{hint}."
            ) from None

    def convert_column(self, values: Any, failures: dict[int, str]) -> np.ndarray:
        """Return a column (n_trials,) of the parameter's type; what cannot be converted is the default and a failure.

        Parameters
        ----------
        values : (n_trials,) array or list
        failures : dict of int to str
            It receives the reason of each trial whose value is impossible.
        """
        kind = values.dtype.kind if isinstance(values, np.ndarray) else ""
        if kind and not self.choices and kind in {float: "fiu", int: "iu"}.get(self.type, ""):
            return np.asarray(values, dtype=self.type)
        column = np.empty(len(values), dtype=object)
        for trial, value in enumerate(values):
            try:
                column[trial] = self.convert(value)
            except StrategyError as error:
                column[trial] = self.default
                failures.setdefault(trial, f"{type(error).__name__}: {error}")
        if self.type in (bool, int, float) and not any(value is None for value in column):
            return column.astype(self.type)
        return column


def signature_parameters(
    subject: Callable[..., Any], origin: str, skip: frozenset[str] = frozenset()
) -> dict[str, Parameter]:
    """Return the parameters of a class or function by name, without those in `skip`.

    Parameters
    ----------
    subject : callable
        Class, function or dataclass.
    origin : str
        What error messages call it.
    skip : frozenset of str
        Arguments that are not parameters.

    Raises
    ------
    StrategyError
        If a parameter has no default, or a default that contradicts its annotation.
    """
    hints = annotations(subject)
    factories: Mapping[str, Any] = {}
    if dataclasses.is_dataclass(subject):
        factories = {f.name: f.default_factory for f in dataclasses.fields(subject)}
    parameters = {}
    for name, argument in inspect.signature(subject).parameters.items():
        if name in skip or argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        if argument.default is argument.empty:
            raise StrategyError(f"Parameter `{name}` of {origin} has no default; give it one, such as {name}=20.")
        default = argument.default
        if factories.get(name, dataclasses.MISSING) is not dataclasses.MISSING:
            default = factories[name]()
        parameters[name] = make_parameter(name, hints.get(name), default, origin)
    return parameters


def annotations(subject: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a class's or function's arguments; those that cannot be resolved are left out."""
    sources = [*reversed(subject.__mro__), subject.__init__] if isinstance(subject, type) else [subject]  # type: ignore[misc]
    hints: dict[str, Any] = {}
    for source in sources:
        try:
            hints |= get_type_hints(source)
        except (NameError, TypeError, AttributeError):
            continue
    return hints


def make_parameter(name: str, annotation: Any, default: Any, origin: str) -> Parameter:
    """Return the parameter that an annotation, or without one the default, describes."""
    optional = default is None
    if get_origin(annotation) in (Union, types.UnionType):
        members = get_args(annotation)
        optional = optional or type(None) in members
        rest = [m for m in members if m is not type(None)]
        # A bare int beside float adds nothing: a float takes both.
        rest = [m for m in rest if not (m is int and float in rest)]
        annotation = rest[0] if len(rest) == 1 else object
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    if choices:
        kinds = {type(c) for c in choices}
        kind = kinds.pop() if len(kinds) == 1 else object
    elif annotation is None:
        kind = type(default)
    else:
        kind = annotation
    parameter = Parameter(name, kind if kind in KINDS else object, default, choices, optional)
    try:
        return dataclasses.replace(parameter, default=parameter.convert(default))
    except StrategyError as error:
        raise StrategyError(f"The default of `{name}` in {origin} contradicts its type: {error}") from None


def reject_unknown(names: Mapping[str, Any], known: Mapping[str, Any], origin: str) -> None:
    """Raise StrategyError for the first name that `origin` does not have."""
    for name in names:
        if name not in known:
            there = ", ".join(known) if known else "none"
            hint = did_you_mean(name, known) or f"; it has {there}."
            raise StrategyError(f"Unknown parameter `strategy.{name}` of {origin}{hint}")
