"""A strategy to start from: it is a strategy, its test passes, its experiment is read."""

import subprocess
import sys

import pytest

from alphapulse.commands.new import run_new
from alphapulse.config.command import command
from alphapulse.config.conf import Conf
from alphapulse.config.schema import NewConfig
from alphapulse.errors import ConfigError


def test_new_strategy_passes_its_test_and_is_swept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_new(NewConfig("my_idea"))
    assert "python -m alphapulse.sweep sweeps=my_idea.yaml" in capsys.readouterr().out
    tested = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_idea.py"]
    done = subprocess.run(tested, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout
    received = []
    for arguments in (["sweeps=my_idea.yaml"], ["strategy=my_idea.MyIdea", "strategy.window=int(interval(5,9))"]):
        command("config", "SweepConfig")(lambda config, directory: received.append(config))(arguments)
    assert [config.strategy["_target_"] for config in received] == ["my_idea.MyIdea"] * 2
    assert received[0].space.keys == ("strategy.calm", "strategy.window")
    with pytest.raises(
        ConfigError, match=r"must be a file, but there is no 'my_ide.yaml'; did you mean 'my_idea.yaml'"
    ):
        Conf(None, "config").experiment("my_ide.yaml")
    with pytest.raises(ConfigError, match=r"my_idea\.py is there already"):
        run_new(NewConfig("my_idea"))


@pytest.mark.parametrize("name", ["My", "my-idea", "class", "1a", ""])
def test_name_of_no_module_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="`name` must be one of a Python module"):
        run_new(NewConfig(name), tmp_path)


def test_error_says_where_in_the_users_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong_idea.py").write_text(
        "def decide(close, window: int = 5):\n    scale = 0\n    return close / scale / len(nothing)\n"
    )
    from random_bars import random_bars

    from alphapulse.strategies.resolve import resolve

    block = resolve("wrong_idea.decide", str(tmp_path)).block(random_bars(), {}, 1)
    import numpy as np

    block.fill(0, 1200, np.zeros(1, dtype=np.int64), np.empty((1, 1200)))
    assert block.failures[0] == "NameError: name 'nothing' is not defined (wrong_idea.py, line 3)"
