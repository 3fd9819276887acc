from pathlib import Path

import pytest

from alphapulse.config.conf import Conf
from alphapulse.config.flags import FLAGS_HELP, help_text, parse_flags
from alphapulse.errors import ConfigError


def test_flags_and_arguments_in_any_order() -> None:
    flags = parse_flags(["a=1", "-cd", "own", "b=2", "--cfg", "hydra", "-p", "hydra.run", "--resolve", "word"])
    assert flags.arguments == ["a=1", "b=2", "word"]
    assert (flags.config_dir, flags.config_name) == ("own", None)
    assert (flags.cfg, flags.package, flags.resolve) == ("hydra", "hydra.run", True)
    assert not flags.help
    assert not flags.version


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--multirun"], "a sweep searches 'strategy.x=a,b' in one run"),
        (["-m", "--help"], "`--multirun` must be left out"),
        (["--experimental-rerun", "x"], "`python -m alphapulse.replay` runs a trial again"),
        (["--info"], "unrecognized arguments: --info; see --help"),
        (["--hydra-help"], "unrecognized arguments: --hydra-help"),
        (["--shell-completion"], "unrecognized arguments: --shell-completion"),
        (["--cfg"], "expected one argument"),
        (["--cfg", "jb"], "invalid choice: 'jb'"),
        (["--config-dir"], "expected one argument"),
        (["--resolve"], "`--resolve` must go with --cfg"),
        (["--package", "db"], "`--package` must go with --cfg"),
    ],
)
def test_flags_refused(given: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_flags(given)
    assert expected in str(refused.value)


def test_help_has_groups_and_flags(tmp_path: Path) -> None:
    (tmp_path / "data" / "nested").mkdir(parents=True)
    (tmp_path / "data" / "mine.yaml").write_text("source: sample\n")
    (tmp_path / "data" / "nested" / "inner.yaml").write_text("a: 1\n")
    text = help_text(Conf(str(tmp_path), "config"), "config")
    assert text.startswith("python -m alphapulse.sweep ")
    assert "\ndata: csv, database, mine, sample, yahoo\ndata/nested: inner\ndb: default\n" in text
    assert "hydra/" not in text
    assert FLAGS_HELP in text
    assert "$" not in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hydra: {help: {template: 'Mine: $CONFIG'}}\n", "Mine: $CONFIG"),
        ("defaults: [backtest]\n", "python -m alphapulse.backtest "),
        ("hydra: x\n", "python -m alphapulse.backtest "),
    ],
)
def test_help_of_a_primary_configuration_of_the_users_own(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    assert help_text(Conf(str(tmp_path), "mine"), "backtest").startswith(expected)
