"""What report and replay say beside their results."""

import pytest

from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.config.schema import ReplayConfig, ReportConfig
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace

pytestmark = pytest.mark.postgres


def test_quiet_leaves_the_warnings_about_the_bars_out(run, in_process, small_study, capsys, tmp_path):
    space = SearchSpace((IntDimension("strategy.ma_window", 10, 60),))
    summary = run(small_study(n_trials=20, space=space), in_process())
    expected = "".join(f"warning: {line}\n" for line in summary.warnings)
    assert "of the opens equal the previous close" in expected
    for quiet, said in ((False, expected), (True, "")):
        run_report(ReportConfig(study="small", quiet=quiet), tmp_path)
        assert capsys.readouterr().err == said
        run_replay(ReplayConfig(study="small", trial=7, quiet=quiet, output="json"))
        assert capsys.readouterr().err == said
