"""Studies of several objectives: their front, and the one that is weighed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from alphapulse.commands.report import run_report
from alphapulse.config.groups import SearchConfig
from alphapulse.config.schema import ReportConfig
from alphapulse.errors import StudyError
from alphapulse.reports.summary_table import print_ending

pytestmark = pytest.mark.postgres


@pytest.fixture
def config(small_study):
    return small_study(
        null_sweeps=19,
        n_trials=100,
        search=SearchConfig(sampler="nsga2", population_size=20),
        objective=("sharpe_ratio", "n_trades"),
        direction=("maximize", "minimize"),
        choose="knee",
    )


def test_front_is_shown_and_its_knee_is_weighed(config, run, in_process, database, capsys, tmp_path):
    summary = run(config, in_process())
    with database.sync_engine.connect() as connection:
        values = np.array(connection.execute(text("SELECT value[1], value[2] FROM trial ORDER BY number")).all())
    dominated = [
        ((values[:, 0] >= a) & (values[:, 1] <= b) & ((values[:, 0] > a) | (values[:, 1] < b))).any() for a, b in values
    ]
    front = np.flatnonzero(~np.array(dominated))
    _, earliest = np.unique(values[front], axis=0, return_index=True)
    front = np.sort(front[earliest])
    assert summary.front == tuple(front)
    members = values[front]
    scaled = (members - members.min(axis=0)) / np.ptp(members, axis=0)
    knee = front[np.argmin(1 - scaled[:, 0] + scaled[:, 1])]
    assert summary.chosen.number == knee
    assert {trial.number for trial in summary.best} <= set(front)
    assert knee in {trial.number for trial in summary.best}
    assert summary.verdict["null_sweeps"]["observed"] == values[knee, 0]
    capsys.readouterr()
    print_ending(summary, "json")
    document = json.loads(capsys.readouterr().out)
    assert document["front"] == front.tolist()
    assert document["chosen"]["number"] == knee
    assert document["robust"] is None or document["robust"]["number"] == summary.verdict["numbers"]["robust_trial"]
    run_report(ReportConfig(study="small"), tmp_path)
    out = capsys.readouterr().out
    assert f"The Pareto front has {len(front)} trials" in out
    assert f"trial {knee} is weighed (choose=knee)." in out
    assert f" {knee} *" in out
    # What chance is asked depends on how the trial was chosen.
    with pytest.raises(StudyError, match="made with choose knee, but got first"):
        run(replace(config, choose="first"), in_process())


def test_front_of_one_objective_is_the_best(small_study, run, in_process):
    summary = run(small_study(n_trials=60), in_process())
    assert summary.front == (summary.best[0].number,)
    assert summary.chosen.number == summary.best[0].number
    robust = summary.verdict["numbers"]["robust_trial"]
    assert (summary.robust.number if summary.robust else -1) == robust
