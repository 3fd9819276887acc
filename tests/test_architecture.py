"""The shape of the package, as docs/architecture.md draws it: floors, doors, faces, and what the hot path may load."""

import ast
import re
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "alphapulse"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}
MOST_LINES, MOST_FILES = 400, 15
MOST_PARAMETERS = 10


def block(kind: str) -> list[str]:
    """The lines of the page's fenced block of this kind."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"docs/architecture.md must have one block ```{kind}, but has {len(found)}"
    return found[0].splitlines()


FLOORS = [line.split() for line in reversed(block("floors"))]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ENTRIES = {f"{PACKAGE}.{line}" for line in block("entries")}
FACES = {(f"{PACKAGE}.{face}", room) for face, _, room in (line.partition(" -> ") for line in block("faces"))}
*HOT_LINES, HEAVY_LINE, DEMAND_LINE = block("light")
HOT = [f"{PACKAGE}.{pattern}" for line in HOT_LINES for pattern in line.split()]
HEAVY = set(HEAVY_LINE.removeprefix("without ").split())
DEMANDING_ROOM, _, DEMANDED = DEMAND_LINE.removeprefix("on demand").strip().partition(" -> ")


def room_of(module: str) -> str:
    """What stands in `floors` for a module: its package, or its own name on the ground."""
    return module.split(".")[1] if "." in module else ""


def is_hot(module: str) -> bool:
    return any(fnmatch(module, pattern) or module.startswith(f"{pattern}.") for pattern in HOT)


def _is_deferred(node: ast.AST) -> bool:
    """Whether what stands inside runs later than the import of its module, or never."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


@cache
def imports(module: str, *, at_load: bool = False) -> frozenset[str]:
    """Return all that a module imports, also under TYPE_CHECKING and inside functions unless `at_load`."""
    names: set[str] = set()
    pending: list[ast.AST] = [ast.parse(MODULES[module].read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if at_load and _is_deferred(node):
            continue
        pending.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
    return frozenset(names)


def inner_imports(module: str) -> list[str]:
    return sorted(name for name in imports(module) if name in MODULES and name not in (PACKAGE, module))


def test_page_names_what_there_is() -> None:
    rooms = {room_of(module) for module in MODULES if module not in ENTRIES} - {""}
    assert set(FLOOR_OF) == rooms
    assert set(MODULES) >= ENTRIES
    assert set(MODULES) >= {face for face, _ in FACES}
    for pattern in HOT:
        assert any(fnmatch(module, pattern) for module in MODULES), f"`light` names {pattern}, which is not there"


def test_page_points_at_files_and_names_that_are_there() -> None:
    sources = {
        path.as_posix(): path.read_text(encoding="utf-8") for path in [*MODULES.values(), *ROOT.glob("tests/**/*.py")]
    }
    for file, names in re.findall(r"`([\w/.]+\.py)`(?: \(((?:`[\w.]+`(?:, )?)+)\))?", PAGE):
        if "NAME" in file:
            continue
        found = [text for path, text in sources.items() if path.endswith(f"/{file}")]
        assert found, f"docs/architecture.md names {file}, which is not there"
        for name in re.findall(r"[\w.]+", names):
            assert any(re.search(rf"\b{name}\b", text) for text in found), f"{file} has no {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m != PACKAGE])
def test_rooms_import_from_floors_below_only(module: str) -> None:
    room = room_of(module)
    for name in inner_imports(module):
        assert name not in ENTRIES, f"{module} imports the entry point {name}"
        if module in ENTRIES or room_of(name) == room or (module, room_of(name)) in FACES:
            continue
        assert FLOOR_OF[room_of(name)] < FLOOR_OF[room], (
            f"{module} must not import {name}: {room_of(name)} is not on a floor below {room} in docs/architecture.md"
        )


def test_faces_are_used_and_thin() -> None:
    for face, room in FACES:
        assert any(room_of(name) == room for name in inner_imports(face)), f"{face} does not need its door to {room}"
        if FLOOR_OF[room] > FLOOR_OF[room_of(face)]:
            nodes = ast.parse(MODULES[face].read_text(encoding="utf-8")).body
            assert not any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in nodes), f"{face} must define nothing"


def test_imports_have_no_circle() -> None:
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"circle: {' -> '.join((*above[above.index(module) :], module))}"
        if module in done:
            return
        for name in inner_imports(module):
            visit(name, (*above, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", [m for m in MODULES if is_hot(m)])
def test_hot_path_imports_nothing_heavy(module: str) -> None:
    heavy = {name.partition(".")[0] for name in imports(module)} & HEAVY
    if room_of(module) == DEMANDING_ROOM:
        heavy -= {DEMANDED} - {name.partition(".")[0] for name in imports(module, at_load=True)}
    assert not heavy


def test_worker_loads_nothing_heavy() -> None:
    code = "import sys, alphapulse.sweep.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(loaded.stdout.split()) & (HEAVY | {"ray", "matplotlib"})


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['sweep', '--help']; runpy.run_module('alphapulse.sweep', run_name='__main__');"
        "print(*sys.modules, file=sys.stderr)"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in shown.stderr.split()}
    assert not loaded & {"pandas", "sqlalchemy", "optuna", "ray", "numba", "quantstats"}


@pytest.mark.parametrize("module", [m for m in MODULES if m != "alphapulse.config.settings"])
def test_environment_is_read_by_settings_alone(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not names & {"environ", "environb", "getenv"}


@pytest.mark.parametrize("module", MODULES)
def test_file_is_short_enough_to_read(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_no_room_is_crowded() -> None:
    # Doors are where people knock: a command is one more line of the page, not one more file of a room.
    inside = (path for module, path in MODULES.items() if path.name != "__init__.py" and module not in ENTRIES)
    crowd = Counter(path.parent.relative_to(ROOT) for path in inside)
    assert not {str(folder): n_files for folder, n_files in crowd.items() if n_files > MOST_FILES}


def test_signatures_are_short() -> None:
    long = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                n_parameters = sum(argument.arg not in ("self", "cls") for argument in arguments)
                if n_parameters > MOST_PARAMETERS:
                    long[f"{module}.{node.name}"] = n_parameters
    assert not long, f"more than {MOST_PARAMETERS} parameters: {long}"


@pytest.mark.parametrize("module", MODULES)
def test_module_says_what_it_is_for(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source))
