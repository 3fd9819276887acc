import sys

import pytest
from random_bars import random_bars

from alphapulse.strategies.base import Bars


@pytest.fixture(scope="session")
def bars() -> Bars:
    return random_bars()


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Write a module into a folder of its own; return the folder. Imports are forgotten afterwards."""
    modules, paths = set(sys.modules), list(sys.path)

    def write(text: str, name: str = "my_module") -> str:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(tmp_path)

    yield write
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
