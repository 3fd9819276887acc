"""Studies that search for what the user says is good."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.config.groups import OptunaConfig, SearchConfig
from alphapulse.config.schema import ReplayConfig, ReportConfig
from alphapulse.errors import ConfigError
from alphapulse.study.null_values import NullValues
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres

EXPRESSION = "sharpe_ratio - 2*abs(max_drawdown)"
MODULE = """
def score(sharpe_ratio, max_drawdown):
    return sharpe_ratio - 2 * abs(max_drawdown)

def centred(sharpe_ratio):
    return sharpe_ratio - sharpe_ratio.mean()
"""


@pytest.fixture
def config(small_study, tmp_path, monkeypatch):
    (tmp_path / "own_objective.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return small_study(
        null_sweeps=19,
        n_trials=64,
        search=SearchConfig(sampler="tpe"),
        objective=(EXPRESSION,),
        optuna=OptunaConfig(mirror_limit=100),
    )


def values_of(database, study):
    with database.sync_engine.connect() as connection:
        query = (
            "SELECT value[1], sharpe_ratio - 2*abs(max_drawdown) FROM trial JOIN sweep ON id = sweep_id "
            "WHERE name = :name AND trial.state = 'COMPLETE' ORDER BY number"
        )
        return np.array(connection.execute(text(query), {"name": study}).all())


def test_expression_is_searched_for(config, run, in_process, database, capsys, tmp_path):
    summary = run(config, in_process())
    values = values_of(database, "small")
    np.testing.assert_array_equal(values[:, 0], values[:, 1])
    assert summary.best[0].values == {EXPRESSION: values[:, 0].max()}
    assert summary.verdict["null_sweeps"]["observed"] == values[:, 0].max()
    run_report(ReportConfig(study="small"), tmp_path)
    assert f"{values[:, 0].max():,.3f}" in capsys.readouterr().out
    run_replay(ReplayConfig(study="small", trial=5))
    # Later, by the name alone.
    again = run(replace(config, n_trials=70), in_process())
    assert again.n_trials == 70


def test_function_is_the_same_objective(config, run, in_process, database, table):
    run(config, in_process())
    run(replace(config, study="function", objective=("own_objective.score",)), in_process(2))
    assert table("function")["trials"] == table("small")["trials"]
    store = Store(database)
    nulls = [NullValues(database, store.find_study(name), 64).read() for name in ("small", "function")]
    shared = nulls[0].keys() & nulls[1].keys()
    assert len(shared) > 3
    assert all(nulls[0][s] == nulls[1][s] for s in shared)
    code = [store.find_study(name).code_version for name in ("small", "function")]
    assert code[1].startswith(code[0] + ":")


def test_source_of_an_objective_belongs_to_its_study(config, run, in_process, tmp_path, capsys):
    config = replace(config, n_trials=32, objective=("own_objective.score",))
    run(config, in_process())
    (tmp_path / "own_objective.py").write_text(MODULE.replace("2 *", "1.0 * 2 *"))
    run_replay(ReplayConfig(study="small", trial=5))
    assert "Changed since the study began: the source of own_objective.score (" in capsys.readouterr().out


def test_function_that_looks_beside_a_trial_is_refused(config, run, in_process, database):
    with pytest.raises(ConfigError, match=r"own_objective.centred must look at each trial alone"):
        run(replace(config, objective=("own_objective.centred",)), in_process())
    assert not Store(database).exists("small")


@pytest.mark.ray
def test_function_reaches_the_workers(ray_cluster, config, run, in_process, table):
    config = replace(config, objective=("own_objective.score", "n_trades"), search=SearchConfig(sampler="nsga2"))
    run(config)
    run(replace(config, study="alone"), in_process())
    assert table("small") == table("alone")
