"""A strategy of a notebook's cell or of a script as a module of its own, which workers and later commands can import.

Its source is written down with what it names: other functions and classes of the cell or script, imported modules, and
the values that it has captured. Its identity is that text, so that an edit makes another strategy.
"""

import ast
import contextlib
import hashlib
import inspect
import linecache
import symtable
import sys
import textwrap
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphapulse.config.settings import CELL_PREFIX, cells_folder
from alphapulse.errors import StrategyError

MOST_VALUES = 10_000
ATOMS = (bool, int, float, complex, str, bytes, type(None))


def target_of(strategy: Any) -> str:
    """Return the dotted path of a strategy: of a text as it is, of a class or function where it can be imported from.

    A class or function of `__main__`, of a notebook's cell, or defined inside a function is written to a module of
    its own in the data directory first.

    Raises
    ------
    StrategyError
        If its source cannot be had, or names something that cannot be written down.
    """
    if isinstance(strategy, str):
        return strategy
    subject = getattr(strategy, "py_func", strategy)
    if not (inspect.isclass(subject) or inspect.isfunction(subject)):
        kind = type(strategy).__name__
        raise StrategyError(f"A strategy must be a class, a function or a dotted path, but got a {kind}.")
    if _is_importable(subject):
        return f"{subject.__module__}.{subject.__qualname__}"
    return _write(strategy, subject)


def _is_importable(subject: Any) -> bool:
    if subject.__module__ == "__main__" or "<locals>" in subject.__qualname__:
        return False
    module = sys.modules.get(subject.__module__)
    return module is not None and getattr(module, "__file__", None) is not None


def _write(strategy: Any, subject: Any) -> str:
    parts: dict[str, str] = {}
    _collect(subject.__name__, strategy, parts, (), subject.__module__)
    text = "\n\n".join(parts.values()) + "\n"
    name = f"{CELL_PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder = cells_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    if not path.exists():
        # Whole or not at all: another process may be about to import it.
        partial = path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return f"{name}.{subject.__name__}"


def _collect(name: str, value: Any, parts: dict[str, str], above: tuple[str, ...], home: str) -> None:
    """Add the text that defines `name` as `value` to `parts`, after those that it needs.

    What stands in the module `home` beside the strategy is written down; what is elsewhere is imported.
    """
    if name in parts or name in above:
        return
    subject = getattr(value, "py_func", value)
    if isinstance(value, types.ModuleType):
        parts[name] = f"import {value.__name__} as {name}"
    elif (inspect.isclass(subject) or inspect.isroutine(subject)) and not _is_own(subject, home):
        module, qualified = getattr(subject, "__module__", None), getattr(subject, "__qualname__", name)
        if module is None or "." in qualified or "<" in qualified:
            raise StrategyError(f"{_last(above)} uses {name}, which cannot be imported by a name.")
        parts[name] = f"from {module} import {qualified} as {name}"
    elif inspect.isclass(subject) or inspect.isfunction(subject):
        text = _source(subject)
        scope = _scope(subject)
        for used in _names(text):
            if used in scope and used != name:
                _collect(used, scope[used], parts, (*above, name), home)
        parts[name] = text if subject.__name__ == name else f"{text}\n{name} = {subject.__name__}"
    else:
        parts[name] = f"{name} = {_literal(name, value, above)}"


def _is_own(subject: Any, home: str) -> bool:
    """Whether its source is to be written down: it stands beside the strategy, or nobody else could import it."""
    module = getattr(subject, "__module__", None)
    return module in sys.modules and (module == home or not _is_importable(subject)) and not inspect.isbuiltin(subject)


def _source(subject: Any) -> str:
    try:
        text = _class_of_cell(subject) or inspect.getsource(subject)
    except (OSError, TypeError) as error:
        raise StrategyError(
            f"The source of {subject.__qualname__} cannot be read; put it into a file and import it from there."
        ) from error
    return textwrap.dedent(text).strip()


def _class_of_cell(subject: Any) -> str | None:
    """Return the source of a class of a notebook's cell, by the cell of its methods; None for anything else.

    Before Python 3.13 `inspect` looks for a class in the file of its module, and a notebook has none.
    """
    if not inspect.isclass(subject) or getattr(sys.modules.get(subject.__module__), "__file__", None) is not None:
        return None
    codes = [member.__code__ for member in vars(subject).values() if inspect.isfunction(member)]
    # What a dataclass makes has no cell; without a method it is the last class of this name.
    cells = [(code.co_filename, code.co_firstlineno) for code in codes if linecache.getlines(code.co_filename)]
    for cell, line in cells or [(cell, 0) for cell in reversed(linecache.cache)]:
        lines = linecache.getlines(cell)
        for node in _classes(subject.__name__, "".join(lines)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if not line or first <= line <= (node.end_lineno or 0):
                return "".join(lines[first - 1 : node.end_lineno])
    return None


def _classes(name: str, text: str) -> list[ast.ClassDef]:
    """Return the classes of a name in a text, the last first; none where the text is no Python."""
    with contextlib.suppress(SyntaxError):
        return [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef) and n.name == name][::-1]
    return []


def _scope(subject: Any) -> Mapping[str, Any]:
    """Return what the names in a class or function stand for: globals, and what its functions have captured."""
    found: dict[str, Any] = {}
    members = list(vars(subject).values()) if inspect.isclass(subject) else [subject]
    functions = [getattr(m, "__func__", getattr(m, "fget", m)) for m in members]
    module = sys.modules.get(subject.__module__)
    found |= vars(module) if module is not None else {}
    for function in functions:
        if inspect.isfunction(function):
            found |= function.__globals__
    for function in functions:
        if inspect.isfunction(function) and function.__closure__:
            for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
                try:
                    found[name] = cell.cell_contents
                except ValueError:
                    continue
    return found


def _names(text: str) -> list[str]:
    """Return the names that a class or function takes from outside; its arguments and what it assigns are its own."""
    found: set[str] = set()
    waiting = [symtable.symtable(text, "<strategy>", "exec")]
    while waiting:
        table = waiting.pop()
        is_outermost = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (not symbol.is_assigned() if is_outermost else symbol.is_global()):
                found.add(symbol.get_name())
        waiting += table.get_children()
    return sorted(found)


def _literal(name: str, value: Any, above: tuple[str, ...]) -> str:
    """Return an expression that gives a captured value back."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size <= MOST_VALUES:
        return f"__import__('numpy').array({_literal(name, value.tolist(), above)}, dtype={value.dtype.str!r})"
    if isinstance(value, float) and not np.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, ATOMS):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        inner = ", ".join(_literal(name, item, above) for item in value)
        kind = type(value).__name__
        return f"{kind}([{inner}])"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_literal(name, k, above)}: {_literal(name, v, above)}" for k, v in value.items())
        return f"{{{pairs}}}"
    raise StrategyError(
        f"{_last(above)} uses {name}, a {type(value).__name__}, which cannot be written down; make it a parameter, a "
        "plain value, or put the strategy into a file."
    )


def _last(above: tuple[str, ...]) -> str:
    return above[-1] if above else "The strategy"
