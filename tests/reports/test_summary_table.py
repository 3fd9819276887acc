"""What a study's end looks like on a terminal of 80 by 24."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from alphapulse.reports import summary_table
from alphapulse.reports.closing import tear_sheet_head
from alphapulse.reports.summary import ChosenTrial, DefaultsTrial, StudySummary
from alphapulse.validation.verdict.decision import RULES

NAMES = ("sharpe_ratio", "sortino_ratio", "total_return", "cagr", "volatility", "max_drawdown")
METRICS = dict.fromkeys(NAMES, 0.1234) | {"n_trades": 173.0, "exposure": 0.72}
PARAMS = {f"strategy.some_parameter_{place}": 1.23456 + place for place in range(8)}
CHOSEN = ChosenTrial(1737, {"sharpe_ratio": 0.1234}, PARAMS, METRICS, feasible=True, holdout=METRICS)
SENTENCE = (
    "We ran your whole search again on 99 markets with the same moves in another order: 17 of them gave something as "
    "good. But on the bars that the search never saw, 56% of the same moves in another order did as well as the real "
    "ones: its timing did not last."
)
SUMMARY = StudySummary(
    study="long_short_daily-20260101-120000-ab12",
    status="COMPLETE",
    definitions=2,
    n_trials=2000,
    n_failed=3,
    n_infeasible=0,
    n_wanted=2000,
    seed=0,
    search="tpe",
    objectives=("sharpe_ratio",),
    directions=("maximize",),
    data="SAMPLE_SP500 1d, 3,824 bars from 1999-12-31 to 2015-03-16 (252 a year), 956 held out from 2015-03-17 on",
    best=(CHOSEN,),
    front=(1737,),
    benchmark=METRICS,
    benchmark_holdout=METRICS,
    failures={"The objective `sharpe_ratio` is undefined: the trial never trades.": 3},
    verdict={
        "rules": RULES,
        "word": "LIKELY LUCK",
        "sentence": SENTENCE,
        "lines": [f"LIKELY LUCK: {SENTENCE}", "  DSR: 1."],
    },
    places={"database": "x", "report": "/runs/1/report.html", "report_again": "python x", "run_directory": "/runs/1"},
    seconds={"search": 3.25},
    chosen=CHOSEN,
    sensitivity={
        "rows": [
            {"world": world, "sharpe_ratio": -0.1234}
            for world in ("costs x 0", "as it is", "costs x 2", "costs x 4", "one bar later", "execution next_open")
        ],
        "break_even_commission": 0.00651,
    },
    defaults=DefaultsTrial(0, {"sharpe_ratio": -0.439}, 0.01, None),
)


@pytest.fixture
def printed(monkeypatch):
    """Return a printer of summaries on 80 columns; it returns lines."""

    def show(summary, **options):
        file = io.StringIO()
        console = Console(file=file, highlight=False, markup=False, width=80)
        monkeypatch.setattr(summary_table, "stdout_console", lambda file: console)
        summary_table.print_summary(summary, "table", **options)
        summary_table.print_ending(summary, "table", **options)
        return file.getvalue().splitlines()

    return show


def test_summary_fits_a_small_terminal_with_the_verdict_last(printed):
    shortage = (
        "Short data: 48 searched bars leave out walk-forward (from 62 on); 12 held-out bars can confirm only a yearly "
        "Sharpe ratio above 8.4; one of 1 takes 685 (2.7 years)."
    )
    short = printed(replace(SUMMARY, verdict={**SUMMARY.verdict, "shortage": shortage}))
    assert shortage in " ".join(" ".join(short).split())
    lines = printed(SUMMARY)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert text.count("LIKELY LUCK") == 1
    assert SENTENCE in text
    assert "Chosen: trial 1,737, some_parameter_0 1.2346," in text
    assert text.index("held out") < text.index("LIKELY LUCK") < text.index("Next: leave this setting;")
    assert (
        "Its Sharpe ratio: -0.123 costs x 0, -0.123 costs x 2, -0.123 one bar later; edge gone at a commission "
        "of 0.651%."
    ) in text
    assert "DSR" not in text
    assert lines[-2:] == ["report: /runs/1/report.html", "report again: python x"]
    assert "never trades" not in text
    assert "3 x The objective" in " ".join(printed(replace(SUMMARY, n_trials=9)))


def test_details_has_the_rest(printed):
    text = "\n".join(printed(SUMMARY, details=True))
    assert "  DSR: 1." in text
    assert "-0.123 execution next_open; edge gone" in text.replace("\n", " ")
    assert "Best trials" in text
    assert "more columns do not fit here" in text
    assert "Seconds: search 3.2." in text
    assert "database: x" in text


def test_interrupted_study_says_how_it_goes_on(printed):
    text = " ".join(printed(replace(SUMMARY, n_trials=40, verdict=None, chosen=None, status="INTERRUPTED")))
    assert f"40 of 2,000 trials are stored; `python -m alphapulse.sweep study={SUMMARY.study}` continues." in text
    assert "Best: trial 1,737" in text


def test_tear_sheet_says_what_it_is_of():
    first, second, third = tear_sheet_head(replace(SUMMARY, bars={"holdout_start": "2015-03-17T00:00:00+00:00"}))
    assert first == f"LIKELY LUCK: {SENTENCE}"
    assert second.startswith(
        f"Study {SUMMARY.study}, trial 1,737, the best of 2,000: strategy.some_parameter_0=1.2346,"
    )
    assert third.endswith("the hold-out from 2015-03-17 on is not in it.")
