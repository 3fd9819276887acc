"""How the chosen trial fares under other costs."""

from alphapulse.reports.page.chart import Chart, axis, number, rounded
from alphapulse.reports.page.subject import Subject
from alphapulse.reports.weighing import at_commissions, break_even

COMMISSIONS = (0.0, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01)


def cost_chart(subject: Subject) -> list[Chart]:
    """Return the shown trial's Sharpe ratio on the searched bars under other commissions."""
    if subject.inputs is None or subject.chosen is None:
        return []
    experiment, market = subject.inputs.experiment, subject.inputs.market
    parameters = subject.chosen["parameters"]
    engine = experiment.values(parameters)[1]
    commissions = sorted({*COMMISSIONS, engine.commission})
    found = list(map(at_commissions(experiment, market, parameters), commissions))
    if subject.is_judged and subject.verdict:
        level = subject.numbers.get("break_even_commission")
    else:
        level = break_even(experiment, market, parameters)
    gone = "It outlasts all that were tried."
    said = gone if level is None else f"The edge is gone at {level:.3%} of the traded value."
    mark = (
        []
        if level is None
        else [
            {
                "type": "line",
                "x0": level,
                "x1": level,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": "@ours", "width": 2, "dash": "dot"},
            }
        ]
    )
    return [
        Chart(
            "costs",
            "Costs and break-even",
            f"Sharpe ratio of {subject.name} under other commissions; {engine.commission:.2%} was assumed. {said}",
            [
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": commissions,
                    "line": {"color": "@chosen"},
                    "y": rounded([m["sharpe_ratio"] for m in found]),
                    "showlegend": False,
                    "marker": {"size": [12 if c == engine.commission else 7 for c in commissions]},
                }
            ],
            {
                "xaxis": axis("commission", tickformat=".1%", range=[-0.0003, min(0.0105, max(commissions) * 1.05)]),
                "yaxis": axis("Sharpe ratio"),
                "shapes": mark,
            },
            ["commission", "Sharpe ratio", "total return", "costs paid"],
            [
                [
                    number(c, ".2%"),
                    number(m["sharpe_ratio"]),
                    number(m["total_return"], ".1%"),
                    number(m["costs_paid"], ",.0f"),
                ]
                for c, m in zip(commissions, found, strict=True)
            ],
        )
    ]
