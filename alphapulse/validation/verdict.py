"""The verdict on a sweep: skill or luck, in one word, one sentence, and the numbers behind them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

import numpy as np

from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation.deflation import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    false_discovery_bound,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)
from alphapulse.validation.importance import parameter_importance
from alphapulse.validation.pbo import overfitting_from_moments
from alphapulse.validation.plateau import ParameterGrid, plateau
from alphapulse.validation.spa import Bootstrap, critical_value, p_value
from alphapulse.validation.stepm import step_down
from alphapulse.validation.walk_forward import combinatorial_purged, walk_forward

Word = Literal["SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"]
# More would take longer than all the rest, and move the value less than its null band.
MAX_PBO_TRIALS = 10_000
MAX_SURVIVORS = 1000


@dataclass(frozen=True)
class SharpeEstimate:
    """A Sharpe ratio and the moments that say how sure it is.

    Attributes
    ----------
    sharpe : float
        Per bar, not annualised [1].
    n_returns : int
        [bars].
    skewness, kurtosis : float
        Of the returns [1]; kurtosis is 3 for a normal.
    """

    sharpe: float
    n_returns: int
    skewness: float
    kurtosis: float

    def probability(self, benchmark: float = 0.0) -> float:
        """Return the probability that the true ratio exceeds `benchmark`; NaN if undefined."""
        if self.n_returns < 2:
            return math.nan
        return probabilistic_sharpe_ratio(
            self.sharpe, benchmark, n_returns=self.n_returns, skewness=self.skewness, kurtosis=self.kurtosis
        )


@dataclass(frozen=True)
class VerdictThresholds:
    """Where the words begin: p-values of the reality check, and PSR of the hold-out.

    Attributes
    ----------
    survive_p, luck_p : float
        SURVIVES needs p at most the first; p above the second is LIKELY LUCK.
    survive_psr, luck_psr : float
        SURVIVES needs a PSR of at least the first; one below the second is LIKELY LUCK.
    """

    survive_p: float = 0.05
    luck_p: float = 0.20
    survive_psr: float = 0.95
    luck_psr: float = 0.5


@dataclass(frozen=True)
class VerdictOptions:
    """How the reasons are computed.

    Attributes
    ----------
    thresholds : VerdictThresholds
    priors : tuple of float
        Probabilities of an edge before the data, each in (0, 1).
    pbo_blocks : int
        Even; fewer are used where there are fewer calendar blocks.
    train_blocks, test_blocks, purge, embargo : int
        Walk-forward windows [blocks].
    n_folds, n_test_folds : int
        Of combinatorial purged cross-validation.
    """

    thresholds: VerdictThresholds = field(default_factory=VerdictThresholds)
    priors: tuple[float, ...] = (0.01, 0.1, 0.5)
    pbo_blocks: int = 16
    train_blocks: int = 60
    test_blocks: int = 12
    purge: int = 1
    embargo: int = 0
    n_folds: int = 10
    n_test_folds: int = 2


@dataclass(frozen=True)
class VerdictInputs:
    """What a sweep knows about itself at its end.

    Attributes
    ----------
    chosen : int
        Row of the chosen trial in `sharpes` and `parameters`.
    in_sample : SharpeEstimate
        Of the chosen trial, on the searched bars.
    hold_out : SharpeEstimate, optional
        Of the chosen trial, on the bars that the search never saw; None if there are none.
    sharpes : ndarray (n_rows,)
        Per-bar Sharpe ratio of every trial run, in order; NaN for a failed one [1].
    bootstrap : Bootstrap
        Of the study.
    observed : float
        Largest statistic over all trials, as streamed.
    maxima : ndarray (n_bootstrap,)
        Largest of each draw over all trials, as streamed.
    look_ahead_clean : bool, optional
        Outcome of the gate; None if it did not run.
    n_trials : int, optional
        Trials of the study, failed ones too; by default `len(sharpes)`.
    n_trials_on_data : int, optional
        Trials of all studies on this data fingerprint, this one included; by default `n_trials`.
    n_openings : int
        How often the hold-out of this data has been opened, this time included.
    block_trials : ndarray (n_kept,), optional
        Rows whose block moments are kept; all by default.
    block_sums, block_squares : ndarray (n_kept, n_blocks), optional
        Their block moments [1]; without them only the reality check and the DSR speak.
    parameters : ndarray (n_rows, n_parameters), optional
        With `grid`, for plateau, importance and drift.
    grid : ParameterGrid, optional
    parameter_names : tuple of str
    break_even : float, optional
        Commission at which the chosen trial's edge is gone [1]; None if not computed or never.
    periods_per_year : float
        To print annual figures.
    """

    chosen: int
    in_sample: SharpeEstimate
    hold_out: SharpeEstimate | None
    sharpes: Float64Array1D
    bootstrap: Bootstrap
    observed: float
    maxima: Float64Array1D
    look_ahead_clean: bool | None = None
    n_trials: int | None = None
    n_trials_on_data: int | None = None
    n_openings: int = 0
    block_trials: Int64Array1D | None = None
    block_sums: Float64Array2D | None = None
    block_squares: Float64Array2D | None = None
    parameters: Float64Array2D | None = None
    grid: ParameterGrid | None = None
    parameter_names: tuple[str, ...] = ()
    break_even: float | None = None
    periods_per_year: float = 252.0


@dataclass(frozen=True)
class Verdict:
    """Skill or luck.

    Attributes
    ----------
    word : {"SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"}
    sentence : str
        Why this word.
    reasons : tuple of str
        What each method says, one a line.
    numbers : dict
        Every figure by name; Sharpe ratios per bar unless the name says annual. NaN is undefined.
    posterior : tuple of dict
        prior -> at_least, the least chance of a false discovery.
    n_trials, n_trials_on_data, n_openings : int
        Trials of the study, of all studies on the data, and openings of its hold-out.
    """

    word: Word
    sentence: str
    reasons: tuple[str, ...]
    numbers: Mapping[str, Any]
    posterior: tuple[Mapping[str, float], ...]
    n_trials: int
    n_trials_on_data: int
    n_openings: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN and infinities become None."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def lines(self) -> list[str]:
        """Return the verdict as text, one line each."""
        posterior = ", ".join(f"{p['at_least']:.0%} at a prior of {p['prior']:g}" for p in self.posterior)
        return [
            f"{self.word}: {self.sentence}",
            *(f"  {reason}" for reason in self.reasons),
            f"  Chance of a false discovery, at least: {posterior}.",
            f"  Trials: {self.n_trials:,} in this study, {self.n_trials_on_data:,} ever on this data; "
            f"hold-out {_times(self.n_openings)}.",
        ]


def decide(
    p: float, hold_out_psr: float, look_ahead_clean: bool | None, thresholds: VerdictThresholds | None = None
) -> tuple[Word, str]:
    """Return the word and the sentence that explains it.

    Parameters
    ----------
    p : float
        Of the reality check over all trials; NaN if no trial counts.
    hold_out_psr : float
        Probability that the chosen trial's Sharpe ratio on the hold-out is above zero; NaN if there is none.
    look_ahead_clean : bool or None
        None if the gate did not run.
    thresholds : VerdictThresholds, optional
    """
    t = thresholds or VerdictThresholds()
    chance = f"p = {p:.3g} in the reality check over all trials"
    held = f"on the hold-out the chosen trial's PSR is {hold_out_psr:.3f}"
    if p > t.luck_p:
        return "LIKELY LUCK", f"a search this wide finds a best trial this good without any edge ({chance})."
    if hold_out_psr < t.luck_psr:
        return "LIKELY LUCK", f"{held}, below {t.luck_psr:g}: what was found in the search did not last."
    missing = []
    if math.isnan(p):
        missing.append("no trial has returns to test")
    elif p > t.survive_p:
        missing.append(f"{chance} is above {t.survive_p:g}")
    if math.isnan(hold_out_psr):
        missing.append("there is no hold-out result to confirm it")
    elif hold_out_psr < t.survive_psr:
        missing.append(f"{held}, below {t.survive_psr:g}")
    if look_ahead_clean is None:
        missing.append("the look-ahead gate did not run")
    elif not look_ahead_clean:
        missing.append("the look-ahead gate found decisions that see the future")
    if missing:
        return "INCONCLUSIVE", "; ".join(missing) + "."
    return "SURVIVES", f"the best trial beats what luck finds in this search ({chance}), and {held}."


def make_verdict(inputs: VerdictInputs, options: VerdictOptions | None = None) -> Verdict:
    """Weigh a sweep: the reality check and the hold-out decide, everything else is given as reasons.

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    options = options or VerdictOptions()
    numbers: dict[str, Any] = {}
    reasons: list[str] = []
    n_trials = len(inputs.sharpes) if inputs.n_trials is None else inputs.n_trials
    n_on_data = n_trials if inputs.n_trials_on_data is None else inputs.n_trials_on_data
    p = p_value(inputs.observed, inputs.maxima)
    hold_out_psr = math.nan if inputs.hold_out is None else inputs.hold_out.probability()
    word, sentence = decide(p, hold_out_psr, inputs.look_ahead_clean, options.thresholds)
    numbers |= {
        "reality_check_p": p,
        "reality_check_statistic": inputs.observed,
        "reality_check_critical_value": critical_value(inputs.maxima, options.thresholds.survive_p),
        "n_bootstrap": inputs.bootstrap.n_bootstrap,
        "n_blocks": len(inputs.bootstrap.block_sizes),
        "hold_out_psr": hold_out_psr,
        "hold_out_sharpe": math.nan if inputs.hold_out is None else inputs.hold_out.sharpe,
        "look_ahead_clean": inputs.look_ahead_clean,
        "break_even_commission": inputs.break_even,
    }
    _deflate(inputs, n_trials, n_on_data, numbers, reasons)
    if inputs.block_sums is not None and inputs.block_squares is not None:
        rows = np.arange(len(inputs.sharpes)) if inputs.block_trials is None else np.asarray(inputs.block_trials)
        _step_down(inputs, rows, options, numbers, reasons)
        _cross_validate(inputs, options, numbers, reasons)
        _walk_forward(inputs, rows, options, numbers, reasons)
    if inputs.parameters is not None and inputs.grid is not None:
        _plateau(inputs, inputs.parameters, inputs.grid, numbers, reasons)
    if inputs.break_even is not None:
        reasons.append(f"Break-even: the edge is gone at a commission of {inputs.break_even:.4%} of the traded value.")
    return Verdict(
        word=word,
        sentence=sentence,
        reasons=tuple(reasons),
        numbers=numbers,
        posterior=tuple({"prior": q, "at_least": false_discovery_bound(p, q)} for q in options.priors),
        n_trials=n_trials,
        n_trials_on_data=n_on_data,
        n_openings=inputs.n_openings,
    )


