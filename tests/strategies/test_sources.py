"""What a strategy's hash covers: the user's own source, wherever it is, and nothing that was installed."""

import importlib.util
import sys
from pathlib import Path

import pytest

from alphapulse.compiling import source_hash
from alphapulse.strategies.resolve import resolve
from alphapulse.strategies.sources import own_sources

USER = """
import json, numpy, numba.core.caching
from alphapulse.strategies import sma_cross
from beside import VALUE
import linked.deep.values, copied, target_copy

def f(close):
    return close * 0
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write modules below the folders of a user: project, editable package, two folders that installers fill."""
    modules = set(sys.modules)

    def write(path: str, text: str = "") -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    for folder in ("lib", "site-packages", "target"):
        (tmp_path / folder).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    (tmp_path / "target" / "target_copy-1.0.dist-info").mkdir()
    yield write
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_own_sources_are_the_folder_and_linked_packages(write, tmp_path):
    user = write("project/user.py", USER)
    beside = write("project/beside.py", "import deeper\nVALUE = 1\n")
    deeper = write("project/deeper.py")
    linked = write("lib/linked/__init__.py")
    deep = write("lib/linked/deep/__init__.py", "from ..own import x\n")
    values = write("lib/linked/deep/values.py")
    own = write("lib/linked/own.py", "import user, copied\nx = 1\n")
    write("lib/linked/unused.py")
    write("site-packages/copied/__init__.py", "import linked.unused\n")
    write("target/target_copy.py", "import linked.unused\n")
    found = own_sources(tmp_path / "project", "user")
    assert {name: path for name, (path, _) in found.items()} == {
        "user": user,
        "beside": beside,
        "deeper": deeper,
        "linked": linked,
        "linked.deep": deep,
        "linked.deep.values": values,
        "linked.own": own,
    }
    assert found["user"][1] == USER.encode()


def test_own_sources_follow_a_finder_that_maps_a_package_elsewhere(write, tmp_path, monkeypatch):
    write("project/user.py", "import mapped.part\n")
    init = write("elsewhere/src/__init__.py")
    part = write("elsewhere/src/part.py")

    class Finder:
        def find_spec(self, name, path=None, target=None):
            folders = [str(init.parent)]
            return (
                importlib.util.spec_from_file_location(name, init, submodule_search_locations=folders)
                if name == "mapped"
                else None
            )

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    found = own_sources(tmp_path / "project", "user")
    assert {name: found[name][0] for name in ("mapped", "mapped.part")} == {"mapped": init, "mapped.part": part}


def test_own_sources_of_an_installed_strategy_are_its_package(write, tmp_path):
    write("site-packages/bought/__init__.py", "import numpy\n")
    write("site-packages/bought/rules.py", "import bought.parts\nimport copied\nimport linked\n")
    write("site-packages/bought/parts.py")
    write("site-packages/copied.py")
    linked = write("lib/linked.py")
    found = own_sources(tmp_path / "project", "bought.rules")
    assert set(found) == {"bought", "bought.rules", "bought.parts", "linked"}
    assert found["linked"][0] == linked
    # The same from a working directory among the installed packages.
    assert own_sources(tmp_path / "site-packages", "bought.rules") == found


@pytest.mark.parametrize("module", ["random", "alphapulse.strategies.sma_cross", "nowhere.at_all"])
def test_own_sources_of_what_is_nobodys_are_none(module, tmp_path):
    assert own_sources(tmp_path, module) == {}


def test_source_hash_covers_linked_packages_as_they_were_imported(write, tmp_path):
    folder = write("project/uses.py", "import mine\n\n\ndef f(close):\n    return close * mine.VALUE\n").parent
    write("lib/mine.py", "VALUE = 1\n")
    first = resolve("uses.f", str(folder))
    # What this process has imported stays, and so does its hash.
    write("lib/mine.py", "VALUE = 2\n")
    assert resolve("uses.f", str(folder)).source_hash == first.source_hash
    write("other/mine.py", "VALUE = 2\n")
    sys.path.insert(0, str(tmp_path / "other"))
    del sys.modules["mine"]
    assert resolve("uses.f", str(folder)).source_hash != first.source_hash


def test_source_hash_of_a_built_in_strategy_is_the_packages():
    assert resolve("long_short").source_hash == source_hash()
    assert resolve("alphapulse.strategies.sma_cross.SmaCross").source_hash == source_hash()
