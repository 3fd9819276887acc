"""Whole studies on a small Ray cluster and in the database."""

import json
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from sqlalchemy import text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.config.groups import OptunaConfig, SearchConfig
from alphapulse.errors import StudyError
from alphapulse.plain import command_line
from alphapulse.search.dimensions import CategoricalDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.columns import StudyColumns
from alphapulse.study.optuna.tables import ensure_optuna_tables
from alphapulse.study.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.postgres]

MODULE = """
import numpy as np
import pandas as pd
from dataclasses import dataclass

@dataclass(frozen=True)
class Weekly:
    window: int = 20
    kind: str = "good"

    def target(self, bars):
        if self.kind == "bad":
            raise ValueError(f"window {self.window} is unlucky")
        mean = np.full(len(bars), np.nan)
        sums = np.cumsum(bars.close)
        mean[self.window:] = (sums[self.window:] - sums[:-self.window]) / self.window
        return np.where(bars.close > mean, 1.0, 0.0)
"""


OPTUNA = {"TPESampler": {"constant_liar": True}, "CmaEsSampler": {}, "NSGAIISampler": {"population_size": 10}}


SLOW = ["random", "qmc", "cmaes", "nsga2", "gp", "CmaEsSampler", "NSGAIISampler"]


@pytest.mark.parametrize(
    "sampler",
    [
        *("tpe", "TPESampler"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
    ],
)
def test_table_is_the_same_on_ray_in_steps_and_in_one_process(
    ray_cluster, small_study, run, in_process, table, sampler
):
    n_trials = 60 if sampler in ("gp", *OPTUNA) else 150
    size = None if sampler in ("nsga2", "cmaes") else 12 if sampler == "gp" else 40
    own = "optuna" if sampler in OPTUNA else sampler
    config = small_study(null_sweeps=19, n_trials=n_trials, search=SearchConfig(sampler=own, generation_size=size))
    if sampler in OPTUNA:
        search = SearchConfig(sampler=own, optuna=sampler, options=OPTUNA[sampler])
        config = replace(config, search=search, validation=replace(config.validation, null_sweeps=0))
    if sampler in ("nsga2", "NSGAIISampler"):
        config = replace(config, objective=("sharpe_ratio", "max_drawdown"))
    if sampler == "cmaes":
        config = replace(config, space=SearchSpace(config.space.dimensions[1:]))
    straight = run(replace(config, study="straight"))
    assert straight.n_trials == n_trials
    assert straight.status == "COMPLETE"
    for total in (1, n_trials // 2, n_trials):
        run(replace(config, study="steps", n_trials=total))
    run(replace(config, study="alone"), in_process(3))
    expected = table("straight")
    assert len(expected["trials"]) == n_trials
    assert table("steps") == expected
    assert table("alone") == expected


def test_grid_runs_every_point_once(ray_cluster, small_study, run, database):
    space = SearchSpace(
        (
            IntDimension("strategy.ma_window", 10, 50, step=10),
            CategoricalDimension("engine.execution", ("next_open", "next_close")),
        )
    )
    summary = run(small_study(search=SearchConfig(sampler="grid"), space=space))
    assert (summary.n_trials, summary.status) == (10, "COMPLETE")
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(DISTINCT params) FROM trial")) == 10


def test_summary_has_what_a_reader_needs(ray_cluster, small_study, run, database):
    summary = run(small_study(optuna=OptunaConfig(mirror_limit=100)))
    assert [trial.values["sharpe_ratio"] for trial in summary.best] == sorted(
        (trial.values["sharpe_ratio"] for trial in summary.best), reverse=True
    )
    assert set(summary.best[0].params) == {"strategy.ma_window", "strategy.reversion_weight", "engine.stop.multiplier"}
    assert summary.benchmark["max_drawdown"] < -0.5
    assert summary.verdict["word"] in ("SURVIVES", "INCONCLUSIVE", "LIKELY LUCK")
    assert summary.verdict["n_openings"] == 1
    assert summary.seconds["total"] > 0
    assert "password" not in summary.places["database"]
    study = Store(database).find_study("small")
    assert study.verdict["lines"] == summary.verdict["lines"]
    loaded = optuna.load_study(study_name="small", storage=database.optuna_url)
    assert len(loaded.trials) == 100
    assert loaded.best_value == summary.best[0].values["sharpe_ratio"]


def test_foreign_study_in_optunas_tables_costs_no_verdict(ray_cluster, small_study, run, database):
    ensure_optuna_tables(database)
    optuna.create_study(study_name="taken", storage=database.optuna_url)
    summary = run(small_study(study="taken", optuna=OptunaConfig()))
    assert summary.status == "COMPLETE"
    assert summary.verdict is not None
    assert summary.places["optuna_dashboard"].startswith("not copied, Optuna's tables hold another study named 'taken'")


def test_same_command_again_changes_nothing(ray_cluster, small_study, run, table, database):
    first = run(small_study())
    before = table("small")
    again = run(small_study())
    assert table("small") == before
    assert again.verdict["lines"] == first.verdict["lines"]
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM holdout_opening")) == 1


def test_second_study_on_the_data_counts_an_opening(ray_cluster, small_study, run):
    run(small_study(study="one"))
    verdict = run(small_study(study="two", seed=1)).verdict
    assert (verdict["n_openings"], verdict["n_trials_on_data"]) == (2, 300)


def test_name_of_another_study_is_refused(ray_cluster, small_study, run, table):
    run(small_study(n_trials=40))
    before = table("small")
    space = SearchSpace((IntDimension("strategy.ma_window", 10, 99),))
    with pytest.raises(StudyError, match=r"strategy\.ma_window") as caught:
        run(small_study(space=space))
    assert "\n" not in str(caught.value)
    assert table("small") == before


def test_own_strategy_is_shipped_and_its_failures_are_kept(
    ray_cluster, small_study, run, tmp_path, monkeypatch, database
):
    (tmp_path / "own_strategy.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    space = SearchSpace(
        (
            IntDimension("strategy.window", 5, 60),
            CategoricalDimension("strategy.kind", ("good", "bad")),
        )
    )
    summary = run(small_study(strategy={"_target_": "own_strategy.Weekly"}, space=space, n_trials=80))
    assert summary.n_trials == 80
    assert 0 < summary.n_failed < 80
    with database.sync_engine.connect() as connection:
        rows = connection.execute(text("SELECT state, params[2], value, error FROM trial")).all()
    for state, kind, value, error in rows:
        assert state == ("FAIL" if kind == 1 else "COMPLETE")
        assert (value is None) == (kind == 1)
        assert (error is not None and "is unlucky" in error) == (kind == 1)


def test_all_trials_failed_is_an_outcome(ray_cluster, small_study, run, tmp_path, monkeypatch):
    (tmp_path / "flat_strategy.py").write_text(
        "import numpy as np\n\ndef flat(close, window: int = 5):\n    return np.zeros(len(close))\n"
    )
    monkeypatch.chdir(tmp_path)
    space = SearchSpace((IntDimension("strategy.window", 5, 60),))
    summary = run(small_study(strategy={"_target_": "flat_strategy.flat"}, space=space, n_trials=50))
    assert (summary.n_trials, summary.n_failed, summary.best, summary.verdict) == (50, 50, (), None)
    assert next(iter(summary.failures)) == "The objective `sharpe_ratio` is undefined: the trial never trades."


@pytest.mark.parametrize("robustness", ["plateau", "worst_fold"])
def test_robust_objectives_are_what_the_search_sees(ray_cluster, small_study, run, database, robustness):
    config = small_study(n_trials=40)
    summary = run(replace(config, validation=replace(config.validation, objective=robustness)))
    assert all(np.isfinite(trial.values["sharpe_ratio"]) for trial in summary.best)
    store = Store(database)
    study = store.find_study("small")
    stored = StudyColumns(database, study).trials(0, study.n_done)
    sharpe = stored.metrics[:, METRICS.index("sharpe_ratio")]
    assert (stored.values[:, 0] != sharpe).sum() >= 8


def test_summary_is_json(ray_cluster, small_study, run, capsys):
    from alphapulse.reports.summary_table import print_ending

    print_ending(run(small_study(n_trials=40)), "json")
    document = json.loads(capsys.readouterr().out)
    assert document["n_trials"] == 40
    assert document["best"][0]["params"]["strategy.ma_window"] >= 10


def test_run_directory_holds_what_a_study_found(ray_cluster, small_study, run, tmp_path):
    summary = run(small_study(n_trials=40))
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 40
    assert json.loads((tmp_path / "verdict.json").read_text())["word"] == summary.verdict["word"]
    chosen = yaml.safe_load((tmp_path / "chosen.yaml").read_text())
    multiplier = summary.chosen.params["engine.stop.multiplier"]
    assert f"engine.stop.multiplier={multiplier!r}" in chosen["overrides"]
    assert set(chosen["space"]) == set(summary.chosen.params)
    assert len(pd.read_csv(tmp_path / "trades.csv")) > 0
    assert {"trials", "verdict", "chosen", "trades", "equity"} < set(summary.places)
    assert summary.places["report_again"] == command_line("report", study=summary.study)
    assert not any(" " in name for name in summary.places)
