"""Every command of the README and of the site is one that can be run, and every block of Python runs."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import alphapulse.__main__
from alphapulse.commands.new import run_new
from alphapulse.config import schema
from alphapulse.config.conf import Conf
from alphapulse.config.overrides import Application, check_keys, find_target, read_arguments

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOORS = {
    "sweep": ("config", "SweepConfig", ()),
    "studies": ("studies", "StudiesConfig", ("action", "study", "to")),
    "db": ("db", "DatabaseCommandConfig", ("action", "admin_url")),
    "new": ("new", "NewConfig", ("name",)),
    "data": ("data", "DataCommandConfig", ("action",)),
}


def blocks(page, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands():
    for page in PAGES:
        text = page.read_text("utf-8")
        lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
        lines += re.findall(r"`(python -m alphapulse\.[^`]+)`", text)
        for line in lines:
            words = shlex.split(line, comments=True)
            is_command = len(words) > 2 and words[0] == "python" and re.fullmatch(r"alphapulse\.\w+", words[2])
            if is_command:
                yield pytest.param(
                    words[2].removeprefix("alphapulse."), words[3:], id=f"{page.name}: {line.strip()[:60]}"
                )


@pytest.mark.parametrize(("name", "arguments"), list(commands()))
def test_command_can_be_run(name, arguments, tmp_path, monkeypatch):
    """Its arguments are read and its keys are known; nothing is run."""
    monkeypatch.chdir(tmp_path)
    assert name in alphapulse.__main__.COMMANDS
    run_new_silently(tmp_path)
    config_name, config_class, words = DOORS.get(name, (name, f"{name.capitalize()}Config", ()))
    application = Application(getattr(schema, config_class), config_name, words)
    conf = Conf(None, config_name)
    read = read_arguments(application, conf, [argument for argument in arguments if argument != "..."])
    target = find_target(conf, read.overrides) if application.has_strategy else None
    parameters = None
    if target is not None and target.startswith("alphapulse."):
        resolve = import_module("alphapulse.strategies.resolve").resolve
        parameters = {n: p.default for n, p in resolve(target).parameters.items()}
    check_keys(application, conf, read.overrides, parameters)


def run_new_silently(folder):
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        run_new(schema.NewConfig("my_idea"), folder)


FEW = 'validation={"null_sweeps": 1, "n_bootstrap": 20}'


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.postgres
@pytest.mark.parametrize("page", ["README.md", "docs/pages/data.md", "docs/pages/api.md"])
def test_python_runs(page, ray_cluster, database, tmp_path, monkeypatch):
    """A sweep in it is made small; what needs bars that are not there is left out."""
    monkeypatch.chdir(tmp_path)
    run = 0
    for block in blocks(ROOT / page, "python"):
        if "ap." not in block:
            continue
        small = re.sub(r"n_trials=\d+", f"n_trials=20, {FEW}", block)
        # As a file, so that the source of what it defines can be read.
        path = tmp_path / f"block_{run}.py"
        path.write_text(small)
        exec(compile(small, str(path), "exec"), {"__name__": "__main__"})
        run += 1
    assert run
