"""A space with fewer settings than trials: each is tried once, and the search says why it ends."""

from dataclasses import replace

import pytest

from alphapulse.commands.report import run_report
from alphapulse.config.groups import SearchConfig
from alphapulse.config.schema import ReportConfig
from alphapulse.reports.summary_table import print_summary
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace

pytestmark = pytest.mark.postgres

SPACE = SearchSpace((IntDimension("strategy.ma_window", 10, 25, step=5), IntDimension("strategy.rsi_window", 5, 8)))


@pytest.mark.parametrize(("sampler", "options"), [("tpe", {}), ("optuna", {"optuna": "BruteForceSampler"})])
def test_finite_space_is_tried_once_and_ends_early(run, in_process, small_study, table, sampler, options, capsys):
    search = SearchConfig(sampler=sampler, generation_size=5, **options)
    config = small_study(search=search, space=SPACE, n_trials=60)
    config = replace(config, validation=replace(config.validation, null_sweeps=1))
    summary = run(config, in_process())
    assert (summary.n_distinct, summary.n_settings, summary.status, summary.is_exhausted) == (16, 16, "COMPLETE", True)
    settings = [tuple(trial.params.values()) for trial in summary.best]
    assert len(set(settings)) == len(settings) == 5
    assert summary.verdict["n_distinct"] == 16
    assert summary.verdict["n_trials"] == summary.n_trials
    print_summary(summary, "table")
    line = "All 16 settings of the space were tried, so that the search ended before n_trials=60."
    assert line in capsys.readouterr().out
    if sampler == "tpe":
        assert summary.n_trials == 16
        run(replace(config, study="cut", n_trials=7), in_process())
        run(replace(config, study="cut"), in_process())
        assert table("cut")["trials"] == table("small")["trials"]


def test_report_knows_how_many_settings_the_rules_leave(run, in_process, small_study, capsys, tmp_path):
    config = small_study(
        space=SPACE, n_trials=60, constraints=("strategy.ma_window > 10",),
        when={"strategy.rsi_window": "strategy.ma_window < 25"},
    )  # fmt: skip
    summary = run(replace(config, validation=replace(config.validation, null_sweeps=1)), in_process())
    # Two windows with four each, and one alone.
    assert (summary.n_trials, summary.n_settings) == (9, 9)
    run_report(ReportConfig(study="small"), tmp_path)
    assert "All 9 settings of the space were tried" in capsys.readouterr().out
