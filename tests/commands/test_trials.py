"""The trials of a stored study as a table, as files and as JSON."""

import json

import numpy as np
import pandas as pd
import pytest
from made_studies import SPACE, make_generation, open_study

from alphapulse.backtesting.metrics import METRICS
from alphapulse.commands.trials import run_trials
from alphapulse.config.schema import TrialsConfig
from alphapulse.errors import ConfigError, StudyError
from alphapulse.reports.trial_frames import TrialFrames
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(database):
    """Return the store with a study of 100 trials, four of them failed."""
    store = Store(database)
    study = open_study(store)
    for number in range(2):
        store.append(study, make_generation(number)).result()
    store.finish(study, "COMPLETE")
    return store


def test_frames_hold_what_is_stored(store):
    frames = TrialFrames(store, store.find_study("s"))
    found = frames.all()
    assert tuple(found.columns) == frames.columns
    assert found["number"].tolist() == list(range(100))
    stored = np.concatenate([make_generation(n).trials.metrics for n in range(2)])
    np.testing.assert_array_equal(found[list(METRICS)].to_numpy(), stored)
    assert found["state"].value_counts().to_dict() == {"COMPLETE": 96, "FAIL": 4}
    assert found["error"][2] == "sharpe_ratio is undefined"
    assert list(found[SPACE.keys[0]])[:3] == [int(p) for p in make_generation(0).trials.parameters[:3, 0]]
    best = frames.best(5)
    assert best["value"].tolist() == sorted(found["value"].dropna(), reverse=True)[:5]
    assert frames.best(100)["state"].tolist()[-4:] == ["FAIL"] * 4


def test_where_names_columns_and_short_keys(store):
    frames = TrialFrames(store, store.find_study("s"))
    found = frames.all(frames.read_where("ma_window > 100 and beta > 0 and trial < 50"))
    assert 0 < len(found) < 50
    assert (found["strategy.ma_window"] > 100).all()
    assert (found["beta"] > 0).all()
    assert frames.all(frames.read_where('state == "FAIL"'))["number"].tolist() == [2, 3, 52, 53]
    assert frames.all(frames.read_where("number == 7"))["number"].tolist() == [7]
    with pytest.raises(ConfigError, match=r"'bta'.*did you mean 'beta'"):
        frames.read_where("bta > 0")


def test_files_hold_every_digit(store, tmp_path, capsys):
    expected = TrialFrames(store, store.find_study("s")).all()
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        path = tmp_path / f"t.{kind}"
        run_trials(TrialsConfig(study="s", format=kind, file=str(path)))
        assert capsys.readouterr().out == f"100 trials in {path}\n"
        found = read(path)
        assert list(found.columns) == list(expected.columns)
        np.testing.assert_array_equal(found[list(METRICS)].to_numpy(), expected[list(METRICS)].to_numpy())
    run_trials(TrialsConfig(study="s", format="csv", top=3))
    assert len(capsys.readouterr().out.splitlines()) == 4
    with pytest.raises(ConfigError, match="`file` must be writable"):
        run_trials(TrialsConfig(study="s", format="csv", file=str(tmp_path / "no" / "t.csv")))


def test_table_fits_and_json_is_records(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run_trials(TrialsConfig(study="s", top=3))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 160
    assert "trial" in "".join(lines)
    run_trials(TrialsConfig(study="s", top=3, output="json"))
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3
    assert rows[0]["value"] >= rows[1]["value"]
    assert not any(" " in key for key in rows[0])
    with pytest.raises(StudyError, match="has no trial for which beta > 1e9 holds"):
        run_trials(TrialsConfig(study="s", where="beta > 1e9"))


def test_symbol_of_a_study_of_one_is_refused(store):
    with pytest.raises(ConfigError, match="the trials of study 's' have no metrics by symbol"):
        run_trials(TrialsConfig(study="s", symbol="QQQ"))
