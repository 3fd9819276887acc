"""Stored trials again, and studies of other definitions."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import text

from alphapulse.backtesting.metrics import DEFINITIONS, METRICS
from alphapulse.commands import replay
from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.config.schema import ReplayConfig, ReportConfig
from alphapulse.errors import StudyError

pytestmark = pytest.mark.postgres


@pytest.fixture
def stored(run, in_process, small_study):
    """Return the configuration of a study that has been run."""
    config = small_study(n_trials=20)
    run(config, in_process())
    return config


def execute(database, statement):
    with database.sync_engine.begin() as connection:
        connection.execute(text(statement))


def answer(capsys):
    return json.loads(capsys.readouterr().out)


def test_replay_reproduces_every_number(stored, capsys):
    run_replay(ReplayConfig(study="small", trial=7, output="json"))
    document = answer(capsys)
    assert document["reproduced"]
    assert document["definitions"] == DEFINITIONS
    assert document["not_compared"] == []
    assert list(document["stored"]) == [*METRICS, "objective sharpe_ratio"]
    assert document["stored"] == document["replayed"]
    run_replay(ReplayConfig(study="small", trial=7))
    assert f"All {len(METRICS) + 1} numbers are reproduced bit for bit." in capsys.readouterr().out


def test_replay_names_what_differs(stored, database, capsys):
    execute(database, "UPDATE trial SET beta = beta + 1 WHERE number = 7")
    with pytest.raises(StudyError, match=rf"1 of {len(METRICS) + 1} numbers differ \(beta\)"):
        run_replay(ReplayConfig(study="small", trial=7, output="json"))
    assert answer(capsys)["differing"] == ["beta"]


def test_replay_compares_what_is_defined_as_it_was(stored, database, capsys, monkeypatch):
    newer = {name: replace(replay.TABLE[name], since=DEFINITIONS + 1) for name in ("sharpe_ratio", "beta")}
    monkeypatch.setattr(replay, "TABLE", dict(replay.TABLE) | newer)
    execute(database, "UPDATE trial SET sharpe_ratio = sharpe_ratio + 1, beta = NULL")
    run_replay(ReplayConfig(study="small", trial=7, output="json"))
    document = answer(capsys)
    assert document["reproduced"]
    assert document["not_compared"] == ["sharpe_ratio", "beta", "objective sharpe_ratio"]
    assert document["stored"]["beta"] is None
    run_replay(ReplayConfig(study="small", trial=7))
    shown = capsys.readouterr().out
    assert f"All {len(METRICS) - 2} numbers are reproduced bit for bit." in shown
    assert f"definitions {DEFINITIONS} and these are newer: sharpe_ratio, beta, objective sharpe_ratio." in shown
    execute(database, f"UPDATE sweep SET definitions = {DEFINITIONS + 1}")
    with pytest.raises(StudyError, match=r"2 of \d+ numbers differ"):
        run_replay(ReplayConfig(study="small", trial=7, output="json"))


def test_study_of_older_definitions_is_shown_and_never_continued(
    stored, database, capsys, run, in_process, table, tmp_path
):
    execute(database, "UPDATE sweep SET definitions = 0")
    before = table("small")
    with pytest.raises(StudyError, match=r"'small' was made with definitions 0 .* not continued"):
        run(replace(stored, n_trials=40), in_process())
    assert table("small") == before
    run_report(ReportConfig(study="small", output="json"), tmp_path)
    document = answer(capsys)
    assert document["definitions"] == 0
    assert len(document["best"]) == 5
