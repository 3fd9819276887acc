"""What a choice may be: a text, a number, a boolean, nothing, or a list of them, which is a tuple here."""

import re
from typing import Any

Choice = str | int | float | bool | None | tuple[Any, ...]


def frozen(value: Any) -> Any:
    """Return a value with a tuple for each list in it."""
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value


def is_same_choice(one: Choice, other: Choice) -> bool:
    """Return whether two choices are one setting: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(is_same_choice, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def shown_choice(choice: Choice) -> str:
    """Return a choice for messages and for Optuna, which keeps no lists."""
    return f"[{', '.join(map(shown_choice, choice))}]" if isinstance(choice, tuple) else str(choice)


def choice_text(choice: Choice) -> str:
    """Return a choice as Hydra's grammar reads it: texts within quotes, booleans as Python prints them."""
    if isinstance(choice, str):
        # Backslashes are plain text but before a quote, the closing one included, where they escape it.
        escaped = re.sub(r"(\\+)(?='|\Z)", r"\1\1", choice).replace("'", r"\'")
        return f"'{escaped}'"
    if isinstance(choice, tuple):
        return f"[{','.join(map(choice_text, choice))}]"
    return "null" if choice is None else str(choice)
