"""One trial on every symbol of a universe, or an account: who agrees, how much hangs on one, and how that is drawn."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alphapulse.backtesting.batch import BatchOutcome, EngineColumns, simulate_batch
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.recording import Equities
from alphapulse.market.market import Market
from alphapulse.market.universe import universe_market
from alphapulse.reports.formatting import SHOWN_METRICS, format_metric
from alphapulse.reports.page.chart import Chart, axis, number, rounded
from alphapulse.reports.page.subject import Subject
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.universe.portfolio import Portfolios
from alphapulse.typing import Float64Array1D

SHARPE = METRICS.index("sharpe_ratio")
MOST_LEFT_OUT = 200
"""Symbols up to which each is left out in turn."""


def survey_symbols(market: Market, experiment: Experiment, parameters: Float64Array1D) -> dict[str, Any]:
    """Return how one trial does on every symbol; empty where one symbol is traded, or the trial fails.

    Returns
    -------
    dict
        `symbols`: metrics by symbol and name; `n_symbols`, and `n_agree`: those with a Sharpe ratio above 0;
        `portfolio`: the Sharpe ratio of all in equal parts; `without`: that without each of them, by symbol.
    """
    if not market.members:
        return {}
    accounts = [_account(member, experiment, parameters) for member in market.members]
    if not all(np.isfinite(outcome.metrics).any() for outcome, _ in accounts):
        return {}
    names = [member.bars.symbol for member in market.members]
    engine = _engine(experiment, parameters)
    by_symbol = {
        name: dict(zip(METRICS, outcome.metrics[0].tolist(), strict=True))
        for name, (outcome, _) in zip(names, accounts, strict=True)
    }
    without = {}
    if 1 < len(names) <= MOST_LEFT_OUT:
        for left, name in enumerate(names):
            kept = [place for place in range(len(names)) if place != left]
            rest = universe_market([market.members[place] for place in kept], market.bars.periods_per_year)
            without[name] = _sharpe(rest, [accounts[place] for place in kept], engine)
    return {
        "symbols": by_symbol,
        "n_symbols": len(names),
        "n_agree": sum(metrics["sharpe_ratio"] > 0.0 for metrics in by_symbol.values()),
        "portfolio": _sharpe(market, accounts, engine),
        "without": without,
    }


def describe_survey(survey: Mapping[str, Any]) -> list[str]:
    """Return what `survey_symbols` found in a sentence or two."""
    if not survey:
        return []
    lines = [
        f"{survey['n_agree']} of {survey['n_symbols']} symbols have a Sharpe ratio above 0 with the chosen setting."
    ]
    known = {name: value for name, value in survey["without"].items() if value is not None and np.isfinite(value)}
    if known and survey["portfolio"] is not None:
        most = min(known, key=lambda name: known[name])
        lines.append(
            f"Without {most}, on which most hangs, the portfolio's Sharpe ratio is {known[most]:.2f}, not "
            f"{survey['portfolio']:.2f}."
        )
    return lines


def describe_score(experiment: Experiment, value: float) -> list[str]:
    """Return what the search saw of the chosen trial, where that is not the portfolio's: nothing else shows it."""
    score = experiment.universe_score
    if score == "portfolio":
        return []
    what = "share of symbols with one above 0" if score == "share" else f"{score} of the symbols"
    return [f"The search saw {value:.3f}, of {experiment.objectives[0]} the {what} (universe.score={score})."]


def _engine(experiment: Experiment, parameters: Float64Array1D) -> EngineColumns:
    _, swept = experiment.columns(parameters[None, :])
    return EngineColumns.build(experiment.engine, swept, 1)


def _account(member: Market, experiment: Experiment, parameters: Float64Array1D) -> tuple[BatchOutcome, Equities]:
    strategy, _ = experiment.columns(parameters[None, :])
    targets = experiment.definition.block(member.bars, strategy, 1)
    equities = Equities.of(member, 1)
    return simulate_batch(member, targets, _engine(experiment, parameters), follower=equities), equities


def _sharpe(market: Market, accounts: list[tuple[BatchOutcome, Equities]], engine: EngineColumns) -> float:
    """Return the Sharpe ratio of the accounts of all symbols of `market` in equal parts."""
    portfolios = Portfolios(market, engine)
    for place, (outcome, equities) in enumerate(accounts):
        equities.tell(portfolios.follow(place))
        portfolios.end(outcome)
    return float(portfolios.outcome().metrics[0, SHARPE])


ROW_HEIGHT = 18
COLOURED = {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "cagr", "total_return", "max_drawdown", "win_rate"}