def _deflate(inputs: VerdictInputs, n_trials: int, n_on_data: int, numbers: dict[str, Any], reasons: list[str]) -> None:
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
        f"DSR: {dsr:.3f} with N = {n_trials:,} ({dsr_on_data:.3f} with the {n_on_data:,} trials ever run on this data): "
        f"a yearly Sharpe ratio of {own.sharpe * year:.2f} against {hurdle * year:.2f} expected of the best without skill."
    )


def _step_down(
    inputs: VerdictInputs, rows: Int64Array1D, options: VerdictOptions, numbers: dict[str, Any], reasons: list[str]
) -> None:
    partial = len(rows) < len(inputs.sharpes)
    alpha = options.thresholds.survive_p
    found = step_down(
        inputs.bootstrap,
        inputs.block_sums,  # type: ignore[arg-type]
        n_best=MAX_SURVIVORS,
        alpha=alpha,
        maxima=inputs.maxima if partial else None,
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


def _cross_validate(
    inputs: VerdictInputs, options: VerdictOptions, numbers: dict[str, Any], reasons: list[str]
) -> None:
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
        f"PBO: {result.pbo:.2f} (noise alone gives {low:.2f} to {high:.2f}): how often the best half-sample choice is in "
        f"the lower half of the other; it loses money there in {result.probability_of_loss:.0%}."
    )


