"""The verdict on a sweep: skill or luck, in one word, one sentence, and the numbers behind them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alphapulse.plain import plain
from alphapulse.validation.deflation import false_discovery_bound
from alphapulse.validation.null_sweeps import NullSweeps
from alphapulse.validation.spa import critical_value, p_value
from alphapulse.validation.verdict.evidence import Findings, VerdictInputs, VerdictOptions, VerdictThresholds
from alphapulse.validation.verdict.gathering import sample_trials
from alphapulse.validation.verdict.reasons import block_reasons, deflation_reasons, neighbourhood_reasons
from alphapulse.validation.verdict.shortage import shortage
from alphapulse.validation.verdict.wording import (
    deciding_lines,
    first_sentence,
    market_line,
    part_line,
    reality_check_line,
)

Word = Literal["SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"]

RULES = 2
"""Number of the rules below; a stored verdict keeps the number of those that made it."""


@dataclass(frozen=True)
class Verdict:
    """Skill or luck.

    Attributes
    ----------
    word : {"SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"}
    sentence : str
        Why this word, for a reader without statistics.
    reasons : tuple of str
        What each method says, one a line, in order of weight.
    findings : Findings
        What decided.
    null_sweeps : NullSweeps, optional
    reality_check : dict
        Has p, and whether the search was adaptive, so that p is too small.
    holdout : dict
        Has p, p_ledger, n_surrogates, psr, psr_ledger, and failure where the chosen setting has no result there.
    ledger : dict
        Has factor, n_trials, n_openings and the names of the other studies.
    numbers : dict
        Every further figure by name; Sharpe ratios are per bar unless the name says annual. NaN is undefined.
    posterior : tuple of dict
        Maps prior to at_least, the least chance of a false discovery.
    n_trials, n_trials_on_data, n_openings : int
        Trials of the study, of all studies on its bars, and openings of its hold-out.
    rules : int
        Number of the rules that made it.
    shortage : str, optional
        What the bars are too few for, in a sentence.
    """

    word: Word
    sentence: str
    reasons: tuple[str, ...]
    findings: Findings
    null_sweeps: NullSweeps | None
    reality_check: Mapping[str, Any]
    holdout: Mapping[str, Any]
    ledger: Mapping[str, Any]
    numbers: Mapping[str, Any]
    posterior: tuple[Mapping[str, float], ...]
    n_trials: int
    n_trials_on_data: int
    n_openings: int
    rules: int = RULES
    shortage: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN and infinities become None."""
        document: dict[str, Any] = plain(self)
        document["look_ahead_clean"] = document.pop("findings")["look_ahead_clean"]
        return document

    def lines(self) -> list[str]:
        """Return the verdict as text, one line each."""
        posterior = ", ".join(f"{p['at_least']:.0%} at a prior of {p['prior']:g}" for p in self.posterior)
        lines = [f"{self.word}: {self.sentence}", *(f"  {reason}" for reason in self.reasons)]
        if not math.isnan(self.findings.p):
            lines.append(f"  Chance of a false discovery, at least: {posterior}.")
        return lines


def decide(findings: Findings, thresholds: VerdictThresholds | None = None) -> tuple[Word, tuple[str, ...]]:
    """Return the word, and what decided it or, where it is INCONCLUSIVE, what is missing, as keys of `wording`.

    SURVIVES needs every test after the ledger; LIKELY LUCK is said of what was measured, since many looks make an
    edge unproven, not unreal.
    """
    t, f = thresholds or VerdictThresholds(), findings
    luck = {"p": f.p > t.luck_p, "psr": f.psr < t.luck_psr, "holdout_p": f.holdout_p > t.luck_holdout_p}
    if any(luck.values()):
        return "LIKELY LUCK", tuple(name for name, is_luck in luck.items() if is_luck)
    missing = {
        "no_p": math.isnan(f.p),
        "p": f.p_ledger > t.survive_p,
        "no_holdout": math.isnan(f.psr) or math.isnan(f.holdout_p),
        "holdout_p": f.holdout_p_ledger > t.survive_holdout_p,
        "psr": f.psr_ledger < t.survive_psr,
        "no_gate": f.look_ahead_clean is None,
        "gate": f.look_ahead_clean is False,
    }
    if any(missing.values()):
        return "INCONCLUSIVE", tuple(name for name, is_missing in missing.items() if is_missing)
    return "SURVIVES", ()


def make_verdict(inputs: VerdictInputs, options: VerdictOptions | None = None) -> Verdict:
    """Weigh a sweep: null sweeps, hold-out and gate decide, everything else is given as reasons.

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    options = options or VerdictOptions()
    ledger = inputs.ledger
    findings = Findings.of(inputs)
    word, why = decide(findings, options.thresholds)
    check_p = p_value(inputs.observed, inputs.maxima)
    numbers: dict[str, Any] = {
        "reality_check_p": check_p,
        "reality_check_statistic": inputs.observed,
        "reality_check_critical_value": critical_value(inputs.maxima, options.thresholds.survive_p),
        "n_bootstrap": inputs.bootstrap.n_bootstrap,
        "n_blocks": len(inputs.bootstrap.block_sizes),
        "hold_out_psr": findings.psr,
        "hold_out_sharpe": math.nan if inputs.hold_out is None else inputs.hold_out.sharpe,
        "look_ahead_clean": inputs.look_ahead_clean,
        "break_even_commission": inputs.break_even,
    }
    reasons = [*deciding_lines(inputs, findings), *market_line(inputs), reality_check_line(inputs, check_p)]
    sample = sample_trials(inputs.trials, inputs.chosen)
    deflation_reasons(inputs, sample.sharpe_variance, numbers, reasons)
    if inputs.blocks is not None:
        block_reasons(inputs, inputs.blocks, sample, options, numbers, reasons)
    if inputs.grid is not None:
        neighbourhood_reasons(inputs, inputs.grid, sample, numbers, reasons)
    part = inputs.trials.part()
    if part is not None:
        reasons.append(part_line(part.sentence, numbers.get("n_kept")))
    if inputs.break_even is not None:
        reasons.append(f"Break-even: the edge is gone at a commission of {inputs.break_even:.4%} of the traded value.")
    return Verdict(
        word=word,
        sentence=first_sentence(word, why, inputs, findings, options.thresholds),
        reasons=tuple(reasons),
        findings=findings,
        null_sweeps=inputs.null_sweeps,
        reality_check={"p": check_p, "adaptive": inputs.adaptive},
        holdout={
            "p": findings.holdout_p,
            "p_ledger": findings.holdout_p_ledger,
            "n_surrogates": inputs.n_holdout_surrogates,
            "psr": findings.psr,
            "psr_ledger": findings.psr_ledger,
            "failure": inputs.holdout_failure or None,
        },
        ledger={
            "factor": ledger.factor,
            "n_trials": ledger.n_trials,
            "n_openings": ledger.n_openings,
            "studies": [line.name for line in ledger.tried],
        },
        numbers=numbers,
        posterior=tuple({"prior": q, "at_least": false_discovery_bound(findings.p_ledger, q)} for q in options.priors),
        n_trials=ledger.n_own,
        n_trials_on_data=ledger.n_trials,
        n_openings=ledger.n_openings,
        shortage=shortage(inputs, options),
    )
