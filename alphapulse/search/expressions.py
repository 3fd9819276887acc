"""Expressions over named columns: `strategy.fast_window < strategy.slow_window`, `sharpe_ratio - 2*abs(max_drawdown)`.

They are read with Python's own grammar and hold no more than arithmetic, comparisons, `and`, `or`, `not`, `abs`, `min`,
`max`, numbers, texts and names; nothing is ever executed as code. Every operation is rounded the same way on every
processor, so that what is computed from a trial is the same in every worker.
"""

import ast
import functools
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from alphapulse.errors import ConfigError, did_you_mean

Column = Any
"""A value, or an array (n,) of one for each trial."""
_Evaluate = Callable[[Mapping[str, Column]], Column]

MOST_POWER: Final = 8
# Of a comparison of two equal sides that must differ: the least amount by which something can be broken.
TINY: Final = float(np.finfo(np.float64).tiny)
ALLOWED: Final = "arithmetic, comparisons, and, or, not, abs(), min(), max(), numbers, texts and names"

_ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": np.abs,
    "min": lambda *values: functools.reduce(np.minimum, values),
    "max": lambda *values: functools.reduce(np.maximum, values),
}
_ARGUMENTS: Final = {"abs": (1, 1), "min": (2, None), "max": (2, None)}


class _RefusedError(ValueError):
    """A text is no expression; its own words say why."""


