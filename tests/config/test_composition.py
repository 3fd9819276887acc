import ast
import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import alphapulse
from alphapulse.config.command import command
from alphapulse.errors import ConfigError

Run = Callable[..., Any]
Refuse = Callable[..., str]

PACKAGE = Path(alphapulse.__file__).parent


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Commands configure the root logger; a test must not leave a handler on a file that is gone."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A directory of the user's own, and another one that adds to it."""
    for name, groups in (("own", ("mine", "both")), ("other", ("theirs", "both"))):
        (tmp_path / name / "data").mkdir(parents=True)
        for group in groups:
            path = tmp_path / name / "data" / f"{group}.yaml"
            path.write_text(f"source: database\nsymbols: [{name}]\nvolatility_symbol: null\n")
    primary = "defaults: [defaults, data: {}, strategy: long_short, engine: default, db: default, _self_]\n"
    (tmp_path / "own" / "mine.yaml").write_text(f"{primary.format('mine')}n_trials: 77\n")
    (tmp_path / "own" / "searching.yaml").write_text(
        f"{primary.format('theirs')}hydra: {{searchpath: ['file://{tmp_path}/other']}}\n"
    )
    return tmp_path / "own"


def shown(run: Run, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run("sweep", *arguments) is None
    return yaml.safe_load(capsys.readouterr().out)


def test_hydra_is_asked_by_its_public_names_and_in_config_alone() -> None:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            for module in modules:
                if module.partition(".")[0] in ("hydra", "omegaconf"):
                    assert path.parent.name == "config", f"{path} imports {module}"
                    assert not any(part.startswith("_") for part in module.split(".")), f"{path} imports {module}"


def test_cfg_shows_each_part(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    job = shown(run, capsys, "--cfg", "job")
    hydra = shown(run, capsys, "--cfg", "hydra")
    both = shown(run, capsys, "--cfg", "all")
    assert "hydra" not in job
    assert list(hydra) == ["hydra"]
    assert "help" not in hydra["hydra"]
    assert {*job, "hydra"} == set(both)
    assert "help" in both["hydra"]


def test_cfg_shows_a_package(run: Run, refuse: Refuse, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "--cfg", "job", "--package", "engine.stop") is None
    text = capsys.readouterr().out
    assert text.startswith("# @package engine.stop\n")
    assert yaml.safe_load(text)["kind"] == "atr"
    assert shown(run, capsys, "--cfg", "job", "-p", "engine.stop.kind") == "atr"
    assert "n_trials" in shown(run, capsys, "--cfg", "job", "-p", "_global_")
    assert "`--package` must name a key that is set, but got 'hydra'" in refuse("sweep", "--cfg", "job", "-p", "hydra")


def test_cfg_resolves(run: Run, refuse: Refuse, capsys: pytest.CaptureFixture[str]) -> None:
    study = "study=${hydra:job.name}-${seed}"
    assert shown(run, capsys, "--cfg", "job", study)["study"] == "${hydra:job.name}-${seed}"
    assert shown(run, capsys, "--cfg", "job", "--resolve", study)["study"] == "sweep-0"
    assert "${" not in shown(run, capsys, "--cfg", "all", "--resolve", "-p", "hydra.run.dir")
    assert "'nowhere' not found" in refuse("sweep", "--cfg", "job", "--resolve", "study=${nowhere}")


def test_interpolations_of_hydra_have_values(run: Run, tmp_path: Path) -> None:
    config = run("sweep", "study=${hydra:runtime.output_dir}", "hydra.run.dir=runs/${hydra.job.name}-${seed}")
    assert config.study == str(tmp_path / "runs" / "sweep-0")
    assert (tmp_path / "runs" / "sweep-0").is_dir()


@pytest.mark.parametrize("name", ["mine", "both"])
def test_config_dir_comes_before_the_search_path(run: Run, own: Path, name: str) -> None:
    theirs = f"hydra.searchpath=['file://{own.parent}/other']"
    assert run("sweep", "--config-dir", "own", theirs, f"data={name}").data.symbols == ("own",)
    assert run("sweep", theirs, "--config-dir", str(own), "data=theirs").data.symbols == ("other",)
    assert run("sweep", theirs, f"data={'theirs' if name == 'mine' else 'both'}").data.symbols == ("other",)


@pytest.mark.parametrize("name", ["o'wn", "a b", "back\\slash\\", "$(x)", 'q"'])
def test_config_dir_of_any_name(run: Run, own: Path, name: str) -> None:
    own.rename(own.parent / name)
    assert run("sweep", "--config-dir", name, "data=mine").data.symbols == ("own",)


@pytest.mark.usefixtures("own")
def test_primary_configuration_of_the_users_own(run: Run, refuse: Refuse) -> None:
    space = ("sweeps=none", "strategy.ma_window=10,20")
    config = run("sweep", "--config-dir", "own", "--config-name", "mine", *space)
    assert (config.n_trials, config.data.symbols) == (77, ("own",))
    config = run("sweep", "--config-dir", "own", "--config-name", "searching", *space)
    assert config.data.symbols == ("other",)
    assert (
        "`--config-name` must name a file of the package; your own go with --config-dir, but got 'nothing'"
        in refuse("sweep", "--config-name", "nothing", *space)
    )


def test_bad_search_path_is_refused(refuse: Refuse, own: Path) -> None:
    for given in ([], ["--config-dir", str(own)]):
        assert "must be a list of strings" in refuse("sweep", *given, "hydra.searchpath=x")


def test_run_directory_keeps_what_was_composed(run: Run, tmp_path: Path) -> None:
    run("sweep", "seed=5", "hydra.run.dir=here")
    saved = {path.stem: yaml.safe_load(path.read_text()) for path in (tmp_path / "here" / ".hydra").iterdir()}
    assert set(saved) == {"config", "hydra", "overrides"}
    assert saved["config"]["seed"] == 5
    assert "hydra" not in saved["config"]
    assert "seed=5" in saved["overrides"]
    assert list(saved["hydra"]) == ["hydra"]
    assert saved["hydra"]["hydra"]["runtime"]["output_dir"] == str(tmp_path / "here")
    assert saved["hydra"]["hydra"]["overrides"]["hydra"] == ["hydra.run.dir=here", "hydra.mode=RUN"]


def test_run_directory_without_the_composition(run: Run, tmp_path: Path) -> None:
    run("sweep", "hydra.run.dir=here", "hydra.output_subdir=null")
    assert list((tmp_path / "here").iterdir()) == []


def test_refused_values_leave_no_run_directory(refuse: Refuse, tmp_path: Path) -> None:
    refuse("sweep", "n_trials=0")
    refuse("sweep", "study=${nowhere}")
    refuse("sweep", "hydra.run.dir=${nowhere}")
    assert list(tmp_path.iterdir()) == []


def test_run_directory_that_cannot_be_made_is_refused(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        refused = refuse("sweep", f"hydra.run.dir={place}")
        assert refused.startswith("the run directory cannot be made: ")
        assert refused.endswith("; set hydra.run.dir")


def test_callbacks_are_refused(refuse: Refuse) -> None:
    assert "`hydra.callbacks` must be left out, but got mine" in refuse("sweep", "+hydra.callbacks.mine.x=1")


def test_body_runs_where_hydra_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []
    main = command("config", "SweepConfig")(
        lambda config, directory: seen.append((directory, Path.cwd(), os.environ.get("MINE")))
    )
    main(["hydra.run.dir=here", "hydra.job.chdir=true", "+hydra.job.env_set.MINE=1"])
    assert seen == [(tmp_path / "here", tmp_path / "here", "1")]
    assert Path.cwd() == tmp_path
    assert "MINE" not in os.environ


def test_job_logging_is_the_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def body(config: Any, directory: Path) -> None:
        logging.getLogger("some").info("news")
        logging.getLogger("some").warning("a fault")

    command("config", "SweepConfig")(body)(["hydra.run.dir=here"])
    assert capsys.readouterr() == ("", "WARNING: a fault\n")
    lines = (tmp_path / "here" / "sweep.log").read_text().splitlines()
    assert [line.partition("[some]")[2] for line in lines] == ["[INFO] news", "[WARNING] a fault"]
    command("download", "DownloadConfig")(body)([])
    assert capsys.readouterr() == ("", "WARNING: a fault\n")
    assert {path.name for path in tmp_path.iterdir()} == {"here"}


@pytest.mark.parametrize("leaves", [False, True])
def test_command_that_fails_leaves_a_directory_only_with_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    monkeypatch.chdir(tmp_path)

    @command("config", "SweepConfig")
    def main(config: Any, directory: Path) -> None:
        if leaves:
            (directory / "trials.csv").write_text("number\n")
        raise ConfigError("no")

    with pytest.raises(SystemExit):
        main(["hydra.run.dir=outputs/day/run"])
    assert (tmp_path / "outputs").exists() == leaves


def test_commands_of_one_second_have_directories_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran: list[Path] = []

    @command("config", "SweepConfig")
    def other(config: Any, directory: Path) -> None:
        ran.append(directory)
        raise ConfigError("no")

    @command("config", "SweepConfig")
    def main(config: Any, directory: Path) -> None:
        ran.append(directory)
        with pytest.raises(SystemExit):
            other(arguments)
        (directory / "trials.csv").write_text("number\n")

    arguments = ["hydra.run.dir=runs/my_${now:%Y}"]
    main(arguments)
    assert len(set(ran)) == 2
    assert ran[1].name == f"{ran[0].name}_2"
    assert list((tmp_path / "runs").iterdir()) == [ran[0]]
    assert (ran[0] / "trials.csv").exists()


def test_disk_that_is_full_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    @command("config", "SweepConfig")
    def main(config: Any, directory: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "curves.csv")

    with pytest.raises(SystemExit) as end:
        main(["hydra.run.dir=here"])
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "error: curves.csv cannot be written: No space left on device; make room, or set hydra.run.dir to elsewhere.\n"
    )
