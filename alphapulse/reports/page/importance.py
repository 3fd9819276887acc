"""Which swept keys decide whether a trial is among the best."""

import numpy as np

from alphapulse.reports.page.chart import Chart, axis, cells, number, rounded, short
from alphapulse.reports.page.subject import Subject


def importance_chart(subject: Subject) -> list[Chart]:
    """Return which swept keys decide whether a trial is among the best, beside what noise would show."""
    share = subject.numbers.get("importance") or {}
    noise = subject.numbers.get("importance_null") or {}
    keys = [key for key in sorted(share, key=lambda key: share[key] or 0.0) if share[key] is not None]
    if not keys:
        return []
    names = cells([short(key) for key in keys])
    p_values = subject.numbers.get("importance_p") or {}
    return [
        Chart(
            "importance",
            "What matters",
            "Share of what tells the best tenth of the trials from all. A bar that does not pass its diamond is no "
            "more than noise shows.",
            [
                {
                    "type": "bar",
                    "orientation": "h",
                    "y": names,
                    "x": rounded([share[k] for k in keys]),
                    "marker": {"color": "@chosen"},
                    "name": "share",
                },
                {
                    "type": "scatter",
                    "mode": "markers",
                    "y": names,
                    "x": rounded([noise.get(k) or np.nan for k in keys]),
                    "marker": {"color": "@ours", "symbol": "diamond", "size": 10},
                    "name": "noise shows up to",
                },
            ],
            {"xaxis": axis("", tickformat=".0%"), "yaxis": axis("")},
            ["key", "share", "noise up to", "p"],
            [
                [k, number(share[k], ".1%"), number(noise.get(k), ".1%"), number(p_values.get(k), ".3g")]
                for k in keys[::-1]
            ],
            max(280, 90 + 34 * len(keys)),
        )
    ]
