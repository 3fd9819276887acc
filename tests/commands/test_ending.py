"""Searches that end before all their trials."""

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console
from sqlalchemy import text

from alphapulse.commands import sweep
from alphapulse.commands.report import run_report
from alphapulse.config.groups import SearchConfig
from alphapulse.config.schema import ReportConfig
from alphapulse.errors import StudyError
from alphapulse.study.null_values import NullValues
from alphapulse.study.store import Store
from alphapulse.sweep import worker

pytestmark = pytest.mark.postgres


@pytest.fixture
def config(small_study):
    return small_study(n_trials=2_000, patience=2, search=SearchConfig(sampler="random", generation_size=20))


def test_patience_ends_a_search_at_the_same_trial(config, run, in_process, database, table, capsys, tmp_path):
    summary = run(config, in_process())
    n = summary.n_trials
    assert n % 20 == 0
    assert 60 <= n < 2_000
    sentence = f"The search ended after {n} of 2,000 trials: 2 generations brought no better value (patience=2)."
    assert (summary.status, summary.ended, summary.n_wanted) == ("COMPLETE", sentence, 2_000)
    assert summary.verdict["n_trials"] == n
    with database.sync_engine.connect() as connection:
        best = connection.scalar(text("SELECT number FROM trial ORDER BY value[1] DESC, number LIMIT 1"))
    assert best // 20 == n // 20 - 3
    # In steps that end within generations, and on other workers.
    for total in (33, n - 25, n - 1):
        run(replace(config, study="steps", n_trials=total), in_process(2))
    again = run(replace(config, study="steps"), in_process(3))
    assert again.ended == sentence
    assert table("steps") == table("small")
    # Nothing is left to run, whatever is asked for.
    more = run(replace(config, n_trials=3_000))
    assert (more.n_trials, more.verdict["lines"]) == (n, summary.verdict["lines"])
    run_report(ReportConfig(study="small"), tmp_path)
    assert sentence in capsys.readouterr().out


def test_null_sweeps_have_the_same_patience(config, run, in_process, database):
    config = replace(config, n_trials=300, validation=replace(config.validation, null_sweeps=19))
    n = run(config, in_process()).n_trials
    plain = replace(config, study="plain", patience=None, n_trials=n)
    run(plain, in_process())
    store = Store(database)
    patient = NullValues(database, store.find_study("small"), 300).read()
    cut = NullValues(database, store.find_study("plain"), n).read()
    shared = sorted(patient.keys() & cut.keys())
    assert len(shared) > 3
    # Each ends where its own market has nothing better, sooner or later than the study did.
    assert [patient[s] for s in shared] != [cut[s] for s in shared]


def test_study_may_wait_for_longer_but_not_for_less(config, run, in_process, table, database):
    config = replace(config, n_trials=300)
    n = run(config, in_process()).n_trials
    run(replace(config, patience=4, n_trials=300), in_process())
    run(replace(config, study="straight", patience=4, n_trials=300), in_process())
    assert table("small") == table("straight")
    study = Store(database).find_study("small")
    assert study.config["patience"] == 4
    assert study.n_done > n
    with pytest.raises(StudyError, match="made with patience 4, but got 2, and may only grow"):
        run(config, in_process())


def test_timeout_ends_a_search_in_between(config, run, in_process, monkeypatch, table):
    evaluate = worker.evaluate_batch

    def slowly(*arguments, **keywords):
        time.sleep(0.05)
        return evaluate(*arguments, **keywords)

    monkeypatch.setattr("study_fixtures.evaluate_batch", slowly)
    search = SearchConfig(sampler="tpe", generation_size=20)
    config = replace(config, patience=None, n_trials=300, search=search, timeout="0.6s")
    summary = run(config, in_process())
    assert 0 < summary.n_trials < 300
    assert summary.status == "COMPLETE"
    assert summary.ended.startswith(f"The search ended after {summary.n_trials} of 300 trials: its time was over (")
    assert summary.verdict["n_trials"] == summary.n_trials
    monkeypatch.undo()
    again = run(replace(config, timeout=None), in_process())
    assert (again.n_trials, again.ended) == (300, None)
    run(replace(config, timeout=None, study="straight"), in_process())
    assert table("small") == table("straight")


def test_files_that_cannot_be_written_cost_no_verdict(small_study, in_process, database, tmp_path):
    gone = tmp_path / "gone"
    workers = in_process()
    summary = sweep.run_study(lambda: workers, small_study(n_trials=40), Console(file=io.StringIO()), gone)
    assert summary.status == "COMPLETE"
    assert summary.verdict["n_trials"] == 40
    assert summary.places["report"] == f"not written, No such file or directory: {gone / 'trials.csv'}"
