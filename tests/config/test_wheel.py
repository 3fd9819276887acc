import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from alphapulse.compiling import source_hash

ROOT = Path(__file__).parents[2]

# What a command's process opens until it shows its configuration, by how often.
START = """
import collections, json, runpy, sys
opened = collections.Counter()
def listen(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and not set(str(arguments[1])) & set("wax+"):
        opened[arguments[0]] += 1
sys.addaudithook(listen)
from alphapulse.strategies.resolve import resolve
resolve("long_short")
sys.argv = ["alphapulse.sweep", "--cfg", "job"]
runpy.run_module("alphapulse.sweep", run_name="__main__")
print(json.dumps(opened), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that holds the package as its wheel installs it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def _run(installed: Path, cwd: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_wheel_composes_from_any_directory(installed: Path, tmp_path: Path) -> None:
    shown = yaml.safe_load(_run(installed, tmp_path, "-m", "alphapulse.sweep", "strategy=sma_cross", "--cfg", "job"))
    assert shown["sweeps"] == "sma_cross_daily"
    assert shown["strategy"]["slow"] == 100
    assert list(tmp_path.iterdir()) == []


def test_wheel_brings_the_sample_with_its_source_and_licence(installed: Path, tmp_path: Path) -> None:
    code = "from alphapulse.data_pipeline.providers.sample_provider import FOLDER, SampleProvider as P; print(FOLDER)"
    shown = _run(installed, tmp_path, "-c", code + "; print(*(len(f.bars) for f in P().fetch([], [], None, None)))")
    folder, counts = shown.splitlines()
    assert installed in Path(folder).parents
    assert counts == "5031 5031"
    names = {path.name for path in Path(folder).iterdir()}
    assert names == {"README.md", "LICENSE.arch.md", "nasdaq_1d.csv.gz", "sp500_1d.csv.gz"}


def test_wheel_has_its_resources_and_help(installed: Path, tmp_path: Path) -> None:
    code = "from alphapulse.config.found import resource_dir as d; print(*map(d, ('conf', 'sweeps', 'migrations')))"
    folders = [Path(folder) for folder in _run(installed, tmp_path, "-c", code).split()]
    assert all(installed in folder.parents for folder in folders)
    assert _run(installed, tmp_path, "-m", "alphapulse.sweep", "--help").startswith("python -m alphapulse.sweep")
    assert "alphapulse.replay" in _run(installed, tmp_path, "-m", "alphapulse")


@pytest.fixture(scope="module")
def environment(installed: Path) -> Path:
    """Return the python of an environment that holds the package as its wheel does, among all that it needs."""
    folder = installed.parent / "environment"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    shutil.copytree(installed, site, dirs_exist_ok=True)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        # A path file would bring the checkout back.
        if entry.suffix != ".pth" and not entry.name.startswith("alphapulse"):
            (site / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def _opened(python: Path | str, cwd: Path, path: str) -> dict[str, int]:
    environment = os.environ | {"PYTHONPATH": path}
    ended = subprocess.run([python, "-c", START], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    opened: dict[str, int] = json.loads(ended.stderr.splitlines()[-1])
    return opened


def _own(opened: dict[str, int], *roots: Path) -> set[str]:
    """Return the files below the first of `roots` that holds each, bytecode by the name of its source."""
    names = set()
    for file in map(Path, opened):
        root = next((root for root in roots if file.is_relative_to(root)), None)
        if root is not None:
            folder = file.parent.parent if file.parent.name == "__pycache__" else file.parent
            names.add(f"{folder.relative_to(root)}/{file.name.partition('.')[0]}")
    return names


def test_wheel_starts_with_the_files_that_a_checkout_reads(environment: Path, tmp_path: Path) -> None:
    checkout = _opened(sys.executable, tmp_path, str(ROOT))
    wheel = _opened(environment, tmp_path, "")
    (site,) = environment.parents[1].glob("lib/python*/site-packages")
    package = site / "alphapulse"
    own = _own(wheel, package / "resources", package)
    assert own <= _own(checkout, ROOT / "alphapulse", ROOT)
    assert {"strategies/resolve", "conf/config"} <= own
    assert not _own(wheel, ROOT / "alphapulse")
    # Everything else that was installed: as often as in the checkout, so that nothing is followed or parsed.
    n_wheel = sum(n for file, n in wheel.items() if "site-packages" in file and not Path(file).is_relative_to(package))
    assert 0 < n_wheel <= sum(n for file, n in checkout.items() if "site-packages" in file)


def test_wheel_has_the_source_hash_of_the_checkout(environment: Path, tmp_path: Path) -> None:
    code = "from alphapulse.compiling import source_hash; print(source_hash())"
    ended = subprocess.run(
        [environment, "-c", code], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == source_hash()
