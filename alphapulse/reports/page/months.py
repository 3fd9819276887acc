"""The chosen trial month by month."""

import numpy as np

from alphapulse.reports.page.chart import Chart, axis, number, rounded
from alphapulse.reports.page.subject import Subject

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def month_chart(subject: Subject) -> list[Chart]:
    """Return the monthly returns of the chosen trial."""
    if not subject.curves:
        return []
    curve = subject.curves[0]
    months = curve.timestamp.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    logs = np.log1p(np.maximum(curve.returns, -1 + 1e-12))
    starts = np.flatnonzero(np.r_[True, months[1:] != months[:-1]])
    grown = np.expm1(np.add.reduceat(logs, starts))
    years = 1970 + months[starts] // 12
    table = np.full((years[-1] - years[0] + 1, 12), np.nan)
    table[years - years[0], months[starts] % 12] = grown
    labels = [str(year) for year in range(years[0], years[-1] + 1)]
    whole = [float(np.expm1(np.nansum(np.log1p(row)))) for row in table]
    reach = float(np.nanquantile(np.abs(table), 0.98)) or 0.01
    return [
        Chart(
            "months",
            "Monthly returns",
            f"Of {subject.name}; {np.mean(grown > 0):.0%} of {len(grown)} months gained.",
            [
                {
                    "type": "heatmap",
                    "x": MONTHS,
                    "y": labels,
                    "z": [rounded(row, 4) for row in table],
                    "zmin": -reach,
                    "zmax": reach,
                    "colorscale": "@diverging",
                    "xgap": 1,
                    "ygap": 1,
                    "hovertemplate": "%{x} %{y}: %{z:.1%}<extra></extra>",
                    "colorbar": {"thickness": 12, "outlinewidth": 0, "tickformat": ".0%"},
                }
            ],
            {
                "xaxis": axis("", side="top", showgrid=False),
                "yaxis": axis("", autorange="reversed", type="category", showgrid=False),
            },
            ["year", *MONTHS, "year's"],
            [
                [label, *(number(v, ".1%") for v in row), number(year, ".1%")]
                for label, row, year in zip(labels, table, whole, strict=True)
            ],
            max(300, 70 + 20 * len(labels)),
        )
    ]
