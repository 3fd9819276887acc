"""The one way this package compiles: numba, without fastmath, cached on disk by the hash of all source.

Numba renews a cached function when its own file changes, not when a constant or a callee in another
file does; a cache folder named after all of the package's source cannot serve stale code.
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import platformdirs

Function = TypeVar("Function", bound=Callable[..., Any])

PACKAGE = Path(__file__).parent


def source_hash() -> str:
    """Return the hexadecimal SHA-256 of every Python file of the package, by relative path and content."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_folder() -> Path:
    folder = Path(platformdirs.user_cache_dir("alphapulse")) / "compiled" / source_hash()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="alphapulse-compiled-"))
    return folder


numba.config.CACHE_DIR = str(_cache_folder())
# SVML would give `exp` and `log` other bits in a vector than alone.
numba.config.DISABLE_INTEL_SVML = 1


def jit(function: Function) -> Function:
    """Compile `function` to machine code whose bits do not depend on lane, batch or processor."""
    compiled: Function = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled


def jit_borrowing(function: Function) -> Function:
    """Compile like `jit` a function that allocates nothing and counts no references to the arrays it is lent.

    Counting is atomic and costs more than the arithmetic of a small function that is called for every fill.
    """
    compiled: Function = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True, _nrt=False)(function)
    return compiled
