"""What each method says of a sweep, as figures by name and one sentence a method."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alphapulse.typing import Float64Array1D
from alphapulse.validation.deflation import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
)
from alphapulse.validation.importance import Importance, parameter_importance
from alphapulse.validation.pbo import overfitting_from_moments
from alphapulse.validation.plateau import ParameterGrid, plateau
from alphapulse.validation.purged import join_paths, purged_splits
from alphapulse.validation.stepm import step_down
from alphapulse.validation.verdict.evidence import VerdictInputs, VerdictOptions
from alphapulse.validation.verdict.gathering import N_BEST, BlockSample, TrialSample, sample_blocks
from alphapulse.validation.verdict.sources import BlockSource
from alphapulse.validation.walk_forward import parameter_drift, stitch_windows, walk_forward_windows
from alphapulse.validation.windows import BestOnWindows

N_IMPORTANT = 4


def deflation_reasons(
    inputs: VerdictInputs,
    variance: float,
    numbers: dict[str, Any],
    reasons: list[str],
) -> None:
    """PSR, DSR, the hurdle, Holm and the needed record of the chosen trial; `variance` of all Sharpe ratios."""
    own = inputs.in_sample
    n_trials, n_on_data = inputs.ledger.n_own, inputs.ledger.n_trials
    year = math.sqrt(inputs.periods_per_year)
    moments = {"skewness": own.skewness, "kurtosis": own.kurtosis}
    dsr = dsr_on_data = math.nan
    if own.n_returns >= 2:
        spread = {"sharpe_variance": variance, "n_returns": own.n_returns} | moments
        dsr = deflated_sharpe_ratio(own.sharpe, n_trials=n_trials, **spread)  # type: ignore[arg-type]
        dsr_on_data = deflated_sharpe_ratio(own.sharpe, n_trials=n_on_data, **spread)  # type: ignore[arg-type]
    hurdle = expected_maximum_sharpe(variance, n_trials)
    track = minimum_track_record_length(own.sharpe, 0.0, confidence=0.95, **moments)
    psr = own.probability()
    numbers |= {
        "sharpe": own.sharpe,
        "sharpe_annual": own.sharpe * year,
        "psr": psr,
        "holm_p": min(1.0, n_trials * (1 - psr)),
        "dsr": dsr,
        "dsr_all_studies": dsr_on_data,
        "sharpe_variance": variance,
        "expected_maximum_sharpe": hurdle,
        "expected_maximum_sharpe_annual": hurdle * year,
        "minimum_track_record_bars": track,
        "minimum_track_record_years": track / inputs.periods_per_year,
    }
    reasons.append(
        f"DSR: {_figure(dsr, '.3f')} with N = {n_trials:,}, {_figure(dsr_on_data, '.3f')} with all {n_on_data:,} "
        f"trials on these bars; yearly Sharpe ratio {_figure(own.sharpe * year)}, "
        f"the best of N without skill shows {_figure(hurdle * year)}."
    )
    if math.isfinite(track):
        reasons.append(
            f"Track record: alone, such a Sharpe ratio takes {track / inputs.periods_per_year:.1f} years to stand "
            f"above 0 at 95%; these are {own.n_returns / inputs.periods_per_year:.1f}."
        )


def block_reasons(
    inputs: VerdictInputs,
    blocks: BlockSource,
    trials: TrialSample,
    options: VerdictOptions,
    numbers: dict[str, Any],
    reasons: list[str],
) -> None:
    """What the block moments say, read once: survivors, overfitting, and what choosing would have earned."""
    counts = inputs.bootstrap.block_sizes
    gap = options.purge + options.embargo
    train, test = {}, {}
    windows: dict[str, BestOnWindows] = {}
    if options.train_blocks + gap < len(counts):
        for name in ("rolling", "anchored"):
            train[name], test[name] = walk_forward_windows(
                len(counts),
                train_blocks=options.train_blocks,
                test_blocks=options.test_blocks,
                purge=options.purge,
                embargo=options.embargo,
                anchored=name == "anchored",
            )
            windows[name] = BestOnWindows(counts, [(window,) for window in train[name]])
    splits: tuple[tuple[int, ...], ...] = ()
    if len(counts) >= options.n_folds:
        splits, trainings = purged_splits(
            len(counts),
            n_folds=options.n_folds,
            n_test_folds=options.n_test_folds,
            purge=options.purge,
            embargo=options.embargo,
        )
        windows["purged"] = BestOnWindows(counts, trainings)
    n_groups = min(options.pbo_blocks, len(counts) // 2 * 2)
    sample = sample_blocks(blocks, inputs.bootstrap, n_groups, list(windows.values()))
    numbers["n_kept"] = blocks.n_kept
    _survivors_reasons(inputs, blocks, sample, options, numbers, reasons)
    _overfitting_reasons(sample, numbers, reasons)
    year = math.sqrt(inputs.periods_per_year)
    if not train:
        reasons.append(
            f"Walk-forward: none, as {options.train_blocks} training blocks and a gap of {gap} fill all {len(counts)}."
        )
    for name in train:
        best = windows[name]
        result = stitch_windows(best, train[name], test[name], _drift(inputs, trials, best))
        numbers[f"walk_forward_{name}"] = {
            "train": result.train,
            "test": result.test,
            "chosen": result.chosen,
            "sharpe": result.sharpe,
            "efficiency": result.efficiency,
            "blocks": result.blocks,
            "equity": result.equity,
            "drift": _named(inputs, result.drift),
        }
        reasons.append(
            f"Walk-forward, {name}: efficiency {_figure(result.efficiency)}, a yearly Sharpe ratio of "
            f"{_figure(result.sharpe * year)} out of sample over {len(result.test)} windows."
        )
    if splits:
        _purged_reasons(windows["purged"], splits, year, numbers, reasons)


def _survivors_reasons(
    inputs: VerdictInputs,
    blocks: BlockSource,
    sample: BlockSample,
    options: VerdictOptions,
    numbers: dict[str, Any],
    reasons: list[str],
) -> None:
    """Which trials survive the search, and the chosen one's p-value adjusted for it."""
    # Up to N_BEST every step is exact; beyond, the streamed maxima save resampling everything again.
    others = blocks.n_kept < inputs.trials.n_trials or blocks.n_kept > N_BEST
    alpha = options.thresholds.survive_p
    found = step_down(
        inputs.bootstrap, sample.best_sums, n_best=N_BEST, alpha=alpha, maxima=inputs.maxima if others else None
    )
    tested = sample.best_trials[found.trials]
    place = np.flatnonzero(tested == inputs.chosen)
    numbers |= {
        "survivors": tested[found.survived],
        "n_survivors": len(found.survivors),
        "n_step_down": len(tested),
        "chosen_p": float(found.p_values[place[0]]) if len(place) else math.nan,
    }
    reasons.append(
        f"StepM: {len(found.survivors):,} of the best {len(tested):,} trials survive the search at {alpha:.0%}."
    )


