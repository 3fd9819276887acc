"""Samplers and providers are options of their groups without a file in conf/ that says so."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alphapulse.config.conf import Conf
from alphapulse.config.flags import help_text
from alphapulse.config.found import PACKAGE, PROVIDER_NAMES, SAMPLER_NAMES, resource_dir
from alphapulse.search.choosing import find_sampler
from alphapulse.search.samplers import SAMPLERS

Run = Callable[..., Any]
Refuse = Callable[..., str]


def test_names_are_those_of_files() -> None:
    folder = PACKAGE / "search" / "samplers"
    samplers = {path.stem for path in (*folder.glob("[!_]*.py"), *(p.parent for p in folder.glob("*/__init__.py")))}
    providers = {path.stem for path in (PACKAGE / "data_pipeline" / "providers").glob("*_provider.py")}
    assert set(SAMPLER_NAMES) == samplers | {"auto"}
    assert {f"{name}_provider" for name in PROVIDER_NAMES} == providers
    assert {"tpe", "nsga2", "nsga3", "random"} <= samplers
    assert {"csv_provider", "sample_provider"} <= providers


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_has_the_name_of_its_file(name: str) -> None:
    assert find_sampler(name).name == name


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_search_names_a_sampler(run: Run, name: str) -> None:
    assert run("sweep", f"search={name}", "search.generation_size=7").search.sampler == name


@pytest.mark.parametrize("name", PROVIDER_NAMES)
def test_provider_names_a_provider(run: Run, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download", f"provider={name}").provider.name == name
    assert run("download", f"provider={name}", "--cfg", "job") is None
    assert yaml.safe_load(capsys.readouterr().out)["provider"]["name"] == name


def test_help_names_what_is_found() -> None:
    assert f"\nsearch: {', '.join(sorted(SAMPLER_NAMES))}\n" in help_text(Conf(None, "config"), "config")
    assert f" provider={'|'.join(PROVIDER_NAMES)}\n" in help_text(Conf(None, "download"), "download")


def test_names_are_found_without_importing_what_they_name() -> None:
    code = "import sys, alphapulse.config.found; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name for name in loaded if name.startswith("alphapulse.data_pipeline")}
    assert "numpy" not in loaded


def test_own_files_add_to_what_is_found(run: Run, refuse: Refuse, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "search").mkdir(parents=True)
    (own / "search" / "mine.yaml").write_text("defaults: [tpe]\ngeneration_size: 11\n")
    mine = run("sweep", "--config-dir", str(own), "search=mine").search
    assert (mine.sampler, mine.generation_size) == ("tpe", 11)
    assert "did you mean 'mine'?" in refuse("sweep", "--config-dir", str(own), "search=minee")


def test_own_file_wins_over_what_is_found(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "qmc.yaml").write_text("sampler: qmc\ngeneration_size: 12\n")
    # What a command has stored stays with its process, so that this one has a process of its own.
    asked = ["-m", "alphapulse.sweep", "--config-dir", str(tmp_path), "search=qmc", "--cfg", "job", "-p", "search"]
    shown = subprocess.run([sys.executable, *asked], capture_output=True, text=True, check=True)
    assert yaml.safe_load(shown.stdout)["generation_size"] == 12
    assert shown.stderr == ""


def test_no_file_repeats_what_is_found() -> None:
    for group, names in (("search", SAMPLER_NAMES), ("provider", PROVIDER_NAMES)):
        assert not {path.stem for path in (resource_dir("conf") / group).glob("*.yaml")} & set(names)


def test_options_of_an_optuna_sampler_are_open(run: Run) -> None:
    search = run(
        "sweep",
        "search=optuna",
        "search.optuna=PartialFixedSampler",
        "search.options.base_sampler._target_=TPESampler",
        "search.options.base_sampler.multivariate=true",
        "search.options.fixed_params={strategy.ma_window: 40}",
    ).search
    assert (search.sampler, search.optuna) == ("optuna", "PartialFixedSampler")
    assert search.options == {
        "base_sampler": {"_target_": "TPESampler", "multivariate": True},
        "fixed_params": {"strategy.ma_window": 40},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search.optuna=TPESampler"], "`search.optuna` must go with search=optuna, but got search=tpe"),
        (["search=qmc", "search.options.scramble=true"], "`search.options` must go with search=optuna"),
        (["search=optuna", "search.pruner=MedianPruner"], "`search.pruner` must be left out: a pruner stops a trial"),
        (["search=optuna", "search.multivariate=true"], "must be written search.options.multivariate=True"),
    ],
)
def test_options_of_an_optuna_sampler_go_with_it(refuse: Refuse, arguments: list[str], message: str) -> None:
    assert message in refuse("sweep", *arguments)
