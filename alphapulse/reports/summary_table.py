"""A study's summary on stdout, as tables or as one JSON document."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from alphapulse.plain import command_line
from alphapulse.reports.formatting import (
    SHOWN_METRICS,
    format_metric,
    format_parameter,
    print_json,
    print_places,
    stdout_console,
)
from alphapulse.reports.summary import DefaultsTrial, StudySummary
from alphapulse.validation.verdict.decision import RULES


def print_summary(summary: StudySummary, output: str) -> None:
    """Print the table to stdout; as JSON, nothing: a script reads one document, once all that it names is there."""
    if output == "table":
        _print_table(stdout_console(), summary)


def print_ending(summary: StudySummary, output: str) -> None:
    """Print to stdout where everything is; as JSON, the whole document."""
    if output == "json":
        print_json(summary)
    else:
        print_places(stdout_console(), summary.places)


def _print_table(console: Console, summary: StudySummary) -> None:
    console.print(_metrics_of_best(summary))
    if summary.best:
        console.print(_parameters_of_best(summary))
    else:
        console.print("No trial has an objective.")
    if summary.best and not summary.best[0].feasible:
        console.print(summary.warnings[-1], soft_wrap=True)
    if summary.defaults is not None:
        console.print(defaults_line(summary.defaults), soft_wrap=True)
    console.print(f"Data: {summary.data}; search: {summary.search}, seed {summary.seed}.", soft_wrap=True)
    if summary.n_failed:
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in summary.failures.items())
        console.print(f"{summary.n_failed:,} of {summary.n_trials:,} trials failed: {reasons}", soft_wrap=True)
    if summary.n_infeasible:
        console.print(f"{summary.n_infeasible:,} of {summary.n_trials:,} trials are infeasible.")
    if summary.verdict is not None:
        for line in verdict_lines(summary.verdict):
            console.print(line, soft_wrap=True)
    elif summary.n_trials < summary.n_wanted:
        console.print(
            f"{summary.n_trials:,} of {summary.n_wanted:,} trials are stored; "
            f"`{command_line('sweep', study=summary.study)}` continues.",
            soft_wrap=True,
        )


def _metrics_of_best(summary: StudySummary) -> Table:
    shown = list(dict.fromkeys([*summary.objectives, *SHOWN_METRICS]))
    # With validation.objective the search saw another value than the metric of that name.
    scored = [
        name for name in summary.objectives if any(trial.values[name] != trial.metrics[name] for trial in summary.best)
    ]
    table = Table(title=f"Study {summary.study}: best of {summary.n_trials:,} trials", title_justify="left")
    table.add_column("trial", justify="right")
    for name in scored:
        table.add_column(f"search\nvalue of\n{_heading(name)}", justify="right")
    for name in shown:
        table.add_column(_heading(name), justify="right")
    for trial in summary.best:
        table.add_row(
            f"{trial.number:,}",
            *(f"{trial.values[name]:,.3f}" for name in scored),
            *(format_metric(name, trial.metrics[name]) for name in shown),
        )
    if summary.benchmark:
        cells = [format_metric(name, summary.benchmark.get(name)) for name in shown]
        table.add_section()
        table.add_row("buy & hold", *("" for _ in scored), *cells)
    return table


def _parameters_of_best(summary: StudySummary) -> Table:
    table = Table()
    table.add_column("trial", justify="right")
    for key in summary.best[0].params:
        table.add_column(_heading(key.partition(".")[2]), justify="right")
    for trial in summary.best:
        table.add_row(f"{trial.number:,}", *(format_parameter(value) for value in trial.params.values()))
    return table


def defaults_line(defaults: DefaultsTrial) -> str:
    """Return where the strategy's own setting ended among the trials."""
    if defaults.error is not None:
        return f"Your defaults (trial {defaults.number}): failed, {defaults.error}"
    values = ", ".join(f"{name} {value:,.3f}" for name, value in defaults.values.items())
    if not defaults.feasible:
        return f"Your defaults (trial {defaults.number}): {values}, infeasible."
    rank = "" if defaults.better_than is None else f", better than {defaults.better_than:.0%} of the other trials"
    return f"Your defaults (trial {defaults.number}): {values}{rank}."


def _heading(name: str) -> str:
    return name.replace("_", "\n").replace(".", "\n")


def verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    """Return a stored verdict as text; one that older rules made says so."""
    lines = [str(line) for line in verdict.get("lines", [f"{verdict['word']}: {verdict['sentence']}"])]
    if verdict["rules"] != RULES:
        lines.append(
            f"  This verdict was made by rules {verdict['rules']}, which are no longer used; rules {RULES} test the "
            "whole search on surrogate markets."
        )
    return lines