def _walk_forward(
    inputs: VerdictInputs, rows: Int64Array1D, options: VerdictOptions, numbers: dict[str, Any], reasons: list[str]
) -> None:
    sums, squares, counts = inputs.block_sums, inputs.block_squares, inputs.bootstrap.block_sizes
    gap = options.purge + options.embargo
    year = math.sqrt(inputs.periods_per_year)
    if options.train_blocks + gap >= len(counts):
        reasons.append(
            f"Walk-forward: none, {options.train_blocks} training blocks and a gap of {gap} do not fit in {len(counts)}."
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
                f"Walk-forward, {name}: efficiency {result.efficiency:.2f}, a yearly Sharpe ratio of "
                f"{result.sharpe * year:.2f} out of sample over {len(result.test)} windows."
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
    reasons.append(
        f"Purged cross-validation: yearly Sharpe ratios out of sample of {len(known)} paths, median {median * year:.2f}, "
        f"lowest {lowest * year:.2f}."
    )


def _plateau(
    inputs: VerdictInputs,
    parameters: Float64Array2D,
    grid: ParameterGrid,
    numbers: dict[str, Any],
    reasons: list[str],
) -> None:
    result = plateau(parameters, inputs.sharpes, grid, include=[inputs.chosen])
    place = np.flatnonzero(result.trials == inputs.chosen)
    ratio = float(result.ratios[place[0]]) if len(place) else math.nan
    n_neighbours = int(result.n_neighbours[place[0]]) if len(place) else 0
    weights = parameter_importance(parameters, inputs.sharpes, grid)
    numbers |= {
        "plateau_ratio": ratio,
        "plateau_neighbours": n_neighbours,
        "robust_trial": result.robust,
        "importance": _named(inputs, weights.share),
        "importance_null": _named(inputs, weights.null_share),
        "importance_p": _named(inputs, weights.p_values),
    }
    if n_neighbours:
        text = f"Plateau: its {n_neighbours:,} neighbours have a median of {ratio:.0%} of its Sharpe ratio"
    else:
        text = "Plateau: no trial was run near it"
    pick = f"; the robust pick is trial {result.robust}." if result.robust >= 0 else "."
    reasons.append(text + pick)


def _named(inputs: VerdictInputs, values: Sequence[float] | Float64Array1D) -> dict[str, float]:
    names = inputs.parameter_names or tuple(str(i) for i in range(len(values)))
    return {name: float(value) for name, value in zip(names, values, strict=False)}


def _times(n: int) -> str:
    if n < 1:
        return "not opened"
    return "opened once" if n == 1 else f"opened {n} times"


def _plain(value: Any) -> Any:
    """Return dataclasses, arrays and numbers as what JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
