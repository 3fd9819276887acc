"""What following the best trial as time went on would have earned."""

from typing import Any

import numpy as np

from alphapulse.reports.page.chart import Chart, axis, dates, number, rounded
from alphapulse.reports.page.subject import Subject


def walk_forward_chart(subject: Subject) -> list[Chart]:
    """Return what following the best trial of each training window over the next one would have earned."""
    traces: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    said = []
    for name, colour in (("rolling", "@chosen"), ("anchored", "@robust")):
        found = subject.numbers.get(f"walk_forward_{name}")
        if not found or subject.inputs is None or not found.get("equity"):
            continue
        market = subject.inputs.market
        ends = market.bars.timestamp[market.block_end[np.asarray(found["blocks"], dtype=np.int64)] - 1]
        equity = [1.0 if value is None else value for value in found["equity"]]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": dates(ends),
                "y": rounded(equity),
                "line": {"color": colour, "dash": "solid" if name == "rolling" else "dash"},
            }
        )
        root = np.sqrt(subject.inputs.experiment.engine.bars_per_year(market.bars))
        sharpe = None if found["sharpe"] is None else found["sharpe"] * root
        said.append(f"{name} {number(sharpe, '.2f')}")
        rows.append(
            [
                name,
                number(sharpe, ".2f"),
                number(found["efficiency"], ".2f"),
                f"{len(found['test'])}",
                number(equity[-1]),
            ]
        )
    if not traces:
        return []
    return [
        Chart(
            "walk-forward",
            "Walk-forward",
            "The best trial of each training window followed over the next one, stitched together: what searching as "
            f"time went on would have earned. Yearly Sharpe ratio {', '.join(said)}.",
            traces,
            {"xaxis": axis(type="date"), "yaxis": axis("growth of 1")},
            ["windows", "Sharpe ratio", "efficiency", "number", "growth of 1"],
            rows,
        )
    ]
