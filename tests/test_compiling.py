"""Compiled code on disk: found again by what it was made of, and no trace in the settings of the process."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alphapulse import compiling

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "alphapulse"
NUMERICS = PACKAGE / "numerics.py"
# Functions of the C library; square roots, `floor` and the like are rounded one way everywhere.
LIBRARY = (
    "sin cos tan asin acos atan atan2 arcsin arccos arctan arctan2 sinh cosh tanh asinh acosh atanh arcsinh arccosh "
    "arctanh exp exp2 expm1 log log1p log2 log10 logaddexp logaddexp2 pow power float_power cbrt hypot erf erfc gamma "
    "lgamma fmod remainder"
)

STATE = """
import logging, os, pkgutil, signal, sys, warnings
import numba, numpy as np

def environment():
    # What polars tells the allocator that it alone has.
    return {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}

def state():
    return {name: repr(getattr(numba.config, name)) for name in dir(numba.config) if name.isupper()} | {
        "environment": environment(), "path": list(sys.path), "warnings": list(warnings.filters),
        "errors": np.geterr(), "logging": (logging.root.level, logging.root.handlers, logging.root.manager.disable),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "recursion": sys.getrecursionlimit(), "hook": sys.excepthook,
    }

before = state()
import alphapulse
for module in pkgutil.walk_packages(alphapulse.__path__, "alphapulse."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
after = state()
print([name for name in before if before[name] != after[name]])
"""

READS = """
import json, os, sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)
import alphapulse.backtesting.backtester, alphapulse.sweep.worker
own = os.path.dirname(alphapulse.__file__)
print(json.dumps([file for file in opened if isinstance(file, str) and file.startswith(own) and file.endswith(".py")]))
"""

CALL = """
import json
from alphapulse import compiling, numerics
numerics.exp(1.0)
stats = numerics.exp.stats
print(json.dumps([stats.cache_path, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""

FOLDER = """
from alphapulse import compiling
folder = compiling.cache_folder(compiling.PACKAGE / "numerics.py")
"""


def _run(code: str, home: Path, root: Path = ROOT) -> str:
    environment = os.environ | {"PYTHONPATH": str(root), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with the part of the package that `numerics` needs, which may be edited."""
    folder = tmp_path / "copy" / "alphapulse"
    folder.mkdir(parents=True)
    for name in ("__init__", "typing", "compiling", "numerics", "errors"):
        shutil.copy(PACKAGE / f"{name}.py", folder)
    return folder.parent


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the machine code of this process goes to for a test."""
    monkeypatch.setattr(compiling.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    return tmp_path / "alphapulse" / "compiled"


def test_import_changes_no_setting_of_the_process(tmp_path: Path) -> None:
    assert _run(STATE, tmp_path).strip() == "[]"


def test_import_hashes_no_source(tmp_path: Path) -> None:
    # Where there is no bytecode an import reads each file once; a hash would read it again.
    read = json.loads(_run(READS, tmp_path))
    assert len(read) == len(set(read))
    assert list(tmp_path.iterdir()) == []


def test_code_is_found_by_the_next_process_until_what_it_is_made_of_changes(copy: Path, tmp_path: Path) -> None:
    path, hits, misses = json.loads(_run(CALL, tmp_path, copy))
    assert (hits, misses) == (0, 1)
    assert Path(path).is_relative_to(tmp_path / "cache" / "alphapulse" / "compiled")
    edited = "# edited\n"
    with (copy / "alphapulse" / "errors.py").open("a") as file:
        file.write(edited)
    assert json.loads(_run(CALL, tmp_path, copy)) == [path, 1, 0]
    with (copy / "alphapulse" / "typing.py").open("a") as file:
        file.write(edited)
    after, hits, misses = json.loads(_run(CALL, tmp_path, copy))
    assert (hits, misses) == (0, 1)
    assert after != path


def test_code_is_made_of_all_that_its_file_imports_however_far() -> None:
    loop = PACKAGE / "backtesting" / "kernel" / "loop.py"
    names = {path.relative_to(PACKAGE).as_posix() for path in compiling.made_of(loop)}
    assert {"backtesting/kernel/loop.py", "backtesting/kernel/fills.py", "compiling.py", "typing.py"} <= names
    assert "search/space.py" not in names
    assert {name.partition("/")[0] for name in names} & {"config", "study", "sweep", "reports", "commands"} == set()


def test_code_imported_before_an_edit_is_kept_from_other_processes(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = compiling.cache_folder.__wrapped__(NUMERICS)
    assert shared.parent == caches
    stamps = {**compiling._STAMPS_AT_IMPORT, str(NUMERICS): (0, 0, 0)}
    assert stamps.keys() == compiling._STAMPS_AT_IMPORT.keys()
    monkeypatch.setattr(compiling, "_STAMPS_AT_IMPORT", stamps)
    own = compiling.cache_folder.__wrapped__(NUMERICS)
    assert own.is_dir()
    assert caches not in own.parents


def test_cache_folder_without_a_place_for_it_is_the_processs_own(caches: Path) -> None:
    caches.parent.write_text("no folder")
    own = compiling.cache_folder.__wrapped__(NUMERICS)
    assert own.is_dir()
    assert caches not in own.parents


def test_a_new_version_removes_those_that_are_gone(caches: Path) -> None:
    kept = compiling.cache_folder.__wrapped__(NUMERICS)
    series = kept.name.rpartition("-")[0]
    checkout = series.partition("-")[0]
    assert series == f"{checkout}-numerics"
    now = time.time()
    ages = {
        f"{series}-new": 1.0,
        f"{series}-older": 2.0,
        f"{series}-oldest": 3.0,
        f"{checkout}-market.surrogates-new": 4.0,
        "11111111-other": 20 * 86_400.0,
        "22222222-left": 31 * 86_400.0,
        "named-otherwise": 31 * 86_400.0,
    }
    for name, age in ages.items():
        (caches / name / "inside").mkdir(parents=True)
        os.utime(caches / name, (now - age, now - age))
    compiling.remove_old(caches, series)
    assert {f.name for f in caches.iterdir()} == {
        kept.name,
        f"{series}-new",
        f"{series}-older",
        f"{checkout}-market.surrogates-new",
        "11111111-other",
    }


def test_a_folder_in_use_counts_as_used(caches: Path) -> None:
    folder = compiling.cache_folder.__wrapped__(NUMERICS)
    os.utime(folder, (0.0, 0.0))
    assert compiling.cache_folder.__wrapped__(NUMERICS) == folder
    assert folder.stat().st_mtime > time.time() - 60


def test_a_process_outlives_its_folder(copy: Path, tmp_path: Path) -> None:
    code = f"import shutil\n{FOLDER}shutil.rmtree(folder)\n{CALL}shutil.rmtree(folder)\nprint(numerics.log(1.0))\n"
    path, answer = _run(code, tmp_path, copy).splitlines()
    assert json.loads(path)[2] == 1
    assert answer == "0.0"


def test_a_folder_that_cannot_be_written_to_costs_nothing_but_time(copy: Path, tmp_path: Path) -> None:
    code = f"{FOLDER}folder.rmdir()\nfolder.write_text('in the way')\n{CALL}"
    assert json.loads(_run(code, tmp_path, copy))[1:] == [0, 1]


def _is_jit(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("jit", "jit_borrowing", "jit_inside", "jit_inside_allocating")


def _compiled(tree: ast.Module) -> list[ast.FunctionDef]:
    """Return the functions of a module that are compiled: decorated, or handed over by name."""
    given = {
        call.args[0].id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _is_jit(call.func) and isinstance(call.args[0], ast.Name)
    }
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (node.name in given or any(map(_is_jit, node.decorator_list)))
    ]


def _library_calls(module: ast.Module) -> set[str]:
    """Return what the compiled functions of a module have of the C library."""
    taken = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module in ("math", "numpy")
        for alias in node.names
        if alias.name in LIBRARY.split()
    }
    found = set()
    for node in (node for function in _compiled(module) for node in ast.walk(function)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("math", "np"):
            found |= {f"{node.value.id}.{node.attr}"} if node.attr in LIBRARY.split() else set()
        elif isinstance(node, ast.Name):
            found |= {node.id} & taken
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Pow):
            found.add("**")
    return found


def test_compiled_functions_have_nothing_of_the_c_library() -> None:
    modules = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    assert {name: calls for name, module in modules.items() if (calls := _library_calls(module))} == {}
    assert sum(len(_compiled(module)) for module in modules.values()) > 50
    bad = "from math import exp\n@jit\ndef f(x):\n    return exp(x) + np.log(x) + x**2\n"
    assert _library_calls(ast.parse(bad)) == {"exp", "np.log", "**"}