def universe_charts(subject: Subject) -> list[Chart]:
    """Return a heat-map of symbols by metric, and the Sharpe ratio without each symbol; nothing without a universe.

    Of an account what each symbol has brought in.
    """
    if subject.inputs is not None and subject.inputs.market.is_account:
        return _account_charts(subject)
    survey: dict[str, Any] = subject.verdict.get("universe") or {}
    if not survey or not subject.is_judged:
        return []
    symbols: dict[str, dict[str, float]] = survey["symbols"]
    names = sorted(
        symbols, key=lambda name: (symbols[name]["sharpe_ratio"] is None, symbols[name]["sharpe_ratio"] or 0)
    )
    metrics = list(dict.fromkeys(("sharpe_ratio", "total_return", *SHOWN_METRICS)))
    shown = [name for name in metrics if any(symbols[symbol].get(name) is not None for symbol in names)]
    rows = [[symbol, *(format_metric(m, symbols[symbol].get(m)) for m in shown)] for symbol in reversed(names)]
    charts = [
        Chart(
            "symbols",
            "Symbol by symbol",
            "The chosen trial on each symbol alone; colour is rank among the symbols, the bluer the better. "
            f"{survey['n_agree']} of {survey['n_symbols']} have a Sharpe ratio above 0.",
            [
                {
                    "type": "heatmap",
                    "x": [name.replace("_", " ") for name in shown],
                    "y": names,
                    "z": [[_rank(symbols, symbol, metric) for metric in shown] for symbol in names],
                    "text": [
                        [format_metric(metric, symbols[symbol].get(metric)) for metric in shown] for symbol in names
                    ],
                    "texttemplate": "%{text}",
                    "hovertemplate": "%{y}, %{x}: %{text}<extra></extra>",
                    "colorscale": "@diverging",
                    "zmin": 0,
                    "zmax": 1,
                    "showscale": False,
                }
            ],
            {"xaxis": axis(""), "yaxis": axis("") | {"type": "category"}},
            ["symbol", *(name.replace("_", " ") for name in shown)],
            rows,
            height=120 + ROW_HEIGHT * len(names),
            is_wide=True,
        )
    ]
    without = {name: value for name, value in (survey.get("without") or {}).items() if value is not None}
    if without:
        order = sorted(without, key=lambda name: without[name])
        charts.append(
            Chart(
                "leave-one-out",
                "Without each symbol",
                f"Sharpe ratio of the portfolio of all others; of all it is {number(survey['portfolio'])}. A long way "
                "below hangs on that one symbol.",
                [
                    {
                        "type": "bar",
                        "x": order,
                        "y": rounded([without[name] for name in order], 4),
                        "marker": {"color": "@chosen"},
                        "showlegend": False,
                    }
                ],
                {"xaxis": axis("left out") | {"type": "category"}, "yaxis": axis("Sharpe ratio")},
                ["left out", "Sharpe ratio"],
                [[name, number(without[name])] for name in order],
                height=300,
                is_wide=True,
            )
        )
    return charts


def _account_charts(subject: Subject) -> list[Chart]:
    """Return the net profits of the symbols of an account, by symbol, on all bars that are shown."""
    if not subject.runs or subject.inputs is None:
        return []
    trades = pd.concat([run.trades for run in subject.runs], ignore_index=True)
    fills = pd.concat([run.fills for run in subject.runs], ignore_index=True)
    weights = pd.concat([run.weights for run in subject.runs if run.weights is not None])
    rows, profits = [], {}
    for symbol in subject.inputs.market.bars.symbols:
        own = trades[trades["symbol"] == symbol]
        closed = own[own["reason"] != "end"]
        profits[symbol] = float(own["net_profit"].sum())
        rows.append(
            [
                symbol,
                number(profits[symbol], ",.0f"),
                f"{len(closed):,}",
                number(float((closed["net_profit"] > 0.0).mean()) if len(closed) else None, ".0%"),
                number(float(fills.loc[fills["symbol"] == symbol, "cost"].sum()), ",.0f"),
                number(float(weights[symbol].mean()), "+.1%"),
                number(float(weights[symbol].abs().mean()), ".1%"),
            ]
        )
    order = sorted(profits, key=lambda symbol: profits[symbol])
    return [
        Chart(
            "account",
            "Symbol by symbol",
            f"What each symbol has brought in with {subject.name}, its costs paid and what is open marked at the end.",
            [
                {
                    "type": "bar",
                    "orientation": "h",
                    "y": order,
                    "x": rounded([profits[symbol] for symbol in order]),
                    "marker": {"color": "@chosen"},
                    "showlegend": False,
                }
            ],
            {"xaxis": axis("net profit"), "yaxis": axis("") | {"type": "category"}},
            ["symbol", "net profit", "trades", "won", "costs", "mean weight", "mean size"],
            sorted(rows, key=lambda row: -profits[row[0]]),
            height=160 + ROW_HEIGHT * len(order),
        )
    ]


def _rank(symbols: dict[str, dict[str, float]], symbol: str, metric: str) -> float:
    """Return the place of a symbol among all by a metric in [0, 1], larger is better; the middle where nothing is."""
    value = symbols[symbol].get(metric)
    known = sorted(v for one in symbols.values() if (v := one.get(metric)) is not None)
    if value is None or metric not in COLOURED or len(known) < 2:
        return 0.5
    return known.index(value) / (len(known) - 1)
