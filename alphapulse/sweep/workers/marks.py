"""Notes of a worker that survive it, kept by the head of its cluster: when a trial began, and what ended it."""

import contextlib
import sys
import time
from typing import NamedTuple

NAMESPACE = b"alphapulse"
CANCELLED = "cancelled"


class Mark(NamedTuple):
    """What a worker has left behind.

    Attributes
    ----------
    seconds : float
        Since it began [s], by the clock of its own machine and of this one.
    reason : str
        Why it ended itself; empty where it did not.
    """

    seconds: float
    reason: str


def leave(name: str, reason: str = "") -> None:
    """Note that what is called `name` begins now, or ends for a reason."""
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

    key = name.encode()
    with contextlib.suppress(Exception):
        began = str(time.time()).encode()
        if reason:
            began = (_internal_kv_get(key, namespace=NAMESPACE) or began).partition(b" ")[0]
        _internal_kv_put(key, began + b" " + reason.encode(), overwrite=True, namespace=NAMESPACE)


def tell(name: str, text: str) -> None:
    """Note a text under `name`, in place of the one before."""
    from ray.experimental.internal_kv import _internal_kv_put

    with contextlib.suppress(Exception):
        _internal_kv_put(name.encode(), text.encode(), overwrite=True, namespace=NAMESPACE)


def told(name: str) -> str:
    """Return the text that `tell` noted under `name`; empty where there is none, or no Ray."""
    if "ray" not in sys.modules:
        return ""
    from ray.experimental.internal_kv import _internal_kv_get

    with contextlib.suppress(Exception):
        return (_internal_kv_get(name.encode(), namespace=NAMESPACE) or b"").decode()
    return ""


def collect(name: str) -> Mark | None:
    """Return the note of `name` and remove it; None where there is none."""
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get

    with contextlib.suppress(Exception):
        value: bytes | None = _internal_kv_get(name.encode(), namespace=NAMESPACE)
        if value:
            _internal_kv_del(name.encode(), namespace=NAMESPACE)
            began, _, reason = value.decode().partition(" ")
            return Mark(time.time() - float(began), reason)
    return None
