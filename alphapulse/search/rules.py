"""What must hold between the keys of a search space, and when each of them counts, beside what it may be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alphapulse.search.conditions import read_conditions
from alphapulse.search.expressions import Expression, read_condition, rename


@dataclass(frozen=True)
class Rules:
    """Rules of a search space; a setting that breaks a constraint is never run.

    Attributes
    ----------
    constraints : tuple of Expression
        Conditions over keys.
    when : mapping of str to Expression
        Keys that are active under a condition alone; what a condition asks for comes before it.
    idle : frozenset of str
        Keys that are never active, and are not searched.
    fixed : mapping of str to value
        What a key is where it is not swept or not active, of all keys that the others name.
    """

    constraints: tuple[Expression, ...] = ()
    when: Mapping[str, Expression] = field(default_factory=dict, hash=False)
    idle: frozenset[str] = frozenset()
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_rules(
    constraints: Sequence[str],
    declared: Sequence[str],
    values: Mapping[str, Any],
    *,
    when: Mapping[str, str] | None = None,
    swept: Sequence[str] = (),
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
    when : mapping of str to str, optional
        Conditions under which keys are active, by key.
    swept : sequence of str
        The swept keys.
    origin : str
        What messages call the strategy.
    prefix : str
        What stands before the strategy's parameters in a key.

    Raises
    ------
    ConfigError
        If one is no condition, asks for a key that there is not, or makes a key depend on itself.
    """
    own = [name.removeprefix(prefix) for name in values if name.startswith(prefix)]
    add: Callable[[str], str] = lambda name: prefix + name  # noqa: E731
    theirs = [rename(read_condition(text, f"constraints of {origin}", own), add) for text in declared]
    users = [read_condition(text, "constraints", list(values)) for text in constraints]
    # The strategy's first; one that is typed as well counts once.
    found = tuple(dict.fromkeys([*theirs, *users]))
    active, idle = read_conditions(when or {}, swept, values)
    names = dict.fromkeys(name for condition in (*found, *active.values()) for name in condition.names)
    return Rules(found, active, idle, {name: values[name] for name in (*names, *active)})
