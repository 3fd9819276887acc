"""Keys that count under a condition alone: in `when`, and what an inactive one is in a trial."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.choices import frozen
from alphapulse.search.dimensions import Dimension
from alphapulse.search.expressions import Expression, read_condition
from alphapulse.typing import Float64Array1D


def read_conditions(
    when: Mapping[str, str], swept: Iterable[str], values: Mapping[str, Any]
) -> tuple[dict[str, Expression], frozenset[str]]:
    """Read under which conditions swept keys are active.

    A key is inactive, too, where a key that its condition asks for is. A condition of a key that is not swept says
    nothing.

    Parameters
    ----------
    when : mapping of str to str
        Conditions over dotted keys, by dotted key.
    swept : iterable of str
    values : mapping of str to value
        Every key that there is with the value that it has where it is not swept.

    Returns
    -------
    conditions : dict of str to Expression
        Those that a trial decides, by key; what a condition asks for comes before it.
    idle : frozenset of str
        Swept keys that no trial can make active, since what their conditions ask for is fixed.

    Raises
    ------
    ConfigError
        If a key is unknown, a text is no condition over keys, or a key depends on itself.
    """
    keys = set(swept)
    read: dict[str, Expression] = {}
    for key in sorted(when):
        if key not in values:
            hint = did_you_mean(key, values) or f"; swept are {', '.join(sorted(keys))}"
            raise ConfigError(f"`when` must name keys that can be swept, but got {key!r}{hint}")
        condition = read_condition(when[key], f"when {key}", list(values))
        if key in keys:
            read[key] = condition
    found: dict[str, Expression] = {}
    idle: set[str] = set()
    for key in _in_order(read):
        names = read[key].names
        if idle.intersection(names):
            idle.add(key)
        elif keys.intersection(names):
            found[key] = read[key]
        elif not np.all(read[key].evaluate(values)):
            idle.add(key)
    return found, frozenset(idle)


def _in_order(conditions: Mapping[str, Expression]) -> list[str]:
    """Return the keys, each after those that its condition asks for."""
    order: list[str] = []

    def visit(key: str, path: tuple[str, ...]) -> None:
        if key in path:
            chain = " -> ".join((*path[path.index(key) :], key))
            raise ConfigError(f"`when` of {key} must not depend on the key itself, but got {chain}")
        if key not in order:
            for name in conditions[key].names:
                if name in conditions:
                    visit(name, (*path, key))
            order.append(key)

    for key in conditions:
        visit(key, ())
    return order


def filled_column(dimension: Dimension, parameters: Float64Array1D, otherwise: Any) -> np.ndarray | list[Any]:
    """Return the values of parameters (n_trials,), `otherwise` where a trial has none, which is NaN."""
    missing = np.isnan(parameters)
    if not missing.any():
        return dimension.column(parameters)
    column = dimension.column(np.where(missing, dimension.bounds[0], parameters))
    value = frozen(otherwise)
    is_alike = (
        not isinstance(value, tuple) and isinstance(column, np.ndarray) and column.dtype == np.asarray(value).dtype
    )
    if isinstance(column, np.ndarray) and (column.dtype == object or is_alike):
        column = column.copy()
        for row in np.flatnonzero(missing).tolist():
            column[row] = value
        return column
    items = column.tolist() if isinstance(column, np.ndarray) else column
    filled = [value if is_missing else item for item, is_missing in zip(items, missing, strict=True)]
    if not isinstance(value, tuple):
        return filled
    objects = np.empty(len(filled), dtype=object)
    for row, item in enumerate(filled):
        objects[row] = item
    return objects
