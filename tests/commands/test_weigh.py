"""The verdict of what is stored, and the ledger that it pays."""

import io
import json
from dataclasses import fields, replace

import pytest
from rich.console import Console

from alphapulse.commands import weigh
from alphapulse.commands.studies import run_studies
from alphapulse.config.schema import NullSweepsConfig, StudiesConfig, WeighConfig
from alphapulse.errors import StudyError
from alphapulse.study.records import StudyPlan
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres


@pytest.fixture
def weigh_small(monkeypatch, in_process, tmp_path):
    """Return a weigher of the study "small" without Ray."""
    monkeypatch.setattr(weigh.Cluster, "of", lambda *arguments, **options: in_process())

    def run(**changes):
        config = WeighConfig(study="small", validation=NullSweepsConfig(**changes))
        return weigh.weigh_study(config, Console(file=io.StringIO()), tmp_path)

    return run


def test_weigh_goes_on_with_null_sweeps(run, in_process, small_study, weigh_small, database):
    config = small_study(null_sweeps=19, n_trials=40)
    first = run(config, in_process()).verdict
    assert first["null_sweeps"]["n_wanted"] == 19
    again = weigh_small(null_sweeps=199)
    nulls = again.verdict["null_sweeps"]
    assert again.status == "COMPLETE"
    if first["null_sweeps"]["stopped"] == "complete":
        assert nulls["n_wanted"] == 199
        assert nulls["values"][:19] == first["null_sweeps"]["values"]
    # The same trial on the same hold-out is the same look.
    assert again.verdict["ledger"]["n_openings"] == 1
    assert database.fetch("SELECT count(*) AS n FROM holdout_opening")[0]["n"] == 1


def test_weigh_speaks_of_an_interrupted_study(run, in_process, small_study, weigh_small, database):
    config = small_study(null_sweeps=19, n_trials=40)
    run(config, in_process())
    database.fetch("UPDATE sweep SET n_trials = 80, status = 'INTERRUPTED', verdict = NULL")
    summary = weigh_small()
    assert summary.verdict["n_trials"] == 40
    assert database.fetch("SELECT status FROM sweep")[0]["status"] == "INTERRUPTED"
    assert summary.chosen.number == summary.best[0].number
    assert summary.bars["n_bars"] > 4 * summary.bars["n_holdout"] - 4


def test_weigh_refuses_what_has_nothing_to_weigh(run, in_process, small_study, weigh_small, database):
    with pytest.raises(StudyError, match="No study 'small'"):
        weigh_small()
    run(small_study(n_trials=40), in_process())
    database.fetch("UPDATE sweep SET n_done = 0")
    with pytest.raises(StudyError, match="no trials to weigh"):
        weigh_small()


def test_another_start_does_not_reset_the_ledger(run, in_process, small_study, database, capsys):
    config = small_study(null_sweeps=19, n_trials=40)
    run(config, in_process())
    later = replace(config, study="later", seed=1, data=replace(config.data, start="2005-01-04"))
    verdict = run(later, in_process()).verdict
    assert verdict["ledger"] == {"factor": 2.0, "n_trials": 80, "n_openings": 2, "studies": ["small"]}
    nulls = verdict["null_sweeps"]
    assert nulls["p_ledger"] == pytest.approx(min(2 * nulls["p"], 1.0))
    run_studies(StudiesConfig(action="ledger", output="json"))
    document = json.loads(capsys.readouterr().out)
    assert [(line["name"], line["n_trials"]) for line in document["tried"]] == [("small", 40), ("later", 40)]
    assert [look["by"].rpartition(" trial ")[0] for look in document["openings"]] == ["study small", "study later"]
    run_studies(StudiesConfig(action="ledger"))
    assert "Looks at hold-outs" in capsys.readouterr().out
    run_studies(StudiesConfig())
    assert "later" in capsys.readouterr().out


def test_weigh_refuses_a_study_that_is_running(run, in_process, small_study, weigh_small, database):
    run(small_study(n_trials=40), in_process())
    store = Store(database)
    study = store.find_study("small")
    plan = {f.name: getattr(study, f.name) for f in fields(StudyPlan)}
    running = store.open_study(StudyPlan(**plan))
    try:
        with pytest.raises(StudyError, match="small"):
            weigh_small()
    finally:
        store.finish(running, "COMPLETE")
