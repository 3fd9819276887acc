"""The one way this package compiles: numba, without fastmath, cached on disk by the hash of what it is made of.

Numba renews a cached function when its own file changes, not when a constant or a callee in another file does. So
the machine code of a file lies in a folder named after that file and all of the package that it imports, however
far: nothing stale can be served, and an edit elsewhere compiles nothing again. The folder is looked for when a
function is first called: an import reads no source and sets nothing of numba's.
"""

import atexit
import contextlib
import functools
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
import platformdirs
from numba.core.caching import Cache, CompileResultCacheImpl, UserProvidedCacheLocator, _Cache
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])

PACKAGE = Path(__file__).parent
KEPT_VERSIONS = 3
KEPT_SECONDS = 30 * 86_400.0

_IMPORT = re.compile(r"^[ \t]*from (alphapulse[\w.]*) import (\([^)]*\)|[^(\n]+)", re.MULTILINE)


def _sources() -> Iterator[os.DirEntry[str]]:
    """Yield the Python files of the package, in no order; a wheel's `resources` are no code of it."""
    folders = [os.fspath(PACKAGE)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    yield entry
                elif entry.name not in ("__pycache__", "resources") and entry.is_dir():
                    folders.append(entry.path)


@functools.cache
def source_hash() -> str:
    """Return the hexadecimal SHA-256 of every Python file of the package, by relative path and content."""
    return _hash(sorted(Path(entry.path) for entry in _sources()))


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamps() -> dict[str, tuple[int, int, int]]:
    """Return inode, size and time of change of every Python file of the package, by path, without opening one."""
    return {entry.path: _stamp(entry.stat()) for entry in _sources()}


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


# Code that was imported before an edit must not be stored as that of the source after it.
_STAMPS_AT_IMPORT = _stamps()


def made_of(file: Path) -> list[Path]:
    """Return the files of the package that a file of it is made of: itself and what it imports, however far, sorted.

    Parameters
    ----------
    file : Path
        An absolute path below the package.
    """
    found, waiting = {file}, [file]
    while waiting:
        for module, names in _IMPORT.findall(waiting.pop().read_text(encoding="utf-8")):
            place = PACKAGE.joinpath(*module.split(".")[1:])
            members = [place / name.split()[0] for name in names.strip("()").split(",") if name.strip()]
            for target in (place, *members):
                for path in (target.with_suffix(".py"), target / "__init__.py"):
                    if path not in found and path.is_file():
                        found.add(path)
                        waiting.append(path)
    return sorted(found)


@functools.cache
def cache_folder(file: Path) -> Path:
    """Return the folder of the machine code of a file of the package, which exists.

    It is this process's own where the user's cache directory cannot be written to, or where the source changed
    after this module was imported.
    """
    sources = made_of(file)
    name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    if any(_stamp(path.stat()) != _STAMPS_AT_IMPORT.get(os.fspath(path)) for path in sources):
        return _own_folder(name)
    root = Path(platformdirs.user_cache_dir("alphapulse")) / "compiled"
    checkout = hashlib.sha256(os.fsencode(PACKAGE)).hexdigest()[:8]
    series = f"{checkout}-{name}"
    folder = root / f"{series}-{_hash(sources)[:16]}"
    try:
        is_new = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        # The time of the last use, by which old folders are told.
        os.utime(folder)
    except OSError:
        return _own_folder(name)
    if is_new:
        remove_old(root, series)
    return folder


def _own_folder(name: str) -> Path:
    folder = tempfile.mkdtemp(prefix=f"alphapulse-compiled-{name}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def remove_old(root: Path, series: str) -> None:
    """Remove the machine code of source that is gone.

    What stays are the KEPT_VERSIONS folders of one file of this checkout that were used last, and all others that
    were used within KEPT_SECONDS. A process whose folder is removed compiles again, and is not harmed.

    Parameters
    ----------
    root : Path
        Holds the folders, each named CHECKOUT-FILE-SOURCE.
    series : str
        What the names of the folders of this file begin with, CHECKOUT-FILE.
    """
    used = {folder: _last_use(folder) for folder in root.iterdir()}
    own = sorted((f for f in used if f.name.rpartition("-")[0] == series), key=lambda f: used[f], reverse=True)
    for folder in {*own[KEPT_VERSIONS:], *(f for f, at in used.items() if at < time.time() - KEPT_SECONDS)}:
        shutil.rmtree(folder, ignore_errors=True)


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        # Another process removed it a moment ago.
        return 0.0


class _Locator(UserProvidedCacheLocator):  # type: ignore[misc]
    def __init__(self, function: Any, file: str) -> None:
        super().__init__(function, file)
        self._cache_path = os.fspath(cache_folder(Path(file)))

    @classmethod
    def from_function(cls, function: Any, file: str) -> "_Locator":
        return cls(function, file)


class _Located(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _FolderCache(Cache):  # type: ignore[misc]
    _impl_class = _Located


class _LateCache(_Cache):  # type: ignore[misc]
    """The cache of a function in `cache_folder`, which is not looked for before the function is called.

    A full disk, or a folder that another process removes, costs a compilation and nothing else.
    """

    def __init__(self, function: Any) -> None:
        self._function = function

    @functools.cached_property
    def _found(self) -> Any:
        _load_numba()
        return _FolderCache(self._function)

    @property
    def cache_path(self) -> str:
        return str(self._found.cache_path)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with contextlib.suppress(OSError):
            return self._found.load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            self._found.save_overload(sig, data)

    def enable(self) -> None:
        self._found.enable()

    def disable(self) -> None:
        self._found.disable()

    def flush(self) -> None:
        self._found.flush()


@functools.cache
def _load_numba() -> None:
    """Import what numba compiles array code with, without scipy's linear algebra.

    Numba imports that only to see whether it is there: a third of a second in every process. Code that multiplies
    matrices imports it when it is compiled.
    """
    from numba.np import linalg

    ensure_blas = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        linalg.ensure_blas = ensure_blas


def is_on_disk(function: Callable[..., Any]) -> bool:
    """Return whether machine code of a function of `jit` was stored by a process with the source of this one."""
    plain = getattr(function, "py_func", function)
    folder = cache_folder(Path(plain.__code__.co_filename))
    return any(folder.glob(f"*{plain.__qualname__}-*.nbc"))


def jit(function: Function) -> Function:
    """Compile `function` to machine code whose bits do not depend on lane, batch or processor.

    It must not call functions of the C library (`exp`, `log`, `sin`, `**` ...), whose bits differ between builds
    and, where numba has a vector library, between lanes; `alphapulse.numerics` has what takes their place.
    """
    return _cached(function, numba.njit(nogil=True, error_model="numpy")(function))


def jit_borrowing(function: Function) -> Function:
    """Compile like `jit` a function that allocates nothing and counts no references to the arrays it is lent.

    Counting is atomic and costs more than the arithmetic of a small function that is called for every fill.
    """
    return _cached(function, numba.njit(nogil=True, error_model="numpy", forceinline=True, _nrt=False)(function))


def jit_inside(function: Function) -> Function:
    """Compile like `jit_borrowing` a function that only compiled code calls: into each of its callers.

    It has no machine code of its own, no file in the cache and no way in from Python, which are two fifths of what
    compiling takes. Called from Python it is the plain function.
    """
    return _inside(function, forceinline=True, _nrt=False)


def jit_inside_allocating(function: Function) -> Function:
    """Compile like `jit_inside` a function that allocates arrays, or is called from too many places to be inlined."""
    return _inside(function)


def _inside(function: Function, **options: bool) -> Function:
    wanted = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **options}
    found: Any = register_jitable(**wanted)(function)
    # It looks like any other: this tells it apart.
    found.is_compiled = True
    inside: Function = found
    return inside


def _cached(function: Function, compiled: Any) -> Function:
    compiled._cache = _LateCache(function)
    found: Function = compiled
    return found
