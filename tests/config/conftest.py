from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config.command import command

APPLICATIONS = {
    "sweep": ("config", "SweepConfig", ()),
    "backtest": ("backtest", "BacktestConfig", ()),
    "download": ("download", "DownloadConfig", ()),
    "replay": ("replay", "ReplayConfig", ()),
    "report": ("report", "ReportConfig", ()),
    "dashboard": ("dashboard", "DashboardConfig", ()),
    "db": ("db", "DatabaseCommandConfig", ("action", "admin_url")),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that gives a command arguments and returns the configuration its body receives."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> Any:
        received: list[Any] = []
        config_name, config_class, words = APPLICATIONS[name]
        main = command(config_name, config_class, words=words)(lambda config, directory: received.append(config))
        main(list(arguments))
        return received[0] if received else None

    return run


@pytest.fixture
def refuse(run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that expects a command to refuse its arguments, and returns its one line."""

    def refuse(name: str, *arguments: str) -> str:
        with pytest.raises(SystemExit) as leaving:
            run(name, *arguments)
        assert leaving.value.code == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        return captured.err.removeprefix("error: ").rstrip("\n")

    return refuse
