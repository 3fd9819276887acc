"""What must hold between the keys of a search space, beside what each of them may be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alphapulse.search.expressions import Expression, read_condition, rename


@dataclass(frozen=True)
class Rules:
    """Rules of a search space; a setting that breaks one is never run.

    Attributes
    ----------
    constraints : tuple of Expression
        Conditions over keys.
    fixed : mapping of str to value
        Keys that they ask for and that are not swept, with their values.
    """

    constraints: tuple[Expression, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_rules(
    constraints: Sequence[str],
    declared: Sequence[str],
    values: Mapping[str, Any],
    *,
    origin: str = "the strategy",
    prefix: str = "strategy.",
) -> Rules:
    """Read what a user and a strategy demand.

    Parameters
    ----------
    constraints : sequence of str
        The user's, over dotted keys.
    declared : sequence of str
        The strategy's, over its own parameters.
    values : mapping of str to value
        Every key that there is with the value that it has where it is not swept.
    origin : str
        What messages call the strategy.
    prefix : str
        What stands before the strategy's parameters in a key.

    Raises
    ------
    ConfigError
        If one is no condition, or asks for a key that there is not.
    """
    own = [name.removeprefix(prefix) for name in values if name.startswith(prefix)]
    add: Callable[[str], str] = lambda name: prefix + name  # noqa: E731
    theirs = [rename(read_condition(text, f"constraints of {origin}", own), add) for text in declared]
    users = [read_condition(text, "constraints", list(values)) for text in constraints]
    # The strategy's first; one that is typed as well counts once.
    found = tuple(dict.fromkeys([*theirs, *users]))
    names = dict.fromkeys(name for constraint in found for name in constraint.names)
    return Rules(found, {name: values[name] for name in names})
