"""The chosen trial's trades on the price."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from alphapulse.reports.page.chart import Chart, axis, dates, number, rounded
from alphapulse.reports.page.curves import shade
from alphapulse.reports.page.subject import Subject
from alphapulse.typing import Float64Array1D, Int64Array1D

MOST_PRICES = 5_000
MOST_FILLS = 500
N_LARGEST = 50
NEAR_A_TRADE = 3


def price_chart(subject: Subject) -> list[Chart]:
    """Return the price with the chosen trial's fills, drawn from at most `MOST_PRICES` bars."""
    if subject.inputs is None or not subject.runs:
        return []
    if subject.inputs.market.members or subject.inputs.market.is_account:
        return []
    bars, first = (subject.holdout or subject.inputs.market).bars, subject.inputs.market.first
    fills = pd.concat([getattr(run, "fills", run.trades) for run in subject.runs], ignore_index=True)
    sides, reasons, moments = (list(map(str, fills[name])) for name in ("side", "reason", "timestamp"))
    price, units, value, cost = (fills[name].to_numpy(dtype=np.float64) for name in ("price", "units", "value", "cost"))
    stamps = bars.timestamp[first:]
    filled = fills["timestamp"].dt.tz_convert(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
    place = np.searchsorted(stamps, filled)
    largest = np.argsort(-np.abs(value), kind="stable")[:N_LARGEST]
    spread = np.linspace(0, max(len(fills) - 1, 0), min(len(fills), MOST_FILLS)).astype(np.int64)
    drawn: list[int] = np.unique(np.r_[largest, spread]).astype(np.int64).tolist()
    shown = price_places(bars.low[first:], bars.high[first:], place[largest])
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": bars.symbol,
            "x": dates(stamps[shown], is_intraday=subject.is_intraday),
            "y": rounded(bars.close[first:][shown]),
            "line": {"color": "@market", "width": 1},
            "hoverinfo": "skip",
        }
    ]
    for side, symbol in (("buy", "triangle-up"), ("sell", "triangle-down")):
        rows = [i for i in drawn if sides[i] == side]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": side,
                "x": dates(stamps[place[rows]], is_intraday=subject.is_intraday),
                "y": rounded(price[rows]),
                "text": [f"{side} {abs(units[i]):,.4g} units, {reasons[i]}" for i in rows],
                "marker": {"symbol": symbol, "size": 8, "color": f"@{side}", "line": {"width": 0.5, "color": "white"}},
            }
        )
    n = f"{len(fills):,} fills" if len(drawn) == len(fills) else f"{len(drawn):,} of {len(fills):,} fills"
    return [
        Chart(
            "price",
            "Trades on the price",
            f"{n} of {subject.name}, the {min(N_LARGEST, len(fills))} largest among them.",
            traces,
            {"xaxis": axis(type="date"), "yaxis": axis("", type="log")} | shade(subject),
            ["at", "side", "reason", "price", "value", "cost"],
            [
                [
                    moments[i][:16],
                    sides[i],
                    reasons[i],
                    number(price[i], ",.6g"),
                    number(value[i], ",.0f"),
                    number(cost[i], ",.2f"),
                ]
                for i in sorted(largest[:40].tolist())
            ],
            420,
            is_wide=True,
        )
    ]


def price_places(
    low: Float64Array1D, high: Float64Array1D, trades: Int64Array1D, most: int = MOST_PRICES
) -> Int64Array1D:
    """Return at most `most` bars that show a price: lowest and highest of each bucket, every bar around `trades`."""
    n = len(low)
    if n <= most:
        return np.arange(n)
    around = np.arange(-NEAR_A_TRADE, NEAR_A_TRADE + 1)
    near = np.unique(np.clip((trades[:, np.newaxis] + around).ravel(), 0, n - 1))
    n_buckets = max(1, (most - len(near) - 2) // 2)
    edges = np.linspace(0, n, n_buckets + 1).astype(np.int64).tolist()
    ends = [place for a, b in pairwise(edges) for place in (a + np.argmin(low[a:b]), a + np.argmax(high[a:b]))]
    found: Int64Array1D = np.unique(np.r_[near, ends, 0, n - 1]).astype(np.int64)
    return found
