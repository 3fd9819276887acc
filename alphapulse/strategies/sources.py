"""The source that a strategy is made of: the files of its module and of those that it imports, and their hash."""

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "alphapulse"


def find_source(folder: Path, module: str) -> Path | None:
    """Return the file of `module` below `folder`, or None."""
    base = folder.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_name(base.name + ".py")):
        if candidate.is_file():
            return candidate
    return None


def local_sources(folder: Path, module: str) -> dict[str, tuple[Path, bytes]]:
    """Return path and content of `module` and of every module of `folder` that it imports, by name."""
    found: dict[str, tuple[Path, bytes]] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in found else find_source(folder, name)
        if path is None:
            continue
        content = path.read_bytes()
        found[name] = (path, content)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        parents = name.split(".")
        waiting += [".".join(parents[:depth]) for depth in range(1, len(parents))]
        waiting += [n for n in _imports(content, package) if n.split(".")[0] != PACKAGE or module.startswith(PACKAGE)]
    return dict(sorted(found.items()))


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


def hash_sources(sources: Mapping[str, tuple[Path, bytes]]) -> str:
    """Return the hexadecimal SHA-256 of modules by name and content; where they lie does not count."""
    digest = hashlib.sha256()
    for name, (_, content) in sources.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
