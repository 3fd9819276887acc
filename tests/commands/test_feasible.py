"""Studies whose trials must keep conditions on their results."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.config.groups import OptunaConfig, SearchConfig
from alphapulse.config.schema import ReplayConfig, ReportConfig
from alphapulse.errors import StudyError
from alphapulse.study.null_values import NullValues
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres

FEASIBLE = ("n_trades >= 140", "max_drawdown >= -0.45")


@pytest.fixture
def config(small_study):
    return small_study(
        null_sweeps=19,
        n_trials=96,
        search=SearchConfig(sampler="tpe"),
        feasible=FEASIBLE,
        optuna=OptunaConfig(mirror_limit=100),
    )


def test_no_trial_that_breaks_a_condition_is_called_good(config, run, in_process, database, table, capsys, tmp_path):
    summary = run(config, in_process())
    with database.sync_engine.connect() as connection:
        broken, best = connection.execute(
            text(
                "SELECT count(*) FILTER (WHERE n_trades < 140 OR max_drawdown < -0.45), "
                "max(sharpe_ratio) FILTER (WHERE n_trades >= 140 AND max_drawdown >= -0.45) "
                "FROM trial WHERE state = 'COMPLETE'"
            )
        ).one()
        by_violation = connection.scalar(text("SELECT count(*) FROM trial WHERE NOT 0 >= ALL (violation)"))
        infeasible = connection.scalar(
            text("SELECT count(*) FROM optuna.trial_system_attributes WHERE key = 'constraints'")
        )
    assert 0 < broken < 96
    assert (summary.n_infeasible, by_violation, infeasible) == (broken, broken, 96)
    assert len(summary.best) > 1
    assert all(trial.feasible for trial in summary.best)
    assert summary.best[0].values["sharpe_ratio"] == best
    assert summary.chosen.number == summary.best[0].number
    assert summary.verdict["null_sweeps"]["observed"] == best
    # The same in steps, and on other workers.
    run(replace(config, study="steps", n_trials=50), in_process(3))
    run(replace(config, study="steps"), in_process(2))
    assert table("steps") == table("small")
    run_report(ReportConfig(study="small"), tmp_path)
    assert f"96 trials, {broken} infeasible;" in capsys.readouterr().out
    run_replay(ReplayConfig(study="small", trial=3))


def test_null_sweeps_obey_the_same_conditions(config, run, in_process, database):
    free = run(replace(config, feasible=(), study="free"), in_process())
    bound = run(config, in_process())
    store = Store(database)
    values = {name: NullValues(database, store.find_study(name), 96).read() for name in (free.study, bound.study)}
    shared = sorted(values["free"].keys() & values["small"].keys())
    assert len(shared) > 3
    lower = [not values["small"][s] > values["free"][s] for s in shared]
    assert np.mean(lower) > 0.5
    assert [values["small"][s] for s in shared] != [values["free"][s] for s in shared]


def test_nearest_trial_is_shown_where_none_is_feasible(config, run, in_process, database, capsys, tmp_path):
    summary = run(replace(config, n_trials=40, feasible=("n_trades > 100_000", "cagr < 99")), in_process())
    assert (summary.status, summary.n_infeasible, summary.verdict) == ("COMPLETE", 40, None)
    assert [trial.feasible for trial in summary.best] == [False]
    with database.sync_engine.connect() as connection:
        most = connection.scalar(text("SELECT number FROM trial ORDER BY n_trades DESC, number LIMIT 1"))
        assert connection.scalar(text("SELECT count(*) FROM holdout_opening")) == 0
    assert summary.best[0].number == most
    sentence = summary.warnings[-1]
    assert sentence.startswith("No trial is feasible (n_trades > 100_000, cagr < 99), so that none is chosen; the near")
    assert f"trial {most}, which breaks n_trades > 100_000 by " in sentence
    assert "cagr < 99 by" not in sentence
    run_report(ReportConfig(study="small"), tmp_path)
    assert sentence in capsys.readouterr().out


def test_study_of_other_conditions_is_another_one(config, run, in_process):
    run(replace(config, n_trials=16), in_process())
    with pytest.raises(StudyError, match=r"made with feasible \['n_trades >= 140', .*\], but got \[\]"):
        run(replace(config, n_trials=16, feasible=()), in_process())


@pytest.mark.ray
def test_conditions_are_kept_on_ray(ray_cluster, config, run, in_process, table):
    config = replace(config, search=SearchConfig(sampler="nsga2"), objective=("sharpe_ratio", "max_drawdown"))
    run(config)
    run(replace(config, study="alone"), in_process())
    assert table("small") == table("alone")
