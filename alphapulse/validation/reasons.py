"""What each method says of a sweep, as figures by name and one sentence a method."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation.deflation import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
)
from alphapulse.validation.evidence import VerdictInputs, VerdictOptions
from alphapulse.validation.importance import Importance, parameter_importance
from alphapulse.validation.pbo import overfitting_from_moments
from alphapulse.validation.plateau import ParameterGrid, plateau
from alphapulse.validation.stepm import step_down
from alphapulse.validation.walk_forward import combinatorial_purged, walk_forward

# More would take longer than all the rest, and move the value less than its null band.
MAX_PBO_TRIALS = 10_000
MAX_SURVIVORS = 1000
MAX_NEIGHBOURHOOD_TRIALS = 100_000
N_IMPORTANT = 4


def deflation_reasons(
    inputs: VerdictInputs, n_trials: int, n_on_data: int, numbers: dict[str, Any], reasons: list[str]
) -> None:
    """PSR, DSR, the hurdle, Holm and the needed record of the chosen trial."""
    own = inputs.in_sample
    known = inputs.sharpes[~np.isnan(inputs.sharpes)]
    variance = float(known.var(ddof=1)) if len(known) > 1 else math.nan
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
        f"trials ever run on this data; yearly Sharpe ratio {_figure(own.sharpe * year)}, "
        f"the best of N without skill shows {_figure(hurdle * year)}."
    )
    if math.isfinite(track):
        reasons.append(
            f"Track record: alone, such a Sharpe ratio takes {track / inputs.periods_per_year:.1f} years to stand "
            f"above 0 at 95%; these are {own.n_returns / inputs.periods_per_year:.1f}."
        )


def survivors_reasons(
    inputs: VerdictInputs, rows: Int64Array1D, options: VerdictOptions, numbers: dict[str, Any], reasons: list[str]
) -> None:
    """Which trials survive the search, and the chosen one's p-value adjusted for it."""
    # Up to MAX_SURVIVORS every step is exact; beyond, the streamed maxima save resampling everything again.
    others = len(rows) < len(inputs.sharpes) or len(rows) > MAX_SURVIVORS
    alpha = options.thresholds.survive_p
    found = step_down(
        inputs.bootstrap,
        inputs.block_sums,  # type: ignore[arg-type]
        n_best=MAX_SURVIVORS,
        alpha=alpha,
        maxima=inputs.maxima if others else None,
    )
    place = np.flatnonzero(rows[found.trials] == inputs.chosen)
    numbers |= {
        "survivors": rows[found.survivors],
        "n_survivors": len(found.survivors),
        "n_step_down": len(found.trials),
        "chosen_p": float(found.p_values[place[0]]) if len(place) else math.nan,
    }
    reasons.append(
        f"StepM: {len(found.survivors):,} of the best {len(found.trials):,} trials survive the search at {alpha:.0%}."
    )