def _overfitting_reasons(sample: BlockSample, numbers: dict[str, Any], reasons: list[str]) -> None:
    """Whether choosing the best trial generalises."""
    n_groups = len(sample.group_counts)
    result = overfitting_from_moments(sample.group_sums, sample.group_squares, sample.group_counts, n_blocks=n_groups)
    numbers |= {
        "pbo": result.pbo,
        "pbo_null_band": result.null_band,
        "pbo_blocks": n_groups,
        "pbo_trials": result.n_distinct,
        "probability_of_loss": result.probability_of_loss,
        "degradation_slope": result.degradation_slope,
        "degradation_intercept": result.degradation_intercept,
    }
    low, high = result.null_band
    reasons.append(
        f"PBO: {result.pbo:.2f} (noise gives {low:.2f} to {high:.2f}), the share of splits in which the best trial "
        f"of one half of the data is below the median in the other; it loses there in {result.probability_of_loss:.0%}."
    )


def _drift(inputs: VerdictInputs, trials: TrialSample, best: BestOnWindows) -> Float64Array1D:
    if inputs.grid is None:
        return np.empty(0)
    distinct, place = np.unique(best.trials[best.trials >= 0], return_inverse=True)
    chosen = inputs.trials.read(distinct)[0][place]
    # By fmax and fmin, which pass over what is inactive.
    highest = np.fmax.reduce(trials.parameters, axis=0)
    spread = highest - np.fmin.reduce(trials.parameters, axis=0)
    return parameter_drift(chosen, spread, list(inputs.grid.categorical))