@dataclass(frozen=True)
class Expression:
    """An expression as it was read; equal where its text is.

    Attributes
    ----------
    text : str
    names : tuple of str
        The columns that it asks for, each once, in order of appearance.
    """

    text: str
    names: tuple[str, ...] = field(compare=False)
    _tree: ast.expr = field(compare=False, repr=False)

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false rather than a number."""
        return _is_condition(self._tree)

    @property
    def is_order(self) -> bool:
        """Whether it is one order of two names or numbers, `a <= b`: it holds everywhere if it does at all bounds."""
        tree = self._tree
        if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
            return False
        sides = (tree.left, *tree.comparators)
        is_plain = all(isinstance(side, ast.Name | ast.Attribute | ast.Constant) for side in sides)
        return is_plain and isinstance(tree.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)

    def __reduce__(self) -> Any:
        return read_expression, (self.text,)

    def evaluate(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Return the value of the expression.

        Parameters
        ----------
        columns : mapping of str to array (n,) or value
            Each of `names` is there. A comparison with NaN is false, as is an order between a text and a number.

        Returns
        -------
        (n,) float64, or (n,) bool of a condition
            It has no axis where all columns are single values. Division by zero is inf or NaN.
        """
        with np.errstate(all="ignore"):
            result = np.asarray(_evaluate(self._tree, columns))
        return result if self.is_condition else result.astype(np.float64)

    def violation(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Return by how much the condition is broken: above 0 where it is, at most 0 where it holds.

        A comparison is broken by the difference of its sides, `and` by its worst part, `or` by its best. Where a side
        is NaN, nothing can be said, and the condition counts as broken by NaN.

        Returns
        -------
        (n,) float64
        """
        with np.errstate(all="ignore"):
            return np.asarray(_violation(self._tree, columns), dtype=np.float64)


def read_expression(text: str, key: str = "expression", names: Collection[str] | None = None) -> Expression:
    """Read an expression.

    Parameters
    ----------
    text : str
    key : str
        The key that it stands at, for the error.
    names : collection of str, optional
        The columns that there are; None allows any.

    Raises
    ------
    ConfigError
        If it is none, or asks for a column that there is not.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        found = list(dict.fromkeys(_names(tree)))
    except SyntaxError as error:
        raise ConfigError(f"`{key}` must be an expression, but got {text!r}: {error.msg}") from None
    except (_RefusedError, RecursionError, ValueError) as error:
        raise ConfigError(f"`{key}` must be an expression of {ALLOWED}, but got {text!r}: {error}") from None
    for name in found if names is not None else ():
        if name not in (names or ()):
            hint = did_you_mean(name, names or ()) or f"; known: {', '.join(names or ())}"
            raise ConfigError(f"`{key}` must be made of known names, but got {name!r} in {text!r}{hint}")
    return Expression(text, tuple(found), tree)


def read_condition(text: str, key: str = "expression", names: Collection[str] | None = None) -> Expression:
    """Read an expression that is true or false; see `read_expression`."""
    expression = read_expression(text, key, names)
    if not expression.is_condition:
        raise ConfigError(f"`{key}` must compare something, as in 'a < b', but got {text!r}")
    return expression


def rename(expression: Expression, change: Callable[[str], str]) -> Expression:
    """Return an expression that asks for other columns: `change` gives the new name of each."""

    class Renamed(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.parse(change(node.id), mode="eval").body

        def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
            return ast.parse(change(_name(node)), mode="eval").body

        def visit_Call(self, node: ast.Call) -> ast.expr:
            return ast.Call(node.func, [self.visit(argument) for argument in node.args], [])

    tree = Renamed().visit(ast.parse(expression.text.strip(), mode="eval").body)
    return read_expression(ast.unparse(ast.fix_missing_locations(tree)))


def _names(node: ast.expr) -> Sequence[str]:
    """Return the names below a node, with repetitions, after every part of it was allowed."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return []
        case ast.Name() | ast.Attribute():
            return [_name(node)]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            return _names(operand)
        case ast.BinOp(op=ast.Pow(), left=left, right=ast.Constant(value=int() as power)) if 0 <= power <= MOST_POWER:
            return _names(left)
        case ast.BinOp(op=ast.Pow()):
            raise _RefusedError(f"a power must be a whole number in [0, {MOST_POWER}]")
        case ast.BinOp(left=left, right=right) if type(node.op) in _ARITHMETIC:
            return [*_names(left), *_names(right)]
        case ast.BoolOp(values=values):
            return [name for value in values for name in _names(value)]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
            return [*_names(left), *(name for other in others for name in _names(other))]
        case ast.Call(func=ast.Name(id=function), args=args, keywords=[]) if function in _FUNCTIONS:
            least, most = _ARGUMENTS[function]
            if len(args) < least or (most is not None and len(args) > most):
                raise _RefusedError(f"{function}() takes {least if most == least else f'at least {least}'} of them")
            return [name for argument in args for name in _names(argument)]
        case ast.Call(func=function):
            raise _RefusedError(f"{ast.unparse(function)}() is no function here")
    raise _RefusedError(f"{ast.unparse(node)!r} is none of these")


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{_name(value)}.{attribute}"
    raise _RefusedError(f"{ast.unparse(node)!r} is no name")


def _is_condition(node: ast.expr) -> bool:
    match node:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Constant(value=bool()):
            return True
    return False


def _evaluate(node: ast.expr, columns: Mapping[str, Column]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return _column(columns[_name(node)])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_truth(operand, columns))
        case ast.UnaryOp(op=op, operand=operand):
            value = _evaluate(operand, columns)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(op=ast.Pow(), left=left, right=ast.Constant(value=int() as power)):
            # By multiplication, since the library's power is rounded by the processor's own means.
            return functools.reduce(operator.mul, [_evaluate(left, columns)] * power, 1.0)
        case ast.BinOp(op=op, left=left, right=right):
            return _ARITHMETIC[type(op)](_evaluate(left, columns), _evaluate(right, columns))
        case ast.BoolOp(op=op, values=values):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return functools.reduce(join, [_truth(value, columns) for value in values])
        case ast.Compare():
            return functools.reduce(np.logical_and, [held for _, held in _comparisons(node, columns)])
        case ast.Call(func=ast.Name(id=function), args=args):
            return _FUNCTIONS[function](*(_evaluate(argument, columns) for argument in args))
    raise AssertionError(f"{ast.unparse(node)} was not allowed")


def _truth(node: ast.expr, columns: Mapping[str, Column]) -> Any:
    value = np.asarray(_evaluate(node, columns))
    return value.astype(np.bool_)


def _column(values: Column) -> Any:
    """Return a column that numpy can compare: texts and missing values stay objects, numbers are float64."""
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    return array.astype(object)


def _comparisons(node: ast.Compare, columns: Mapping[str, Column]) -> list[tuple[tuple[Any, ast.cmpop, Any], Any]]:
    """Return the sides of each comparison of a chain and whether it holds."""
    sides = [_evaluate(part, columns) for part in (node.left, *node.comparators)]
    links = list(zip(sides, node.ops, sides[1:], strict=False))
    return [(link, _compare(*link)) for link in links]


def _compare(left: Any, op: ast.cmpop, right: Any) -> Any:
    if isinstance(op, ast.Eq | ast.NotEq):
        return _COMPARISONS[type(op)](np.asarray(left), np.asarray(right))
    compare = np.frompyfunc(lambda a, b: _ordered(op, a, b), 2, 1)
    if np.asarray(left).dtype.kind == "O" or np.asarray(right).dtype.kind == "O":
        return np.asarray(compare(left, right)).astype(np.bool_)
    return _COMPARISONS[type(op)](left, right)


def _ordered(op: ast.cmpop, left: Any, right: Any) -> bool:
    try:
        return bool(_COMPARISONS[type(op)](left, right))
    except TypeError:
        return False


def _violation(node: ast.expr, columns: Mapping[str, Column]) -> Any:
    match node:
        case ast.BoolOp(op=op, values=values):
            join = np.maximum if isinstance(op, ast.And) else np.fmin
            return functools.reduce(join, [_violation(value, columns) for value in values])
        case ast.Compare():
            return functools.reduce(np.maximum, [_excess(*link, held) for link, held in _comparisons(node, columns)])
    return np.where(_truth(node, columns), 0.0, 1.0)


def _excess(left: Any, op: ast.cmpop, right: Any, held: Any) -> Any:
    """Return by how much one comparison is broken."""
    left, right = np.asarray(left), np.asarray(right)
    if left.dtype.kind not in "biuf" or right.dtype.kind not in "biuf":
        return np.where(held, 0.0, 1.0)
    gap = np.asarray(left - right if isinstance(op, ast.Lt | ast.LtE) else right - left, dtype=np.float64)
    match op:
        case ast.Eq():
            gap = np.abs(gap)
        case ast.NotEq():
            gap = -np.abs(gap)
    # What must differ and is equal is broken, if by next to nothing.
    return np.where(np.isnan(gap), np.nan, np.where(held, np.minimum(gap, 0.0), np.maximum(gap, TINY)))
