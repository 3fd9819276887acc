"""The verdict on a sweep: skill or luck, in one word, one sentence, and the numbers behind them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alphapulse.plain import plain
from alphapulse.validation.deflation import false_discovery_bound
from alphapulse.validation.spa import critical_value, p_value
from alphapulse.validation.verdict.evidence import VerdictInputs, VerdictOptions, VerdictThresholds
from alphapulse.validation.verdict.gathering import sample_trials
from alphapulse.validation.verdict.reasons import block_reasons, deflation_reasons, neighbourhood_reasons

Word = Literal["SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"]


@dataclass(frozen=True)
class Verdict:
    """Skill or luck.

    Attributes
    ----------
    word : {"SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"}
    sentence : str
        It says why it is this word.
    reasons : tuple of str
        What each method says, one a line.
    numbers : dict
        Every figure by name; Sharpe ratios per bar unless the name says annual. NaN is undefined.
    posterior : tuple of dict
        Each has a prior and at_least, the least chance of a false discovery.
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
        document: dict[str, Any] = plain(self)
        return document

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
        The p-value of the reality check over all trials; NaN if no trial counts.
    hold_out_psr : float
        Probability that the chosen trial's Sharpe ratio on the hold-out is above zero; NaN if there is none.
    look_ahead_clean : bool or None
        What the gate said; None if it did not run.
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
    n_trials = inputs.trials.n_trials if inputs.n_trials is None else inputs.n_trials
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
    reasons.append(_deciding(inputs, n_trials, p, hold_out_psr))
    sample = sample_trials(inputs.trials, inputs.chosen)
    deflation_reasons(inputs, sample.sharpe_variance, n_trials, n_on_data, numbers, reasons)
    if inputs.blocks is not None:
        block_reasons(inputs, inputs.blocks, sample, options, numbers, reasons)
    if inputs.grid is not None:
        neighbourhood_reasons(inputs, inputs.grid, sample, numbers, reasons)
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


def _deciding(inputs: VerdictInputs, n_trials: int, p: float, hold_out_psr: float) -> str:
    chance = "undefined" if math.isnan(p) else f"p = {p:.3g}"
    text = (
        f"Reality check: {chance} over all {n_trials:,} trials, {inputs.bootstrap.n_bootstrap:,} resamples of "
        f"{len(inputs.bootstrap.block_sizes)} calendar blocks"
    )
    if inputs.hold_out is None or math.isnan(hold_out_psr):
        return f"{text}; hold-out: none."
    year = math.sqrt(inputs.periods_per_year)
    return (
        f"{text}; hold-out: PSR {hold_out_psr:.3f}, a yearly Sharpe ratio of {inputs.hold_out.sharpe * year:.2f} "
        f"over {inputs.hold_out.n_returns:,} bars."
    )


def _times(n: int) -> str:
    if n < 1:
        return "not opened"
    return "opened once" if n == 1 else f"opened {n} times"
