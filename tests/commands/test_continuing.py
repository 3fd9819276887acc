"""A stored study goes on, or is shown again, by its name alone."""

import io
import json
import re
from dataclasses import replace

import optuna
import pytest
import yaml
from rich.console import Console
from study_fixtures import SPACE

from alphapulse.commands import sweep
from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.config.given import Given
from alphapulse.config.groups import OptunaConfig, SearchConfig
from alphapulse.config.schema import ReplayConfig, ReportConfig, SweepConfig
from alphapulse.reports.summary_table import defaults_line
from alphapulse.reports.trial_frames import TrialFrames
from alphapulse.search.dimensions import CategoricalDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres


def test_name_and_number_continue_a_study(run, in_process, small_study, table, tmp_path, database):
    config = small_study(n_trials=40, optuna=OptunaConfig(mirror_limit=1_000))
    first = run(config, in_process())
    run(small_study(study="straight", n_trials=60), in_process())

    def again(workers, **typed):
        return sweep.run_study(
            lambda: workers, SweepConfig(study="small", quiet=True, **typed), Console(file=io.StringIO()), tmp_path,
            Given(frozenset({"study", "quiet", *typed})),
        )  # fmt: skip

    # Nothing is left to run, so nobody is asked to.
    shown = again(None)
    assert shown.verdict["lines"] == first.verdict["lines"]
    continued = again(in_process(), n_trials=60)
    assert (continued.n_trials, continued.n_wanted, continued.status) == (60, 60, "COMPLETE")
    assert table("small") == table("straight")
    loaded = optuna.load_study(study_name="small", storage=database.optuna_url)
    assert len(loaded.trials) == 60
    assert loaded.user_attrs["alphapulse:status"] == "COMPLETE"
    assert loaded.user_attrs["alphapulse:verdict"] == continued.verdict["word"]
    assert loaded.user_attrs["alphapulse:holdout"]["n_trades"] == continued.chosen.holdout["n_trades"]


def test_study_starts_from_what_is_known(run, in_process, small_study, table, database):
    first = run(small_study(n_trials=40), in_process())
    assert first.defaults.number == 0
    setting = {"strategy.ma_window": 40, "strategy.reversion_weight": 0.3, "engine.stop.multiplier": 2.0}
    store = Store(database)
    trial = store.trial(store.find_study("small"), 0)
    assert trial["params"] == setting
    assert first.defaults.values == {"sharpe_ratio": trial["values"][0]}
    others = [store.trial(store.find_study("small"), n)["values"][0] for n in range(1, 40)]
    worse = [value for value in others if not value >= trial["values"][0]]
    assert first.defaults.better_than == len(worse) / 39
    assert re.fullmatch(
        r"Your defaults \(trial 0\): sharpe_ratio -?\d.\d{3}, better than \d+% of the others\.",
        defaults_line(first.defaults),
    )
    config = small_study(study="next", n_trials=45, search=SearchConfig(sampler="tpe", enqueue="small"))
    second = run(config, in_process())
    study = store.find_study("next")
    expected = [setting, *(t["params"] for t in store.best(store.find_study("small"), 20) if t["params"] != setting)]
    assert [store.trial(study, n)["params"] for n in range(len(expected))] == expected
    assert second.verdict["ledger"]["studies"] == ["small"]
    # In steps the same, though the study that it started from is another by now.
    run(replace(config, study="steps", n_trials=7), in_process())
    database.fetch("UPDATE trial SET value = '{0}' WHERE sweep_id = (SELECT id FROM sweep WHERE name = 'small')")
    run(replace(config, study="steps"), in_process())
    assert table("steps") == table("next")


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_constraints_hold_in_every_stored_trial(run, in_process, small_study, table, database, sampler):
    rule = "strategy.ma_window < 30 or strategy.reversion_weight < 0.2"
    config = small_study(search=SearchConfig(sampler=sampler, generation_size=20), constraints=(rule,))
    run(replace(config, n_trials=50), in_process())
    run(replace(config, n_trials=90), in_process())
    run(replace(config, study="straight", n_trials=90), in_process())
    assert table("small")["trials"] == table("straight")["trials"]
    rows = database.fetch(
        "SELECT count(*) AS n, count(*) FILTER (WHERE params[1] < 30 OR params[2] < 0.2) AS kept "
        "FROM trial JOIN sweep ON id = sweep_id WHERE name = 'small'"
    )
    assert (rows[0]["n"], rows[0]["kept"]) == (90, 90)


@pytest.mark.parametrize(("sampler", "optuna_sampler"), [("tpe", None), ("optuna", "TPESampler")])
def test_inactive_keys_are_nowhere(run, in_process, small_study, table, database, tmp_path, sampler, optuna_sampler):
    kind = CategoricalDimension("engine.stop.kind", ("none", "percent", "atr"))
    space = SearchSpace((SPACE.dimensions[0], kind, IntDimension("strategy.atr_window", 5, 30), *SPACE.dimensions[2:]))
    config = small_study(
        search=SearchConfig(sampler=sampler, optuna=optuna_sampler),
        optuna=OptunaConfig(mirror_limit=100),
        when={
            "engine.stop.multiplier": 'engine.stop.kind == "atr"',
            "strategy.atr_window": "engine.stop.multiplier > 2",
        },
        space=space,
    )
    run(replace(config, n_trials=33), in_process())
    summary = run(replace(config, n_trials=60), in_process(2))
    run(replace(config, study="straight", n_trials=60), in_process())
    assert table("small") == table("straight")
    rows = database.fetch(
        "SELECT count(*) AS n, count(*) FILTER (WHERE (params[4] = 'NaN') = (params[2] < 2) "
        "AND (params[3] = 'NaN') = (params[4] = 'NaN' OR params[4] <= 2)) AS masked, "
        "count(*) FILTER (WHERE params[4] = 'NaN') AS inactive "
        "FROM trial JOIN sweep ON id = sweep_id WHERE name = 'small'"
    )
    assert (rows[0]["n"], rows[0]["masked"]) == (60, 60)
    assert 0 < rows[0]["inactive"] < 60
    named = database.fetch("SELECT number, params FROM trial_named WHERE study = 'small' ORDER BY number")
    loaded = optuna.load_study(study_name="small", storage=database.optuna_url)
    store = Store(database)
    study = store.find_study("small")
    for row, trial in zip(named, loaded.trials, strict=True):
        record = store.trial(study, row["number"])
        assert json.loads(row["params"]) == trial.params == record["params"]
    n_values = database.fetch("SELECT count(*) AS n FROM trial_params WHERE study = 'small'")[0]["n"]
    assert n_values == sum(len(trial.params) for trial in loaded.trials)
    frame = TrialFrames(store, study).all()
    assert frame["engine.stop.multiplier"].isna().sum() == rows[0]["inactive"]
    assert summary.n_distinct == len({tuple(trial.params.items()) for trial in loaded.trials})
    inactive = next(trial.number for trial in loaded.trials if "engine.stop.multiplier" not in trial.params)
    run_replay(ReplayConfig(study="small", trial=str(inactive)))
    run_report(ReportConfig(study="small"), tmp_path)
    assert '"inactive"' in (tmp_path / "report.html").read_text()
    written = yaml.safe_load((tmp_path / "chosen.yaml").read_text())
    assert written["when"] == config.when
    lines = "\n".join(written["overrides"])
    assert ("stop.multiplier" in lines) == ("engine.stop.multiplier" in summary.chosen.params)
