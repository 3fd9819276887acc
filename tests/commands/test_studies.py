"""Studies compared, deleted and renamed."""

import json

import optuna
import pytest
from made_studies import make_generation, open_study
from sqlalchemy import text

from alphapulse.commands.studies import run_studies
from alphapulse.config.schema import StudiesConfig
from alphapulse.errors import ConfigError, StudyError
from alphapulse.study.optuna.mirror import mirror
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(database):
    """Return the store with two studies, which Optuna's tables have as well."""
    store = Store(database)
    for place, name in enumerate(("a", "b")):
        study = open_study(store, name, seed=place)
        store.append(study, make_generation(0, seed=place)).result()
        store.finish(study, "COMPLETE")
        mirror(database, study.id)
    return store


def optunas(database):
    return [study.study_name for study in optuna.get_all_study_summaries(database.optuna_url)]


def test_delete_leaves_the_ledger_and_nothing_else(store, database, capsys):
    run_studies(StudiesConfig(action="delete", study="a"))
    assert capsys.readouterr().out == "Deleted study a with its 50 trials; its lines of the ledger stay.\n"
    assert [study.name for study in store.studies()] == ["b"]
    assert optunas(database) == ["b"]
    assert len(optuna.load_study(study_name="b", storage=database.optuna_url).trials) == 50
    with database.sync_engine.connect() as connection:
        kept = store.find_study("b").id
        for table in ("trial", "trial_blocks", "optuna.trials", "optuna.trial_params"):
            n = connection.scalar(text(f"SELECT count(*) FROM {table}"))
            assert n > 0
        assert connection.scalar(text(f"SELECT count(*) FROM trial WHERE sweep_id <> {kept}")) == 0
        assert connection.scalar(text("SELECT count(*) FROM ledger WHERE n_trials > 0")) == 2
    with pytest.raises(StudyError, match="No study 'a'"):
        run_studies(StudiesConfig(action="delete", study="a"))


def test_rename_reaches_optunas_tables(store, database, capsys):
    with pytest.raises(StudyError, match="There is a study 'b' already"):
        run_studies(StudiesConfig(action="rename", study="a", to="b"))
    run_studies(StudiesConfig(action="rename", study="a", to="c d"))
    assert {study.name for study in store.studies()} == {"c d", "b"}
    assert sorted(optunas(database)) == ["b", "c d"]
    mirror(database, store.find_study("c d").id)
    assert sorted(optunas(database)) == ["b", "c d"]


def test_running_study_is_left_alone(store):
    study = open_study(store, "r")
    try:
        for config in (StudiesConfig(action="delete", study="r"), StudiesConfig(action="rename", study="r", to="s")):
            with pytest.raises(StudyError, match="is being run by another command"):
                run_studies(config)
    finally:
        store.finish(study, "INTERRUPTED")


def test_compare_shows_results_and_what_differs(store, capsys):
    run_studies(StudiesConfig(compare=("a", "b"), output="json"))
    document = json.loads(capsys.readouterr().out)
    assert document["studies"]["a"]["n_trials"] == 50
    assert document["studies"]["a"]["best_value"] != document["studies"]["b"]["best_value"]
    run_studies(StudiesConfig(compare=("a", "b")))
    assert "best sharpe ratio" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="two studies or more"):
        StudiesConfig(compare=("a",))
