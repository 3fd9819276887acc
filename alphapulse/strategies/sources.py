"""The source that a strategy is made of: the files of its module and of those that it imports, and their hash."""

import ast
import atexit
import functools
import hashlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path

PACKAGE = "alphapulse"
SITES = {"site-packages", "dist-packages"}

_unpacked: dict[str, Path] = {}


def find_source(folder: Path, module: str) -> Path | None:
    """Return the file of `module` below `folder`, or None."""
    base = folder.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_name(base.name + ".py")):
        if candidate.is_file():
            return candidate
    return None


def own_sources(folder: Path, module: str) -> dict[str, tuple[Path, bytes]]:
    """Return path and content of `module` and of every module of the user's own that it imports, by name.

    The user's own are the modules of `folder`, of packages that are installed as a link to their source, and of
    folders in PYTHONPATH. Of what an installer copied, only the package of `module` itself is looked at. Nothing of
    the standard library is opened, and nothing of alphapulse, which has a hash of its own.
    """
    own = module.partition(".")[0]
    specs: dict[str, ModuleSpec | None] = {}
    found: dict[str, tuple[Path, bytes]] = {}
    waiting, seen = [module], {module}
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top not in specs:
            specs[top] = _find_spec(top, even_installed=top == own)
        is_beside = top == own or (top != PACKAGE and SITES.isdisjoint(folder.parts))
        path = (find_source(folder, name) if is_beside else None) or _find_below(specs[top], name)
        if path is None:
            continue
        content = path.read_bytes() if path.is_relative_to(folder) else _as_imported(path)
        found[name] = (path, content)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        parents = name.split(".")
        above = {".".join(parents[:depth]) for depth in range(1, len(parents))}
        more = (above | _imports(content, package)) - seen
        seen |= more
        waiting += more
    return dict(sorted(found.items()))


def _find_spec(top: str, *, even_installed: bool) -> ModuleSpec | None:
    """Return where the import system finds a top-level module, or None if its source is not the user's."""
    if top == PACKAGE or top in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or even_installed:
        return spec
    holders = {Path(place).parent for place in (spec.origin, *(spec.submodule_search_locations or ())) if place}
    return None if any(map(_is_installers, holders)) else spec


def _find_below(spec: ModuleSpec | None, name: str) -> Path | None:
    """Return the file of `name`, whose top-level module has the specification `spec`, or None."""
    if spec is None:
        return None
    rest = name.partition(".")[2]
    if not rest:
        is_source = spec.origin is not None and spec.origin.endswith(".py") and Path(spec.origin).is_file()
        return Path(str(spec.origin)) if is_source else None
    found = (find_source(Path(place), rest) for place in spec.submodule_search_locations or ())
    return next((path for path in found if path is not None), None)


@functools.cache
def _is_installers(folder: Path) -> bool:
    """Whether an installer copies packages into `folder`."""
    return not SITES.isdisjoint(folder.parts) or any(folder.glob("*.dist-info"))


@functools.cache
def _as_imported(path: Path) -> bytes:
    # A module that is not of the folder is imported once a process, whatever becomes of its file.
    return path.read_bytes()


def _imports(content: bytes, package: str) -> set[str]:
    """Return the modules that a source may import, by full name."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if package else []
            above = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" if base else alias.name for alias in node.names}
    return {name for name in names if name}


def imported_packages(sources: Iterable[tuple[str, bytes]]) -> set[str]:
    """Return the top-level modules that sources import, without those of the standard library and of alphapulse."""
    names = {name.partition(".")[0] for _, content in sources for name in _imports(content, "")}
    return names - sys.stdlib_module_names - {PACKAGE}


def hash_sources(sources: Mapping[str, tuple[Path, bytes]]) -> str:
    """Return the hexadecimal SHA-256 of modules by name and content; where they lie does not count."""
    digest = hashlib.sha256()
    for name, (_, content) in sources.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def packed_sources(folder: Path, module: str) -> dict[str, tuple[str, bytes]]:
    """Return what `own_sources` finds as it travels: the file of each module, relative, and its content, by name."""
    packed = {}
    for name, (path, content) in own_sources(folder, module).items():
        place = name.replace(".", "/")
        packed[name] = (f"{place}/__init__.py" if path.name == "__init__.py" else f"{place}.py", content)
    return packed


def unpack_sources(sources: Mapping[str, tuple[str, bytes]], source_hash: str) -> Path:
    """Write sources that travelled into a folder of this process's own and return it.

    Nobody else can write there, and what another process left behind is not trusted.
    """
    if source_hash not in _unpacked:
        folder = Path(tempfile.mkdtemp(prefix="alphapulse-strategy-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for place, content in sources.values():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _unpacked[source_hash] = folder
    return _unpacked[source_hash]
