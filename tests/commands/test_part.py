"""Studies of which a part is stored: the same as those of which all is, as far as all is seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

import alphapulse as ap
from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.commands.trials import run_trials
from alphapulse.config.groups import SearchConfig
from alphapulse.config.schema import ReplayConfig, ReportConfig, TrialsConfig
from alphapulse.errors import ConfigError, StudyError
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.columns import StudyColumns
from alphapulse.study.optuna.mirror import mirror
from alphapulse.study.part import drawn
from alphapulse.study.store import NotStoredError, Store
from alphapulse.sweep.scale import keeping

pytestmark = pytest.mark.postgres

GRID = SearchSpace((IntDimension("strategy.ma_window", 10, 30), IntDimension("strategy.rsi_window", 5, 20)))
CONDITIONAL = SearchSpace(
    (
        IntDimension("strategy.ma_window", 10, 40),
        FloatDimension("engine.stop.multiplier", 1.0, 5.0),
        IntDimension("engine.max_bars", 0, 6),
    )
)
# What the verdict says of all trials, whatever is stored.
OF_ALL = (
    "reality_check_p",
    "reality_check_statistic",
    "sharpe_variance",
    "dsr",
    "holm_p",
    "expected_maximum_sharpe",
    "hold_out_psr",
)


@pytest.fixture
def few(monkeypatch):
    """So few trials are stored that a small study has more."""
    monkeypatch.setattr(drawn, "N_BEST", 20)
    monkeypatch.setattr(drawn, "N_DRAWN", 60)
    monkeypatch.setattr(drawn, "N_BLOCKS", 30)
    monkeypatch.setattr(keeping, "N_BEST_BLOCKS", 10)


@pytest.fixture
def config(small_study, few):
    return small_study(n_trials=300, store="best")


def numbers_of(database, name, table="trial"):
    query = f"SELECT number FROM {table} JOIN sweep ON id = sweep_id WHERE name = :name ORDER BY number"
    with database.sync_engine.connect() as connection:
        return [row.number for row in connection.execute(text(query), {"name": name})]


def sums_of(database, name):
    store = Store(database)
    return store.sums(store.find_study(name))


def kept_of(rows, n_best, n_planned, *, sign=1):
    """Return the numbers that are to be stored of all rows of a study."""
    good = [row for row in rows if row[2] == "COMPLETE" and all(float.fromhex(excess) <= 0 for excess in row[5] or ())]
    order = sorted(good, key=lambda row: (-sign * float.fromhex(row[4][0]), row[0]))
    best = {row[0] for row in order[:n_best]}
    numbers = np.arange(n_planned)
    return sorted(best | set(numbers[drawn.is_drawn(numbers, n_planned)].tolist()) | {0})


SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in ("qmc", "grid", "when", "minimize")]


@pytest.mark.parametrize("case", ["random", "constraints", "failures", "feasible", *SLOW])
def test_what_is_stored_is_what_a_study_of_all_has(case, config, run, in_process, table, database):
    changes = {
        "qmc": {"search": SearchConfig(sampler="qmc", generation_size=64)},
        "grid": {"search": SearchConfig(sampler="grid", generation_size=64), "space": GRID, "n_trials": 500},
        "constraints": {"constraints": ("strategy.ma_window > 8 * engine.stop.multiplier",)},
        "when": {"space": CONDITIONAL, "when": {"engine.stop.multiplier": "engine.max_bars > 2"}},
        "failures": {"objective": ("profit_factor",), "space": GRID, "n_trials": 250},
        "feasible": {"feasible": ("n_trades >= 30", "max_drawdown >= -0.2")},
        "minimize": {"objective": ("volatility",)},
    }
    config = replace(config, **changes.get(case, {}))
    whole = run(replace(config, study="all", store="all"), in_process())
    part = run(config, in_process(2))
    rows = table("all")["trials"]
    n_trials = len(rows)
    expected = kept_of(rows, 20, config.n_trials, sign=-1 if case == "minimize" else 1)
    expected = [number for number in expected if number < n_trials]
    assert numbers_of(database, "small") == expected
    assert len(expected) < 120
    assert [row for row in rows if row[0] in expected] == table("small")["trials"]
    for name in ("n_trials", "n_failed", "n_infeasible", "n_distinct", "failures", "front", "n_wanted", "ended"):
        assert getattr(part, name) == getattr(whole, name), name
    assert [trial.number for trial in part.best] == [trial.number for trial in whole.best]
    assert part.chosen == whole.chosen
    assert part.defaults == whole.defaults
    if part.verdict is not None:
        for name in OF_ALL:
            assert part.verdict["numbers"][name] == whole.verdict["numbers"][name], name
        assert set(numbers_of(database, "small", "trial_blocks")) <= set(expected)
    sums = sums_of(database, "small")
    assert sums.n_trials == n_trials
    assert part.stored == sums.stored == f"{sums.n_best} best and {sums.n_drawn} drawn of {n_trials} trials are stored."


def test_steps_workers_and_more_trials_end_at_the_same_table(config, run, in_process, table, database):
    run(config, in_process())
    for n_trials in (37, 90, 91, 260):
        run(replace(config, study="steps", n_trials=n_trials), in_process(3))
    run(replace(config, study="steps"), in_process(2))
    assert table("steps") == table("small")
    before, after = sums_of(database, "small"), sums_of(database, "steps")
    assert before == after


def test_front_of_several_objectives_is_whole(config, run, in_process, table):
    changes = {"objective": ("sharpe_ratio", "exposure"), "direction": ("maximize", "minimize"), "choose": "knee"}
    config = replace(config, **changes)
    whole = run(replace(config, study="all", store="all"), in_process())
    part = run(config, in_process(2))
    assert (part.front, part.chosen) == (whole.front, whole.chosen)
    assert len(part.front) > 2
    for n_trials in (100, 300):
        run(replace(config, study="steps", n_trials=n_trials), in_process(3))
    assert table("steps") == table("small")


def test_patience_ends_at_the_same_trial(config, run, in_process, table):
    config = replace(config, n_trials=1_000, patience=2, search=SearchConfig(sampler="random", generation_size=20))
    whole = run(replace(config, study="all", store="all"), in_process())
    part = run(config, in_process(2))
    assert (part.n_trials, part.ended) == (whole.n_trials, whole.ended)
    for n_trials in (33, part.n_trials - 25, part.n_trials - 1):
        run(replace(config, study="steps", n_trials=n_trials), in_process(3))
    again = run(replace(config, study="steps"), in_process(3))
    assert (again.n_trials, again.ended) == (whole.n_trials, whole.ended)
    assert table("steps")["trials"] == table("small")["trials"]


def test_small_study_is_stored_whole(small_study, run, in_process, table):
    config = small_study(n_trials=120, store="best")
    whole = run(replace(config, study="all", store="all"), in_process())
    part = run(config, in_process(2))
    assert table("small")["trials"] == table("all")["trials"]
    assert table("small")["blocks"] == table("all")["blocks"]
    for name in whole.verdict["numbers"].keys() - {"dsr_all_studies"}:
        assert part.verdict["numbers"][name] == whole.verdict["numbers"][name], name
    assert part.stored == "All 120 trials are stored."


def test_trial_that_is_not_stored_is_drawn_again(config, run, in_process, database, capsys):
    config_of_all = replace(config, study="all", store="all")
    run(config, in_process())
    store = Store(database)
    study = store.find_study("small")
    missing = sorted(set(range(300)) - set(StudyColumns(database, study).numbers().tolist()))[0]
    with pytest.raises(NotStoredError, match=rf"Trial {missing} of study 'small' is not stored .* runs it again"):
        store.trial(study, missing)
    run_replay(ReplayConfig(study="small", trial=missing, output="json"))
    document = json.loads(capsys.readouterr().out)
    run(config_of_all, in_process())
    whole = store.trial(store.find_study("all"), missing)
    assert document["replayed"] == whole["metrics"] | {"objective sharpe_ratio": whole["values"][0]}
    assert (document["stored"], document["reproduced"], document["params"]) == (None, None, whole["params"])
    again = ap.load_study("small").backtest(missing)
    assert again.result.metrics["sharpe_ratio"] == whole["metrics"]["sharpe_ratio"]
    run_replay(ReplayConfig(study="small", trial=missing))
    assert "It is not among the trials that are stored" in capsys.readouterr().out
    with pytest.raises(StudyError, match="no trial 300; its 300 trials count from 0"):
        store.trial(study, 300)


def test_search_that_learns_is_refused(config, run, in_process):
    with pytest.raises(ConfigError, match=r"`store=best` must go with a search that needs no results .* search=tpe"):
        run(replace(config, search=SearchConfig(sampler="tpe")), in_process())


def test_study_of_all_trials_is_not_continued_in_part(config, run, in_process):
    run(replace(config, n_trials=50, store="all"), in_process())
    with pytest.raises(StudyError, match="was made with store all, but got best"):
        run(config, in_process())


def test_summary_and_verdict_say_what_they_rest_on(config, run, in_process, capsys):
    from alphapulse.reports.summary_table import print_ending, print_summary

    summary = run(config, in_process())
    print_summary(summary, "table", details=True)
    out = capsys.readouterr().out
    assert summary.stored in out
    assert f"{summary.stored} Null sweeps, reality check, DSR and ledger rest on all" in out
    print_ending(summary, "json")
    assert json.loads(capsys.readouterr().out)["stored"] == summary.stored


def test_commands_show_the_part(config, run, in_process, database, capsys, tmp_path):
    summary = run(config, in_process())
    run_report(ReportConfig(study="small"), tmp_path)
    assert summary.stored in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert f"{summary.stored} The charts of all trials show the 60 that were drawn." in page
    run_trials(TrialsConfig(study="small", top=3, output="json"))
    shown = capsys.readouterr()
    assert [row["number"] for row in json.loads(shown.out)] == [trial.number for trial in summary.best[:3]]
    assert summary.stored in shown.err
    run_trials(TrialsConfig(study="small", format="csv", file=str(tmp_path / "trials.csv")))
    stored = numbers_of(database, "small")
    assert f"{len(stored)} trials in" in capsys.readouterr().out
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in lines[1:]] == stored
    mirrored = mirror(database, Store(database).find_study("small").id, limit=50)
    assert (mirrored.n_mirrored, mirrored.n_trials) == (50, 300)
    assert "table `trial` has some more" in mirrored.note