def overfitting_reasons(
    inputs: VerdictInputs, options: VerdictOptions, numbers: dict[str, Any], reasons: list[str]
) -> None:
    """Whether choosing the best trial generalises."""
    sums, squares = np.asarray(inputs.block_sums), np.asarray(inputs.block_squares)
    counts = inputs.bootstrap.block_sizes
    n_blocks = min(options.pbo_blocks, len(counts) // 2 * 2)
    # Evenly spaced in the order given: which ones are taken must not depend on how good they are.
    taken = np.unique(np.linspace(0, len(sums) - 1, min(len(sums), MAX_PBO_TRIALS)).astype(np.int64))
    result = overfitting_from_moments(sums[taken], squares[taken], counts, n_blocks=n_blocks)
    numbers |= {
        "pbo": result.pbo,
        "pbo_null_band": result.null_band,
        "pbo_blocks": n_blocks,
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


def out_of_sample_reasons(
    inputs: VerdictInputs, rows: Int64Array1D, options: VerdictOptions, numbers: dict[str, Any], reasons: list[str]
) -> None:
    """What choosing the best trial would have earned afterwards."""
    sums, squares, counts = inputs.block_sums, inputs.block_squares, inputs.bootstrap.block_sizes
    gap = options.purge + options.embargo
    year = math.sqrt(inputs.periods_per_year)
    if options.train_blocks + gap >= len(counts):
        reasons.append(
            f"Walk-forward: none, as {options.train_blocks} training blocks and a gap of {gap} fill all {len(counts)}."
        )
    else:
        for name in ("rolling", "anchored"):
            result = walk_forward(
                sums,  # type: ignore[arg-type]
                squares,  # type: ignore[arg-type]
                counts,
                train_blocks=options.train_blocks,
                test_blocks=options.test_blocks,
                purge=options.purge,
                embargo=options.embargo,
                anchored=name == "anchored",
                parameters=None if inputs.parameters is None else inputs.parameters[rows],
                categorical=None if inputs.grid is None else list(inputs.grid.categorical),
            )
            numbers[f"walk_forward_{name}"] = {
                "train": result.train,
                "test": result.test,
                "chosen": np.where(result.chosen >= 0, rows[result.chosen], -1),
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
    if len(counts) < options.n_folds:
        return
    crossed = combinatorial_purged(
        sums,  # type: ignore[arg-type]
        squares,  # type: ignore[arg-type]
        counts,
        n_folds=options.n_folds,
        n_test_folds=options.n_test_folds,
        purge=options.purge,
        embargo=options.embargo,
    )
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
    parameters: Float64Array2D,
    grid: ParameterGrid,
    numbers: dict[str, Any],
    reasons: list[str],
) -> None:
    """Whether the chosen trial stands on a plateau, and which parameters matter."""
    rows = _spread_rows(inputs)
    parameters, sharpes = parameters[rows], inputs.sharpes[rows]
    chosen = int(np.searchsorted(rows, inputs.chosen))
    result = plateau(parameters, sharpes, grid, include=[chosen])
    place = np.flatnonzero(result.trials == chosen)
    ratio = float(result.ratios[place[0]]) if len(place) else math.nan
    n_neighbours = int(result.n_neighbours[place[0]]) if len(place) else 0
    robust = int(rows[result.robust]) if result.robust >= 0 else -1
    weights = parameter_importance(parameters, sharpes, grid)
    numbers |= {
        "plateau_ratio": ratio,
        "plateau_neighbours": n_neighbours,
        "robust_trial": robust,
        "importance": _named(inputs, weights.share),
        "importance_null": _named(inputs, weights.null_share),
        "importance_p": _named(inputs, weights.p_values),
    }
    if n_neighbours and math.isnan(ratio):
        text = (
            f"Plateau: no share can be stated for its {n_neighbours:,} neighbours, as its Sharpe ratio is not positive"
        )
    elif n_neighbours:
        text = f"Plateau: its {n_neighbours:,} neighbours have a median of {ratio:.0%} of its Sharpe ratio"
    else:
        text = "Plateau: no trial was run near it"
    pick = f"; the robust pick is trial {robust}." if robust >= 0 else "."
    reasons.append(text + pick)
    reasons += _importance_reason(inputs, weights)


def _importance_reason(inputs: VerdictInputs, weights: Importance) -> list[str]:
    order = np.argsort(-np.nan_to_num(weights.share), kind="stable")[:N_IMPORTANT]
    names = inputs.parameter_names or tuple(f"parameter {i}" for i in range(len(weights.share)))
    shown = [
        f"{names[i].partition('.')[2] or names[i]} {weights.share[i]:.0%} ({weights.null_share[i]:.0%})"
        for i in order
        if weights.share[i] > 0
    ]
    return [f"Importance (in brackets what noise shows): {', '.join(shown)}."] if shown else []


def _figure(value: float, form: str = ".2f") -> str:
    return "undefined" if math.isnan(value) else format(value, form)


def _spread_rows(inputs: VerdictInputs) -> Int64Array1D:
    """Return the rows of up to `MAX_NEIGHBOURHOOD_TRIALS` trials: the best and the chosen one, and a spread of all."""
    n_rows = len(inputs.sharpes)
    if n_rows <= MAX_NEIGHBOURHOOD_TRIALS:
        return np.arange(n_rows)
    spread = np.linspace(0, n_rows - 1, MAX_NEIGHBOURHOOD_TRIALS - MAX_SURVIVORS - 1).astype(np.int64)
    worth = np.where(np.isnan(inputs.sharpes), -np.inf, inputs.sharpes)
    best = np.argsort(-worth, kind="stable")[:MAX_SURVIVORS]
    return np.unique(np.concatenate([spread, best, [inputs.chosen]]))


def _named(inputs: VerdictInputs, values: Sequence[float] | Float64Array1D) -> dict[str, float]:
    names = inputs.parameter_names or tuple(str(i) for i in range(len(values)))
    return {name: float(value) for name, value in zip(names, values, strict=False)}
