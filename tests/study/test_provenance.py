from types import SimpleNamespace

import pytest

from alphapulse.strategies.resolve import resolve
from alphapulse.study.provenance import changes_since, code_version, package_versions

STRATEGY = "import numpy\nimport helpers\nimport yaml\n\ndef hold(close, n=10):\n    return helpers.adjust(close)\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "holds.py").write_text(STRATEGY)
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "__init__.py").write_text("def adjust(close):\n    return close\n")
    return tmp_path


def test_changed_helper_of_the_users_own_is_named(folder):
    before = resolve("holds.hold", str(folder))
    study = SimpleNamespace(code_version=code_version(before), packages=package_versions(before), fingerprint="f")
    assert changes_since(study, before, "f") == []
    (folder / "helpers" / "__init__.py").write_text("def adjust(close):\n    return -close\n")
    strategy, helper = changes_since(study, resolve("holds.hold", str(folder)), "f")
    assert strategy.startswith("the source of holds.hold (")
    assert helper.startswith("the source of helpers (")


def test_what_a_strategy_imports_has_its_version(folder):
    found = package_versions(resolve("holds.hold", str(folder)))
    assert {"python", "numpy", "source of helpers"} <= found.keys()
    assert "source of holds" not in found
