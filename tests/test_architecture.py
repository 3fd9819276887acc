"""The shape of the package: imports point downward, the hot path stays light, the environment is read in one place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "alphapulse"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# From the bottom up; a module belongs to the layer with the longest matching prefix.
LAYERS = (
    ("words", "alphapulse.errors alphapulse.typing alphapulse.compiling alphapulse.numerics"),
    (
        "computation",
        "alphapulse.strategies alphapulse.backtesting.models alphapulse.market.market "
        "alphapulse.backtesting.trial alphapulse.backtesting.kernel alphapulse.backtesting.metrics "
        "alphapulse.backtesting.batch alphapulse.market.calendar alphapulse.market.joining "
        "alphapulse.search.space",
    ),
    ("faces", "alphapulse.backtesting.signal_processor alphapulse.backtesting.backtester"),
    ("services", "alphapulse.config alphapulse.data_pipeline alphapulse.backtesting alphapulse.validation"),
    ("sweep parts", "alphapulse.sweep"),
    ("runs", "alphapulse.commands.sweep"),
    (
        "entry points",
        "alphapulse.__main__ alphapulse.sweep.__main__ alphapulse.download alphapulse.backtest alphapulse.replay "
        "alphapulse.report alphapulse.dashboard alphapulse.db",
    ),
)
HOT_PATH = (
    "alphapulse.strategies",
    "alphapulse.numerics",
    "alphapulse.backtesting.kernel",
    "alphapulse.backtesting.metrics",
    "alphapulse.backtesting.batch",
    "alphapulse.search.space",
    "alphapulse.sweep.experiment",
    "alphapulse.sweep.worker",
)
HEAVY = {"pandas", "sqlalchemy", "optuna", "hydra", "omegaconf", "asyncpg", "psycopg", "quantstats"}
MOST_LINES = 450


def _below(module: str, prefix: str) -> bool:
    # kernel covers kernel_state beside it.
    return module == prefix or module.startswith((f"{prefix}.", f"{prefix}_"))


def _layer(module: str) -> int:
    matching = [
        (len(prefix), place)
        for place, (_, prefixes) in enumerate(LAYERS)
        for prefix in prefixes.split()
        if _below(module, prefix)
    ]
    return max(matching)[1] if matching else 0


def _imports(module: str, *, at_import: bool = False) -> set[str]:
    """Return what a module imports: anywhere in it, or only what its own import triggers."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    names: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
        pending.extend(ast.iter_child_nodes(node))
    return names


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    layer = _layer(module)
    for name in _imports(module):
        if name in MODULES and name != "alphapulse":
            assert _layer(name) <= layer, (
                f"{module} ({LAYERS[layer][0]}) must not import {name} ({LAYERS[_layer(name)][0]}), which is above it"
            )


def test_strategies_and_engine_do_not_know_each_other() -> None:
    for module in MODULES:
        for name in _imports(module):
            if _below(module, "alphapulse.strategies"):
                assert not _below(name, "alphapulse.backtesting"), f"{module} imports {name}"
            if any(_below(module, f"alphapulse.backtesting.{part}") for part in ("kernel", "metrics", "batch")):
                assert not _below(name, "alphapulse.strategies") or name == "alphapulse.strategies.base", (
                    f"{module} imports {name}"
                )


def test_imports_have_no_circle() -> None:
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"circle: {' -> '.join((*above, module))}"
        if module in done:
            return
        for name in _imports(module, at_import=True):
            if name in MODULES and name != module:
                visit(name, (*above, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", [m for m in MODULES if any(_below(m, prefix) for prefix in HOT_PATH)])
def test_hot_path_imports_nothing_heavy(module: str) -> None:
    assert not {name.partition(".")[0] for name in _imports(module)} & HEAVY


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


@pytest.mark.parametrize("module", MODULES)
def test_module_says_what_it_is_for(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source))
