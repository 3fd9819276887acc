"""What a sweep says at its end: best trials, benchmark, verdict, where everything is; as a table or as JSON."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from alphapulse.market.market import Market
from alphapulse.study.records import Study, TrialRecord
from alphapulse.study.store import Store

SHOWN_METRICS = ("sharpe_ratio", "sortino_ratio", "cagr", "volatility", "max_drawdown", "n_trades", "exposure")
PERCENT = frozenset(
    {"cagr", "total_return", "volatility", "max_drawdown", "value_at_risk_95", "win_rate", "exposure", "alpha"}
)
COUNTS = frozenset({"n_trades"})
N_BEST = 5
N_REASONS = 3


@dataclass(frozen=True)
class TrialSummary:
    """One trial as it is shown.

    Attributes
    ----------
    number : int
    values : dict of str to float
        Objectives by name.
    params : dict of str to value
        Swept keys by dotted name.
    metrics : dict of str to float
        NaN where undefined.
    """

    number: int
    values: Mapping[str, float]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class StudySummary:
    """A study at its end, or as stored.

    Attributes
    ----------
    study, status : str
    n_trials, n_failed : int
        Stored trials, and those of them without an objective.
    n_wanted : int
        Trials that the study is to have.
    seed : int
    search : str
        Name of the sampler.
    objectives, directions : tuple of str
    data : str
        One line: symbol, timeframe, scored bars.
    best : tuple of TrialSummary
    benchmark : dict of str to float
        Metrics of buy and hold on the searched bars; empty where they are not known.
    failures : dict of str to int
        Most common reasons of failed trials.
    verdict : dict, optional
        As stored; None while a study is not complete.
    places : dict of str to str
        Where everything is, by what it is.
    warnings : tuple of str
    seconds : dict of str to float
        By phase [s]; empty for a stored study.
    """

    study: str
    status: str
    n_trials: int
    n_failed: int
    n_wanted: int
    seed: int
    search: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    data: str
    best: tuple[TrialSummary, ...]
    benchmark: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def summarise(
    store: Store,
    study: Study,
    *,
    best: Sequence[TrialRecord],
    status: str,
    n_wanted: int,
    data: str,
    benchmark: Mapping[str, float],
    verdict: Mapping[str, Any] | None,
    places: Mapping[str, str],
    warnings: tuple[str, ...] = (),
    seconds: Mapping[str, float] | None = None,
) -> StudySummary:
    """Return the summary of a study from what is stored and what is given."""
    failures = store.failures(study)
    return StudySummary(
        study=study.name,
        status=status,
        n_trials=store.n_trials_done(study),
        n_failed=sum(failures.values()),
        n_wanted=n_wanted,
        seed=study.seed,
        search=str(study.config.get("sampler", "")),
        objectives=study.objectives,
        directions=study.directions,
        data=data,
        best=tuple(
            TrialSummary(
                number=trial["number"],
                values=dict(zip(study.objectives, trial["values"], strict=True)),
                params=trial["params"],
                metrics=trial["metrics"],
            )
            for trial in best
        ),
        benchmark=benchmark,
        failures=dict(list(failures.items())[:N_REASONS]),
        verdict=verdict,
        places=places,
        warnings=warnings,
        seconds=dict(seconds or {}),
    )


def describe_data(market: Market, holdout: Market | None) -> str:
    """Return one line: what was traded, over which bars, and what was held back."""
    bars = market.bars
    first, last = (_date(bars.timestamp[place]) for place in (market.first, -1))
    text = f"{bars.symbol} {bars.timeframe}, {market.n_scored:,} bars from {first} to {last}"
    if holdout is None:
        return f"{text}, no hold-out"
    return f"{text}, {holdout.n_scored:,} held out from {_date(holdout.bars.timestamp[holdout.first])} on"


def _date(nanoseconds: int) -> str:
    return str(np.datetime64(int(nanoseconds), "ns").astype("datetime64[D]"))


def print_summary(summary: StudySummary, output: str) -> None:
    """Print to stdout: the table, or one JSON document and nothing else."""
    if output == "json":
        print_json(asdict(summary))
        return
    _print_table(stdout_console(), summary)


def stdout_console() -> Console:
    """Return a console for results, wide enough for tables where stdout is no terminal."""
    return Console(file=sys.stdout, highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)


def print_places(console: Console, places: Mapping[str, str]) -> None:
    """Print where everything is, one line each."""
    for name, place in places.items():
        console.print(f"{name}: {place}", soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document to stdout; what is not finite is null."""
    json.dump(plain(document), sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


def plain(value: Any) -> Any:
    """Return plain values for JSON; numpy's become Python's, NaN and infinities None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def format_metric(name: str, value: float | None) -> str:
    """Return a metric as text: percent, whole or with three decimals."""
    if value is None or math.isnan(value):
        return "-"
    if name in PERCENT:
        return f"{value:.2%}"
    return f"{value:,.0f}" if name in COUNTS else f"{value:,.3f}"


def format_parameter(value: Any) -> str:
    """Return a parameter as text of at most five digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def metrics_table(title: str, rows: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Table:
    """Return metrics as a table, one row a metric, one column an entry of `rows`."""
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    for heading in rows:
        table.add_column(heading, justify="right")
    for name in names:
        table.add_row(name, *(format_metric(name, metrics.get(name)) for metrics in rows.values()))
    return table


def _print_table(console: Console, summary: StudySummary) -> None:
    console.print(_metrics_of_best(summary))
    if summary.best:
        console.print(_parameters_of_best(summary))
    else:
        console.print("No trial has an objective.")
    console.print(f"Data: {summary.data}; search: {summary.search}, seed {summary.seed}.", soft_wrap=True)
    if summary.n_failed:
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in summary.failures.items())
        console.print(f"{summary.n_failed:,} of {summary.n_trials:,} trials failed: {reasons}", soft_wrap=True)
    if summary.verdict is not None:
        for line in verdict_lines(summary.verdict):
            console.print(line, soft_wrap=True)
    elif summary.n_trials < summary.n_wanted:
        console.print(
            f"{summary.n_trials:,} of {summary.n_wanted:,} trials are stored; "
            f"the same command with study={summary.study} continues.",
            soft_wrap=True,
        )
    if summary.seconds:
        console.print("Seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in summary.seconds.items()) + ".")
    print_places(console, summary.places)


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


def _heading(name: str) -> str:
    return name.replace("_", "\n").replace(".", "\n")


def verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    """Return a stored verdict as text."""
    return [str(line) for line in verdict.get("lines", [f"{verdict['word']}: {verdict['sentence']}"])]
