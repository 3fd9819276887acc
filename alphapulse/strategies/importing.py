"""Import of a user's module from the user's folder, as it is now."""

import hashlib
import importlib
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from alphapulse.compiling import source_hash
from alphapulse.errors import StrategyError, did_you_mean
from alphapulse.strategies.sources import (
    PACKAGE,
    find_source,
    hash_sources,
    own_sources,
    packed_sources,
    unpack_sources,
)

# Source of each module that was imported here, by name: path and hash at the time.
_imported: dict[str, tuple[Path, str]] = {}
_lock = threading.RLock()


def import_module(module: str, folder: Path, *, fresh: bool = False) -> tuple[ModuleType, str]:
    """Import `module` from `folder`, or else from the installed packages.

    A module of the folder that changed since this process imported it is imported anew, with everything of
    the folder that it imports. Other modules are imported once a process, as Python does.

    Parameters
    ----------
    module : str
        Full name.
    folder : Path
        Absolute path; stays on `sys.path`, for imports that happen later.
    fresh : bool
        Import a second time, beside what is imported already, so that nothing is remembered.

    Returns
    -------
    module : ModuleType
    source_hash : str
        Of its source and of the user's own source that it imports, see `own_sources`; of all of alphapulse where
        the module is a part of it; empty where there is no source.

    Raises
    ------
    StrategyError
        If it does not exist, raises, or is hidden by another module.
    """
    with _lock:
        if module.partition(".")[0] == PACKAGE:
            return _import_installed(module, folder), source_hash()
        imported = own_sources(folder, module)
        found_hash = hash_sources(imported) if imported else ""
        sources = {name: source for name, source in imported.items() if source[0].is_relative_to(folder)}
        if module not in sources:
            return _import_installed(module, folder), found_hash
        kept = {name: sys.modules[name] for name in sources if name in sys.modules} if fresh else {}
        _forget_stale(module, sources)
        for name in kept:
            sys.modules.pop(name, None)
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        written = sys.dont_write_bytecode
        # A .pyc is trusted by size and second, so one written now could hide an edit made now.
        sys.dont_write_bytecode = True
        try:
            loaded = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise _import_failure(module, folder, error) from error
        finally:
            sys.dont_write_bytecode = written
            sys.modules.update(kept)
        if not kept:
            for name, (path, content) in sources.items():
                if name in sys.modules:
                    _imported[name] = (path, hashlib.sha256(content).hexdigest())
        return loaded, found_hash


def module_of(path: str, folder: Path) -> str:
    """Return the module that a dotted path of something in it begins with."""
    parts = path.split(".")
    depths: Iterable[int] = range(len(parts) - 1, 0, -1)
    depth = next((d for d in depths if find_source(folder, ".".join(parts[:d]))), len(parts) - 1)
    return ".".join(parts[:depth])


def packed(path: str, folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return the sources behind a dotted path as they travel to another machine; empty for a part of alphapulse."""
    return {} if path.partition(".")[0] == PACKAGE else packed_sources(folder, module_of(path, folder))


def folder_of_same(path: str, search_path: str, source_hash: str, sources: Mapping[str, tuple[str, bytes]]) -> str:
    """Return the folder to import from: `search_path` if its source is the same here, else a new one with `sources`.

    Parameters
    ----------
    path, search_path : str
    source_hash : str
        Of the source where it came from.
    sources : mapping
        That source, see `packed`.
    """
    if not sources:
        return search_path
    folder = Path(search_path)
    here = own_sources(folder, module_of(path, folder))
    return search_path if here and hash_sources(here) == source_hash else str(unpack_sources(sources, source_hash))


def import_object(path: str, folder: Path, *, fresh: bool = False) -> tuple[Any, str]:
    """Import what stands at a dotted path in a module of `folder` or an installed one; see `import_module`.

    Returns
    -------
    subject : object
    source_hash : str
        Of its module.

    Raises
    ------
    StrategyError
        If the module cannot be imported, or has nothing of this name.
    """
    parts, name = path.split("."), module_of(path, folder)
    depth = name.count(".") + 1
    module, source_hash = import_module(name, folder, fresh=fresh)
    subject: Any = module
    for place, part in enumerate(parts[depth:], start=depth):
        if not hasattr(subject, part):
            owner = ".".join(parts[:place])
            known = [n for n, v in vars(subject).items() if callable(v) and not n.startswith("_")]
            hint = did_you_mean(part, known) or f"; it was read from {getattr(module, '__file__', folder)}."
            raise StrategyError(f"{owner} has no {part!r}{hint}")
        subject = getattr(subject, part)
    return subject, source_hash


def _forget_stale(module: str, sources: Mapping[str, tuple[Path, bytes]]) -> None:
    stale = False
    for name, (path, content) in sources.items():
        loaded = sys.modules.get(name)
        if loaded is None:
            continue
        known = _imported.get(name)
        if known is not None:
            stale = stale or known != (path, hashlib.sha256(content).hexdigest())
        elif name == module and Path(getattr(loaded, "__file__", None) or ".").resolve() != path.resolve():
            where = getattr(loaded, "__file__", None) or "the standard library"
            raise StrategyError(f"{path} is hidden by another module named {name!r} ({where}); rename the file.")
    if stale:
        for name in [n for n in sources if n in _imported]:
            sys.modules.pop(name, None)


def _import_installed(module: str, folder: Path) -> ModuleType:
    top = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise _import_failure(module, folder, error) from error
        beside = [p.stem for p in sorted(folder.glob("*.py"))] + [p.parent.name for p in folder.glob("*/__init__.py")]
        hint = did_you_mean(top, beside)
        hint = hint or "; run from the folder of your file."
        looked = f"looked in {folder} and in the installed packages"
        raise StrategyError(f"No module {error.name!r}: {looked}{hint}") from None
    except (Exception, SystemExit) as error:
        raise _import_failure(module, folder, error) from error


def _import_failure(module: str, folder: Path, error: BaseException) -> StrategyError:
    if isinstance(error, ModuleNotFoundError):
        return StrategyError(f"{module} imports {error.name!r}, which is neither in {folder} nor installed.")
    if isinstance(error, SyntaxError):
        return StrategyError(f"Cannot import {module}: {error.msg} ({error.filename}, line {error.lineno}).")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})" if trace is not None else ""
    return StrategyError(f"Cannot import {module}: {type(error).__name__}: {' '.join(str(error).split())}{where}.")