def _purged_reasons(
    best: BestOnWindows,
    splits: tuple[tuple[int, ...], ...],
    year: float,
    numbers: dict[str, Any],
    reasons: list[str],
) -> None:
    crossed = join_paths(best, splits)
    known = crossed.path_sharpe[~np.isnan(crossed.path_sharpe)]
    median = float(np.median(known)) if len(known) else math.nan
    lowest = float(known.min()) if len(known) else math.nan
    numbers["combinatorial_purged"] = {"path_sharpe": crossed.path_sharpe, "median": median, "lowest": lowest}
    if len(known):
        reasons.append(
            f"Purged cross-validation: out of sample, the yearly Sharpe ratios of {len(known)} paths have a median of "
            f"{median * year:.2f} and are at least {lowest * year:.2f}."
        )


def neighbourhood_reasons(
    inputs: VerdictInputs,
    grid: ParameterGrid,
    sample: TrialSample,
    numbers: dict[str, Any],
    reasons: list[str],
) -> None:
    """Whether the chosen trial stands on a plateau among the trials of `sample`, and which parameters matter there."""
    chosen = int(np.searchsorted(sample.trials, inputs.chosen))
    result = plateau(sample.parameters, sample.sharpes, grid, include=[chosen], eligible=sample.may_be_chosen)
    place = np.flatnonzero(result.trials == chosen)
    ratio = float(result.ratios[place[0]]) if len(place) else math.nan
    n_neighbours = int(result.n_neighbours[place[0]]) if len(place) else 0
    robust = int(sample.trials[result.robust]) if result.robust >= 0 else -1
    weights = parameter_importance(sample.parameters, sample.sharpes, grid)
    n_sample, n_trials = len(sample.trials), inputs.trials.n_trials
    among = "" if n_sample == n_trials else f" among {n_sample:,} of the {n_trials:,} trials"
    numbers |= {
        "neighbourhood_trials": n_sample,
        "plateau_ratio": ratio,
        "plateau_neighbours": n_neighbours,
        "robust_trial": robust,
        "importance": _named(inputs, weights.share),
        "importance_null": _named(inputs, weights.null_share),
        "importance_p": _named(inputs, weights.p_values),
    }
    if n_neighbours and math.isnan(ratio):
        text = (
            f"Plateau: no share can be stated for its {n_neighbours:,} neighbours{among}, "
            "as its Sharpe ratio is not positive"
        )
    elif n_neighbours:
        text = f"Plateau: its {n_neighbours:,} neighbours{among} have a median of {ratio:.0%} of its Sharpe ratio"
    else:
        text = f"Plateau: no trial{among} is near it" if among else "Plateau: no trial was run near it"
    pick = f"; the robust pick is trial {robust}." if robust >= 0 else "."
    reasons.append(text + pick)
    reasons += _importance_reason(inputs, weights, among)


def _importance_reason(inputs: VerdictInputs, weights: Importance, among: str) -> list[str]:
    order = np.argsort(-np.nan_to_num(weights.share), kind="stable")[:N_IMPORTANT]
    names = inputs.parameter_names or tuple(f"parameter {i}" for i in range(len(weights.share)))
    shown = [
        f"{names[i].partition('.')[2] or names[i]} {weights.share[i]:.0%} ({weights.null_share[i]:.0%})"
        for i in order
        if weights.share[i] > 0
    ]
    return [f"Importance{among} (in brackets what noise shows): {', '.join(shown)}."] if shown else []


def _figure(value: float, form: str = ".2f") -> str:
    return "undefined" if math.isnan(value) else format(value, form)


def _named(inputs: VerdictInputs, values: Sequence[float] | Float64Array1D) -> dict[str, float]:
    names = inputs.parameter_names or tuple(str(i) for i in range(len(values)))
    return {name: float(value) for name, value in zip(names, values, strict=False)}
