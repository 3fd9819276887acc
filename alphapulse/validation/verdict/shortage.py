"""What short data cannot show, in a sentence: figures that are missing, and what it would take to have them."""

import math

from alphapulse import numerics
from alphapulse.validation.deflation import minimum_track_record_length
from alphapulse.validation.verdict.evidence import VerdictInputs, VerdictOptions

MODEST_SHARPE = 2.0
"""Yearly Sharpe ratio: a hold-out in which only a better one can be confirmed is short."""


def shortage(inputs: VerdictInputs, options: VerdictOptions) -> str | None:
    """Return what the bars are too few for, and how many it would take; None where they are enough for every figure.

    Too few are blocks without a walk-forward window or a fold of purged cross-validation, and hold-out bars on which
    only a yearly Sharpe ratio above `MODEST_SHARPE` could reach the probability that SURVIVES asks for, were its
    returns normal [1]_.

    References
    ----------
    .. [1] Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier, 2012, eq. 9 and 13.
    """
    parts = [*_missing_figures(inputs, options), *_weak_holdout(inputs, options.thresholds.survive_psr)]
    return f"Short data: {'; '.join(parts)}." if parts else None


def _missing_figures(inputs: VerdictInputs, options: VerdictOptions) -> list[str]:
    sizes = inputs.bootstrap.block_sizes
    needed = {
        "walk-forward": options.train_blocks + options.purge + options.embargo + 1,
        "purged cross-validation": options.n_folds,
    }
    bars_of_block = float(sizes.sum()) / len(sizes)
    missing = [
        f"{name} (from {math.ceil(n_blocks * bars_of_block):,} on)"
        for name, n_blocks in needed.items()
        if n_blocks > len(sizes)
    ]
    return [f"{int(sizes.sum()):,} searched bars leave out {' and '.join(missing)}"] if missing else []


def _weak_holdout(inputs: VerdictInputs, wanted: float) -> list[str]:
    if inputs.hold_out is None or not 0.5 < wanted < 1.0:
        return []
    n_bars, year = inputs.hold_out.n_returns, math.sqrt(inputs.periods_per_year)
    quantile = float(numerics.normal_quantile(wanted))
    free = n_bars - 1 - quantile * quantile / 2
    least = quantile / math.sqrt(free) * year if free > 0 else math.inf
    if least <= MODEST_SHARPE:
        return []
    bars = "1 held-out bar" if n_bars == 1 else f"{n_bars:,} held-out bars"
    if math.isfinite(least):
        shown = f"only a yearly Sharpe ratio above {least:.1f}; one of 1"
    else:
        shown = "no Sharpe ratio; a yearly one of 1"
    length = minimum_track_record_length(1.0 / year, 0.0, skewness=0.0, kurtosis=3.0, confidence=wanted)
    return [f"{bars} can confirm {shown} takes {math.ceil(length):,} ({length / year**2:.1f} years)"]
