"""Does a search this wide find as much where there is nothing to find; and all that it found."""

from typing import Any

import numpy as np

from alphapulse.reports.page.chart import Chart, axis, number, rounded
from alphapulse.reports.page.subject import Subject

N_BINS = 60


def null_charts(subject: Subject) -> list[Chart]:
    """Return the null sweeps' best values with ours marked, and all trials' Sharpe ratios."""
    return [*_null_sweeps(subject), *_all_trials(subject)]


def _mark(x: float, text: str, colour: str) -> dict[str, Any]:
    return {
        "shapes": [
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": colour, "width": 3}}
        ],
        "annotations": [
            {"x": x, "y": 1, "yref": "paper", "text": text, "showarrow": False, "xanchor": "auto", "yanchor": "bottom"}
        ],
    }


def _null_sweeps(subject: Subject) -> list[Chart]:
    nulls = subject.verdict.get("null_sweeps") or {}
    values = np.array([v for v in nulls.get("values") or [] if v is not None], dtype=np.float64)
    observed = nulls.get("observed")
    if not len(values) or observed is None:
        return []
    counts, edges = np.histogram(values, bins=min(30, max(8, len(values) // 3)))
    p = number(nulls.get("p"), ".3g")
    return [
        Chart(
            "nulls",
            "The same search where there is nothing to find",
            f"Best {subject.objective} that the whole search found on each of {nulls['n_done']} markets with the same "
            f"moves in another order; {nulls['n_as_good']} were as good as ours (p = {p}). Skill stands to the "
            f"{'right' if subject.maximize else 'left'} of them all.",
            [_bars(edges, counts, "@null", "null sweeps")],
            {"xaxis": axis(f"best {subject.objective}"), "yaxis": axis("null sweeps"), "bargap": 0.04}
            | _mark(observed, "ours", "@ours"),
            [f"best {subject.objective} from", "to", "null sweeps"],
            [[number(a), number(b), f"{n}"] for a, b, n in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)]
            + [["ours", number(observed), ""]],
        )
    ]


def _all_trials(subject: Subject) -> list[Chart]:
    sharpes = subject.points.sharpes[np.isfinite(subject.points.sharpes)]
    if len(sharpes) < 2 or subject.chosen is None:
        return []
    counts, edges = np.histogram(sharpes, bins=N_BINS)
    own, label = subject.chosen["metrics"]["sharpe_ratio"], "chosen" if subject.is_judged else subject.name
    luck = subject.numbers.get("expected_maximum_sharpe_annual")
    said = "" if luck is None else f" The best of so many without skill would show about {luck:.2f}."
    step = max(1, len(counts) // 20)
    return [
        Chart(
            "trials",
            "All trials",
            f"Sharpe ratios of the {len(sharpes):,} trials that have one; {subject.name} is marked.{said}",
            [_bars(edges, counts, "@market", "trials")],
            {"xaxis": axis("Sharpe ratio"), "yaxis": axis("trials"), "bargap": 0.04} | _mark(own, label, "@chosen"),
            ["Sharpe ratio from", "to", "trials"],
            [
                [number(edges[i]), number(edges[min(i + step, len(counts))]), f"{int(counts[i : i + step].sum()):,}"]
                for i in range(0, len(counts), step)
            ],
        )
    ]


def _bars(edges: np.ndarray, counts: np.ndarray, colour: str, name: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": name,
        "x": rounded((edges[1:] + edges[:-1]) / 2),
        "y": counts.tolist(),
        "width": rounded(np.diff(edges)),
        "marker": {"color": colour},
        "showlegend": False,
    }
