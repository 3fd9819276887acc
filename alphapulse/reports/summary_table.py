"""A study's summary on stdout: the verdict and what it rests on, on one screen; or one JSON document."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console

from alphapulse.plain import command_line
from alphapulse.reports.formatting import (
    SHOWN_METRICS,
    fitted_table,
    format_metric,
    format_parameter,
    print_json,
    print_places,
    stdout_console,
)
from alphapulse.reports.summary import DefaultsTrial, StudySummary, TrialSummary
from alphapulse.validation.verdict.decision import RULES

COMPARED = {
    "sharpe_ratio": "Sharpe",
    "total_return": "return",
    "cagr": "yearly",
    "max_drawdown": "drawdown",
    "exposure": "exposure",
}
NEXT = {
    "SURVIVES": "Next: follow it on paper; bars that come from now on are the only test that is left.",
    "LIKELY LUCK": "Next: leave this setting; try another idea or other bars, not a longer search.",
}
SHOWN_WORLDS = ("costs x 0", "costs x 2", "one bar later")
"""Of the other worlds, those that a small terminal has room for."""
SHOWN_PLACES = ("report", "report_again")
FEW_FAILED = 0.1
"""Share of failed trials up to which the reasons are a detail."""


def print_summary(summary: StudySummary, output: str, *, details: bool = False, file: TextIO | None = None) -> None:
    """Print to stdout what came out, the verdict last; as JSON nothing, since a script reads one document at the end.

    Parameters
    ----------
    summary : StudySummary
    output : {"table", "json"}
    details : bool
        Whether the best trials, every test's line and the times are printed before.
    file : text file, optional
        In place of stdout.
    """
    if output == "table":
        _print_table(stdout_console(file), summary, details)


def print_ending(summary: StudySummary, output: str, *, details: bool = False, file: TextIO | None = None) -> None:
    """Print to stdout or `file` where everything is, or with `details` all of it; as JSON, the whole document."""
    if output == "json":
        print_json(summary, file)
        return
    console = stdout_console(file)
    if details and summary.seconds:
        console.print("Seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in summary.seconds.items()) + ".")
    shown = summary.places if details else {n: p for n, p in summary.places.items() if n in SHOWN_PLACES}
    print_places(console, shown)


def _print_table(console: Console, summary: StudySummary, details: bool) -> None:
    failed = f", {summary.n_failed:,} failed" if summary.n_failed else ""
    infeasible = f", {summary.n_infeasible:,} infeasible" if summary.n_infeasible else ""
    settings = f" of {summary.n_distinct:,} settings" if 0 < summary.n_distinct < summary.n_trials else ""
    trials = f"{summary.n_trials:,} trials{settings}{failed}{infeasible}"
    console.print(f"Study {summary.study}: {trials}; {summary.search}, seed {summary.seed}.")
    if summary.stored is not None:
        console.print(summary.stored)
    console.print(f"Data: {summary.data}.")
    if summary.ended is not None:
        console.print(summary.ended)
    elif summary.is_exhausted and summary.n_trials < summary.n_wanted:
        console.print(exhausted_line(summary))
    if summary.n_failed and (details or summary.n_failed > FEW_FAILED * summary.n_trials):
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in summary.failures.items())
        console.print(f"Why they failed: {reasons}")
    if summary.best and not summary.best[0].feasible:
        console.print(summary.warnings[-1])
    if not summary.best:
        console.print("No trial has an objective.")
    else:
        if summary.defaults is not None:
            console.print(defaults_line(summary.defaults))
        _print_chosen(console, summary)
        if len(summary.objectives) > 1 and summary.front:
            _print_front(console, summary)
    if summary.sensitivity:
        console.print(sensitivity_line(summary.sensitivity, None if details else SHOWN_WORLDS))
    for line in ((summary.verdict or {}).get("universe") or {}).get("lines", ()):
        console.print(line, soft_wrap=True)
    if details:
        _print_details(console, summary)
    if summary.verdict is not None:
        _print_verdict(console, summary, summary.verdict)
    elif summary.n_trials < summary.n_wanted and not summary.is_exhausted:
        console.print(
            f"{summary.n_trials:,} of {summary.n_wanted:,} trials are stored; "
            f"`{command_line('sweep', study=summary.study)}` continues.",
            soft_wrap=True,
        )


def exhausted_line(summary: StudySummary) -> str:
    """Return why a search has fewer trials than were wanted: there is nothing left to try."""
    return (
        f"All {summary.n_distinct:,} settings of the space were tried, so that the search ended before "
        f"n_trials={summary.n_wanted}."
    )


def _print_chosen(console: Console, summary: StudySummary) -> None:
    """Print the setting of the chosen trial, or else of the best one, and its results beside buy and hold."""
    shown = summary.chosen or summary.best[0]
    what = "Chosen" if summary.chosen is not None else "Best"
    setting = ", ".join(f"{key.partition('.')[2]} {format_parameter(value)}" for key, value in shown.params.items())
    console.print(f"{what}: trial {shown.number:,}, {setting}.")
    rows = {"in sample": shown.metrics, "buy & hold": summary.benchmark}
    held = summary.chosen.holdout if summary.chosen is not None else None
    if held is not None:
        rows |= {"held out": held, "buy & hold, held out": summary.benchmark_holdout or {}}
    columns = {"": list(rows)}
    for objective in summary.objectives:
        if objective not in COMPARED:
            columns[objective.replace("_", " ")] = [_value(objective, shown, metrics) for metrics in rows.values()]
    for name, heading in COMPARED.items():
        columns[heading] = [format_metric(name, metrics.get(name)) for metrics in rows.values()]
    console.print(fitted_table("", columns, console.width, left=[""], light=True))


def sensitivity_line(found: Mapping[str, Any], shown: Sequence[str] | None = None) -> str:
    """Return how the chosen trial fares in other worlds, or in those that are `shown`, in one line."""
    rows = [row for row in found["rows"] if shown is None or row["world"] in shown]
    worlds = ", ".join(f"{format_metric('sharpe_ratio', row['sharpe_ratio'])} {row['world']}" for row in rows)
    level = found.get("break_even_commission")
    gone = "" if level is None else f"; edge gone at a commission of {level:.3%}"
    both = found.get("bars_touching_both")
    touched = f" {both:,} bars touched both stop and take profit; the stop was taken to be first." if both else ""
    return f"Its Sharpe ratio: {worlds}{gone}.{touched}"


def _print_front(console: Console, summary: StudySummary) -> None:
    """Print what the objectives of some trials of the front are, and which of them is chosen."""
    number = None if summary.chosen is None else summary.chosen.number
    n, n_shown = len(summary.front), len(summary.best)
    shown = "" if n_shown == n else f", {n_shown} of them shown"
    chosen = "" if number is None else f"; trial {number:,} is weighed (choose={summary.choose})"
    console.print(f"The Pareto front has {n:,} trial{'s' if n > 1 else ''}{shown}{chosen}.")
    columns = {"trial": [f"{t.number:,}{' *' if t.number == number else ''}" for t in summary.best]}
    for name in summary.objectives:
        columns[name.replace("_", " ")] = [f"{trial.values[name]:,.4g}" for trial in summary.best]
    console.print(fitted_table("", columns, console.width, light=True))


def _value(objective: str, shown: TrialSummary, metrics: Mapping[str, float]) -> str:
    if objective in metrics:
        return format_metric(objective, metrics[objective])
    return f"{shown.values[objective]:,.3f}" if metrics is shown.metrics else "-"


def _print_verdict(console: Console, summary: StudySummary, verdict: Mapping[str, Any]) -> None:
    first, *_ = verdict_lines(verdict)
    word = first.partition(": ")[0]
    console.print(f"\n{first}")
    if verdict["rules"] != RULES:
        console.print(verdict_lines(verdict)[-1].strip())
    if verdict.get("shortage"):
        console.print(verdict["shortage"])
    following = NEXT.get(word)
    if following is not None:
        console.print(following)


def _print_details(console: Console, summary: StudySummary) -> None:
    if summary.best:
        console.print(_best_table(summary, console.width))
    for line in verdict_lines(summary.verdict)[1:] if summary.verdict is not None else []:
        console.print(line, soft_wrap=True)


def _best_table(summary: StudySummary, width: int) -> Any:
    metrics = list(
        dict.fromkeys([*(name for name in summary.objectives if name in summary.best[0].metrics), *SHOWN_METRICS])
    )
    columns = {"trial": [f"{trial.number:,}" for trial in summary.best]}
    for name in summary.objectives:
        # With validation.objective the search saw another value than the metric of that name.
        if any(trial.values[name] != trial.metrics.get(name) for trial in summary.best):
            columns[f"search value of {name}".replace("_", " ")] = [f"{t.values[name]:,.3f}" for t in summary.best]
    for name in metrics:
        columns[name.replace("_", " ")] = [format_metric(name, trial.metrics[name]) for trial in summary.best]
    for key in dict.fromkeys(key for trial in summary.best for key in trial.params):
        shown = [format_parameter(trial.params.get(key, math.nan)) for trial in summary.best]
        columns[key.partition(".")[2].replace("_", " ")] = shown
    return fitted_table("Best trials", columns, width)


def defaults_line(defaults: DefaultsTrial) -> str:
    """Return where the strategy's own setting ended among the trials."""
    if defaults.error is not None:
        return f"Your defaults (trial {defaults.number}): failed, {defaults.error}"
    values = ", ".join(f"{name} {value:,.3f}" for name, value in defaults.values.items())
    if not defaults.feasible:
        return f"Your defaults (trial {defaults.number}): {values}, infeasible."
    rank = "" if defaults.better_than is None else f", better than {defaults.better_than:.0%} of the others"
    return f"Your defaults (trial {defaults.number}): {values}{rank}."


def verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    """Return a stored verdict as text; one that older rules made says so."""
    lines = [str(line) for line in verdict.get("lines", [f"{verdict['word']}: {verdict['sentence']}"])]
    if verdict["rules"] != RULES:
        lines.append(
            f"  This verdict was made by rules {verdict['rules']}, which are no longer used; rules {RULES} test the "
            "whole search on surrogate markets."
        )
    return lines
