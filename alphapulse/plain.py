"""Any value as it is written elsewhere: in JSON, in Hydra's grammar, on a line that a shell can run."""

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

# What the grammar reads as it stands where a name is expected; a space or a bracket it does not.
_BARE = re.compile(r"[\w.^=+:/@%~-]+")

# What a key may hold that stands on the left of an override, and what a key inside braces has to escape.
_PLAIN_KEY = re.compile(r"[\w.-]+")
_SIGN = re.compile(r"([\\()\[\]{}:=, \t])")


def plain(value: Any) -> Any:
    """Return `value` in JSON's types, all the way down.

    Dataclasses and mappings become dictionaries with texts as keys; lists, tuples and arrays become lists; numpy's
    scalars become Python's. NaN and infinities, which JSON lacks, become None; what else it lacks becomes its text.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def in_quotes(text: str) -> str:
    """Return a text within quotes of the grammar, whatever is in it."""
    # Backslashes are plain text but before a quote, the closing one included, where they escape it.
    escaped = re.sub(r'(\\+)(?="|\Z)', r"\1\1", text).replace('"', r"\"")
    # What looks like an interpolation would be one, within quotes too.
    return '"' + escaped.replace("${", r"\${") + '"'


def command_line(name: str, **values: object) -> str:
    """Return `python -m alphapulse.NAME KEY=VALUE ...`, ready for a shell; "__" in a keyword is a dot in its key."""
    arguments = []
    for key, value in values.items():
        items = [_bare_or_quoted(str(item)) for item in (value if isinstance(value, list | tuple) else [value])]
        text = f"[{','.join(items)}]" if isinstance(value, list | tuple) else items[0]
        arguments.append(shlex.quote(f"{key.replace('__', '.')}={text}"))
    return " ".join([f"python -m alphapulse.{name}", *arguments])


def _bare_or_quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else in_quotes(text)


def override_lines(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return nested plain values as overrides of Hydra's grammar that give them back, every digit of them."""
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping) and all(_PLAIN_KEY.fullmatch(str(inner)) for inner in value):
            lines += override_lines(value, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key}={_in_grammar(value)}")
    return lines


def _in_grammar(value: Any) -> str:
    if isinstance(value, Mapping):
        escaped = {_SIGN.sub(r"\\\1", str(key)): item for key, item in value.items()}
        return f"{{{','.join(f'{key}:{_in_grammar(item)}' for key, item in escaped.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(_in_grammar(item) for item in value)}]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else in_quotes(str(value))
