"""What is seen on stderr while a sweep runs."""

import io

import pytest
from rich.console import Console

from alphapulse.reports import progress
from alphapulse.reports.progress import NullProgress, SweepProgress
from alphapulse.validation.null_sweeps import weigh_null_sweeps


@pytest.fixture
def console(monkeypatch):
    """Return a console that is no terminal, and lines without waiting."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    return Console(file=io.StringIO(), width=80)


def test_null_progress_counts_those_as_good(console):
    outcome = weigh_null_sweeps([0.1, 0.9, 0.2], 0.5, n_wanted=99)
    with NullProgress(console, quiet=False) as shown:
        shown.update(outcome)
    assert console.file.getvalue() == "null sweep 3 of at most 99: 1 as good\n"


def test_sweep_progress_is_a_line_where_there_is_no_terminal(console):
    with SweepProgress(console, n_trials=2000, n_done=0, objective="sharpe_ratio", quiet=False) as shown:
        shown.update(1000, 0.5)
    line = console.file.getvalue()
    assert line.startswith("1,000/2,000 trials, ")
    assert "best sharpe_ratio 0.5000" in line
    assert "\x1b" not in line


def test_nothing_is_shown_when_quiet(console):
    with NullProgress(console, quiet=True) as shown:
        shown.update(weigh_null_sweeps([0.1], 0.5, n_wanted=99))
    with SweepProgress(console, n_trials=20, n_done=0, objective="sharpe_ratio", quiet=True) as shown:
        shown.update(10, 0.5)
    assert console.file.getvalue() == ""
