"""The way into a command and out of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alphapulse import __version__
from alphapulse.config.command import command
from alphapulse.errors import DataError

Run = Callable[..., Any]
Refuse = Callable[..., str]


def test_a_working_directory_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as leaving:
        command("config", "SweepConfig")(print)(["n_trials=200"])
    assert leaving.value.code == 1
    assert capsys.readouterr().err.startswith("error: the working directory is gone; ")


def test_db_words(run: Run) -> None:
    config = run("db", "init", "postgresql://me:p'q@host:5432/postgres?sslmode=require")
    assert (config.action, config.admin_url) == ("init", "postgresql://me:p'q@host:5432/postgres?sslmode=require")
    assert run("db", "url", "show_password=true").show_password
    assert run("db", "action=upgrade").action == "upgrade"


def test_db_without_action_is_refused(refuse: Refuse) -> None:
    assert "init ADMIN_URL" in refuse("db")


def test_commands_without_files_leave_none(run: Run, tmp_path: Path) -> None:
    for name, *arguments in (("download",), ("dashboard",), ("db", "url"), ("replay", "study=x", "trial=1")):
        run(name, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_run_directory_is_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[tuple[Path, Path]] = []
    body = command("config", "SweepConfig")(lambda config, directory: seen.append((directory, Path.cwd())))
    body([])
    body(["hydra.run.dir=here"])
    assert [folder.relative_to(tmp_path).parts[0] for folder, _ in seen] == ["outputs", "here"]
    assert [cwd for _, cwd in seen] == [tmp_path, tmp_path]
    saved = yaml.safe_load((tmp_path / "here" / ".hydra" / "config.yaml").read_text())
    assert saved["space"]["strategy.ma_window"] == "int(interval(10,250))"
    assert not list((tmp_path / "here").glob("*.log"))


def test_run_directory_of_a_job_of_rays_outlives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runtime_resources" / "working_dir_files" / "pkg"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ALPHAPULSE_HOME", str(tmp_path / "home"))
    seen: list[Path] = []
    command("config", "SweepConfig")(lambda config, directory: seen.append(directory))(["hydra.run.dir=here"])
    assert seen == [tmp_path / "home" / "here"]


def test_password_is_used_but_not_written(run: Run, tmp_path: Path) -> None:
    config = run("sweep", "db.password='s3cret, word'", "hydra.run.dir=here")
    assert config.db.password == "s3cret, word"
    written = [path.read_text() for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert written
    assert not any("s3cret" in text for text in written)
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    "given", [["db={password:s3cret,host:h}"], ["db={password:'s3cret, word',host:h}"], ["db=mine"]]
)
def test_password_of_a_group_is_used_but_not_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    (tmp_path / "own" / "db").mkdir(parents=True)
    (tmp_path / "own" / "db" / "mine.yaml").write_text("password: s3cret\n")
    arguments = ["sweep", "--config-dir", str(tmp_path / "own"), *given]
    assert run(*arguments, "hydra.run.dir=here").db.password.startswith("s3cret")
    written = [path.read_text() for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert any("***" in text for text in written)
    assert not any("s3cret" in text for text in written)
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700
    for part in ("job", "hydra", "all"):
        run(*arguments, "--cfg", part)
        assert "s3cret" not in capsys.readouterr().out


def test_missing_config_dir_is_refused(refuse: Refuse) -> None:
    assert "must be a directory" in refuse("sweep", "--config-dir", "nowhere")


@pytest.mark.parametrize("name", ["sweep", "backtest", "download", "replay", "report", "dashboard", "db"])
def test_help_names_the_command_and_its_flags(run: Run, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(name, "--help") is None
    text = capsys.readouterr().out
    assert text.startswith(f"python -m alphapulse.{name}")
    assert "--config-dir" in text


def test_cfg_shows_every_key(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "strategy.ma_window=7", "--cfg", "job", "search=random") is None
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["strategy"]["ma_window"] == 7
    assert shown["engine"]["stop"]["kind"] == "atr"
    assert shown["search"]["sampler"] == "random"
    assert shown["validation"]["thresholds"]["luck_p"] == 0.2
    assert "strategy.ma_window" not in shown["space"]


def test_version_ends_without_a_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download", "--version") is None
    assert capsys.readouterr().out == f"alphapulse {__version__}\n"


def _fail(error: BaseException) -> Callable[[Any], None]:
    def body(config: Any, directory: Path) -> None:
        raise error

    return body


def test_error_of_the_family_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        command("download", "DownloadConfig")(_fail(DataError("No bars\nfor 'X'.")))([])
    assert leaving.value.code == 1
    assert capsys.readouterr().err == "error: No bars for 'X'.\n"


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (KeyboardInterrupt(2), 130), (KeyboardInterrupt(15), 143)]
)
def test_interrupt_is_one_line(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        command("download", "DownloadConfig")(_fail(error))([])
    assert leaving.value.code == code
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault"), ValueError("a fault"), OSError("a fault")])
def test_fault_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(error), match="a fault"):
        command("download", "DownloadConfig")(_fail(error))([])
    assert capsys.readouterr().err == ""
