"""What is seen on stderr while a sweep runs."""

import io
import threading

import pytest
from rich.console import Console

from alphapulse import progress as lines
from alphapulse.reports import progress
from alphapulse.reports.progress import NullProgress, SweepProgress, look_ahead
from alphapulse.validation.null_sweeps import weigh_null_sweeps


@pytest.fixture
def console(monkeypatch):
    """Return a console that is no terminal, and lines without waiting."""
    monkeypatch.setattr(lines, "LINE_SECONDS", 0.0)
    return Console(file=io.StringIO(), width=80)


def test_null_progress_counts_those_as_good(console):
    outcome = weigh_null_sweeps([0.1, 0.9, 0.2], 0.5, n_wanted=99)
    with NullProgress(console, quiet=False) as shown:
        shown.update(outcome)
        for _ in range(2):
            shown.update_holdout(300, 999)
    assert console.file.getvalue() == ("null sweep 3 of at most 99: 1 as good\nhold-out surrogates 300 of 999\n")


def test_sweep_progress_is_a_line_where_there_is_no_terminal(console):
    with SweepProgress(console, n_trials=2000, n_done=0, objective="sharpe_ratio", quiet=False) as shown:
        shown.update(1000, 0.5)
    # How long the rest takes is not known from the first result.
    assert console.file.getvalue() == "1,000/2,000 trials, best sharpe ratio 0.5000\n"


def test_time_left_is_told_from_the_pace_after_a_slow_start(console, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with SweepProgress(console, n_trials=100_000, n_done=0, objective="sharpe_ratio", quiet=False) as shown:
        for now[0], n_done in [(9, 0), (20, 1), (20.5, 9), (21, 73), (21.5, 573), (22, 1073), (22.5, 1573), (23, 2073)]:
            shown.update(n_done, 0.5)
    lines = console.file.getvalue().splitlines()
    assert lines[4] == "1,073/100,000 trials, 1,000/s, best sharpe ratio 0.5000, 99 s left"
    assert lines[-1] == "2,073/100,000 trials, 1,000/s, best sharpe ratio 0.5000, 98 s left"
    assert not any("left" in line for line in lines[:4])


def test_look_ahead_gate_says_how_far_it_has_come(console):
    with progress.Phases(console, quiet=False)(progress.LOOKING) as line:
        look_ahead(line)(40, 300)
    assert console.file.getvalue() == "look-ahead 40 of 300\n"


def test_search_line_has_the_best_before_the_verdict():
    assert progress.search_line(2000, 4.0, "sharpe_ratio", 0.8123) == (
        "2,000 trials in 4.0 s (500/s), best sharpe ratio 0.8123; now: is it luck?"
    )


def test_nothing_is_shown_when_quiet(console):
    with NullProgress(console, quiet=True) as shown:
        shown.update(weigh_null_sweeps([0.1], 0.5, n_wanted=99))
    with SweepProgress(console, n_trials=20, n_done=0, objective="sharpe_ratio", quiet=True) as shown:
        shown.update(10, 0.5)
    assert console.file.getvalue() == ""


def test_rate_is_that_of_the_last_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    rate = progress.Rate(0)
    assert rate.update(0) == 0.0
    for second in range(1, 31):
        now[0] = second
        measured = rate.update(10 * second if second <= 10 else 100 + 1000 * (second - 10))
    assert measured == pytest.approx(1000.0)


def test_rate_of_slow_things_is_that_of_the_last_ones_and_falls_where_none_comes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    rate = progress.Rate(0)
    for second in range(601):
        now[0] = second
        measured = rate.update(second // 60)
    assert measured == pytest.approx(1 / 60)
    now[0] += 3600
    assert rate.update(10) < 1 / 60 / 3


def test_phase_is_a_line_once_it_takes_long(console, monkeypatch):
    monkeypatch.setattr(lines, "FIRST_SECONDS", 0.05)
    phases = progress.Phases(console, quiet=False)
    with phases("fast"):
        pass
    with phases("compiling"):
        threading.Event().wait(0.5)
    assert console.file.getvalue() == "compiling ...\n"
    with progress.Phases(console, quiet=True)("quiet"):
        threading.Event().wait(0.1)
    assert console.file.getvalue() == "compiling ...\n"


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "7 s"), (600, "10 min"), (9000, "2.5 h")])
def test_duration(seconds, text):
    assert progress.duration(seconds) == text
