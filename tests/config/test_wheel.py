import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


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


def test_wheel_has_its_resources_and_help(installed: Path, tmp_path: Path) -> None:
    code = "from alphapulse.config.resources import resource_dir as d; print(*map(d, ('conf', 'sweeps', 'migrations')))"
    folders = [Path(folder) for folder in _run(installed, tmp_path, "-c", code).split()]
    assert all(installed in folder.parents for folder in folders)
    assert _run(installed, tmp_path, "-m", "alphapulse.sweep", "--help").startswith("python -m alphapulse.sweep")
    assert "alphapulse.replay" in _run(installed, tmp_path, "-m", "alphapulse")
