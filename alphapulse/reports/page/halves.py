"""Whether trials that are good on one half of the bars are good on the other."""

import numpy as np

from alphapulse.reports.page.chart import Chart, axis, number, rounded
from alphapulse.reports.page.subject import Subject
from alphapulse.study.columns import StudyColumns


def halves_chart(subject: Subject, most: int = 2_000) -> list[Chart]:
    """Return every kept trial's Sharpe ratio on the second half of the searched bars beside that on the first."""
    if subject.inputs is None or subject.inputs.experiment.bootstrap is None:
        return []
    counts = subject.inputs.experiment.bootstrap.block_sizes
    columns = StudyColumns(subject.store.database, subject.study)
    n_kept, half = columns.n_blocks_kept, len(counts) // 2
    if n_kept < 10 or half < 2:
        return []
    every = max(1, n_kept // most)
    root = np.sqrt(subject.inputs.experiment.engine.bars_per_year(subject.inputs.market.bars))
    trials, halves, first = [], [], 0
    parts = (slice(0, half), slice(half, None))
    for piece in columns.blocks():
        taken = np.flatnonzero((np.arange(first, first + len(piece.trials)) % every) == 0)
        first += len(piece.trials)
        trials.append(piece.trials[taken])
        halves.append([_half(piece.sums[taken], piece.squares[taken], counts, part) * root for part in parts])
    numbers = np.concatenate(trials)
    before, after = (np.concatenate([pair[place] for pair in halves]) for place in (0, 1))
    known = np.isfinite(before) & np.isfinite(after)
    if known.sum() < 10:
        return []
    slope = float(np.corrcoef(before[known], after[known])[0, 1])
    best = np.argsort(-before[known], kind="stable")[:20]
    rows = [[f"{numbers[known][i]:,}", number(before[known][i]), number(after[known][i])] for i in best.tolist()]
    return [
        Chart(
            "halves",
            "In against out of sample",
            f"Sharpe ratio of each trial on the first half of the searched bars, and on the second. Correlation "
            f"{slope:.2f}: near 1, what was good stays good; near 0 or below, the past says nothing of the future.",
            [
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": rounded(before[known], 4),
                    "y": rounded(after[known], 4),
                    "text": [f"trial {n:,}" for n in numbers[known].tolist()],
                    "marker": {"color": "@chosen", "size": 5, "opacity": 0.45},
                    "showlegend": False,
                }
            ],
            {"xaxis": axis("Sharpe ratio, first half"), "yaxis": axis("second half")},
            ["trial (best of the first half)", "first half", "second half"],
            rows,
        )
    ]


def _half(sums: np.ndarray, squares: np.ndarray, counts: np.ndarray, part: slice) -> np.ndarray:
    """Return the per-bar Sharpe ratios (n,) of some of the blocks; NaN without variance."""
    n = counts[part].sum()
    total = sums[:, part].sum(axis=1)
    deviation = squares[:, part].sum(axis=1) - total * total / n
    varies = deviation > 1e-24 * n
    return np.where(varies, total / n / np.sqrt(np.where(varies, deviation, 1.0) / (n - 1)), np.nan)
