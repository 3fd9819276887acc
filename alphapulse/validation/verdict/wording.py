"""The verdict in words: a first sentence for a reader without statistics, then one line a test in order of weight."""

import math
from collections.abc import Mapping

from alphapulse.validation.verdict.evidence import Findings, VerdictInputs, VerdictThresholds


def first_sentence(
    word: str, why: tuple[str, ...], inputs: VerdictInputs, findings: Findings, thresholds: VerdictThresholds
) -> str:
    """Return what was done, what came of it, and what that means.

    Parameters
    ----------
    word : {"SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"}
    why : tuple of str
        What decided the word, as `decide` names it.
    inputs : VerdictInputs
    findings : Findings
    thresholds : VerdictThresholds
    """
    nulls = inputs.null_sweeps
    begin = "" if nulls is None or math.isnan(nulls.p) else f"{_what_was_done(nulls.n_done, nulls.n_as_good)} "
    if word == "SURVIVES":
        return (
            f"{begin}On the bars that the search never saw, the chosen setting did well again, and only "
            f"{findings.holdout_p:.1%} of the same moves in another order did as well. Luck alone rarely does both."
        )
    if word == "LIKELY LUCK":
        if "p" in why:
            return f"{begin}What you found is what luck finds."
        return f"{begin}{'But on' if begin else 'On'} {_luck(why, findings)}"
    doubt = "That is not enough to tell skill from luck" if begin else "Skill or luck cannot be told"
    return f"{begin}{doubt}: {_missing(why, inputs, findings, thresholds)}"


def _what_was_done(n_done: int, n_as_good: int) -> str:
    found = {0: "none of them gave anything as good", 1: "one of them gave something as good"}
    return (
        f"We ran your whole search again on {n_done} markets with the same moves in another order: "
        f"{found.get(n_as_good, f'{n_as_good} of them gave something as good')}."
    )


def _luck(why: tuple[str, ...], findings: Findings) -> str:
    if "psr" in why:
        return "the bars that the search never saw, the chosen setting earned less than cash: it did not last."
    return (
        f"the bars that the search never saw, {findings.holdout_p:.0%} of the same moves in another order did as well "
        "as the real ones: its timing did not last."
    )


def _missing(why: tuple[str, ...], inputs: VerdictInputs, findings: Findings, thresholds: VerdictThresholds) -> str:
    t = thresholds
    nulls, ledger = inputs.null_sweeps, inputs.ledger
    is_broken = nulls is not None and nulls.stopped == "failed"
    texts = {
        "no_p": (
            "its trials fail on the same moves in another order, though not on the real ones"
            if is_broken
            else "the search was not run on enough markets without timing"
        ),
        "p": f"{_chance(findings.p, findings.p_ledger, ledger.factor)} should be at most {t.survive_p:g}",
        "no_holdout": (
            f"the chosen setting fails on the hold-out ({inputs.holdout_failure})"
            if inputs.holdout_failure
            else "there is no hold-out result to confirm it"
        ),
        "holdout_p": (
            f"on the hold-out {_chance(findings.holdout_p, findings.holdout_p_ledger, ledger.n_openings)} should be "
            f"at most {t.survive_holdout_p:g}"
        ),
        "psr": (
            f"on the hold-out the probability of beating cash is {findings.psr_ledger:.3f}, and should be at least "
            f"{t.survive_psr:g}"
        ),
        "no_gate": "the look-ahead gate did not run",
        "gate": "the look-ahead gate found decisions that see the future",
    }
    text = "; ".join(texts[name] for name in why) + "."
    if is_broken or inputs.holdout_failure:
        return f"{text} A strategy has to decide on any prices."
    if "no_p" in why and inputs.weigh_command:
        return f"{text} `{inputs.weigh_command}` runs them."
    decided = nulls is not None and nulls.stopped == "complete"
    if why == ("p",) and decided and (1.0 / (1 + nulls.n_done)) * ledger.factor > t.survive_p:  # type: ignore[union-attr]
        return f"{text} So few null sweeps cannot show less; `{inputs.weigh_command}` runs more."
    return f"{text} More bars would settle it, or fewer tries on the same ones."


def _chance(p: float, p_ledger: float, factor: float) -> str:
    return f"p = {p:.3g}" if factor <= 1.0 else f"p = {p:.3g}, times {factor:.3g} = {p_ledger:.3g},"


def deciding_lines(inputs: VerdictInputs, findings: Findings) -> list[str]:
    """Return one line for the null sweeps, one for timing on the hold-out and one for its Sharpe ratio."""
    return [_null_sweeps_line(inputs, findings), *_holdout_lines(inputs, findings)]


def _null_sweeps_line(inputs: VerdictInputs, findings: Findings) -> str:
    nulls, ledger = inputs.null_sweeps, inputs.ledger
    if nulls is None or nulls.n_wanted == 0:
        return "Null sweeps: none, since none were wanted or there was no time; the chance of luck is unknown."
    if nulls.stopped == "failed":
        return (
            f"Null sweeps: no p, since on {nulls.n_failed} of {nulls.n_done} markets with the same moves in another "
            "order trials failed that do not on the real one: an exception, a crash, time or memory."
        )
    if math.isnan(nulls.p):
        return f"Null sweeps: {nulls.n_done} of at most {nulls.n_wanted}, {nulls.n_as_good} as good; not finished."
    text = (
        f"Null sweeps: p = {nulls.p:.3g}, the chance that a search this wide finds as much where there is no timing "
        f"({nulls.n_as_good} of {nulls.n_done} as good, at most {nulls.n_wanted} wanted)"
    )
    if nulls.n_failed:
        text += f", {nulls.n_failed} of those since trials failed there that do not on the real market"
    if not ledger.tried:
        return f"{text}; nothing else was tried on these bars."
    more = ledger.n_trials - ledger.n_own
    where = "1 other study" if len(ledger.tried) == 1 else f"{len(ledger.tried)} other studies"
    return (
        f"{text}; times {ledger.factor:.3g} ({more:,} more trials on these bars in {where}): {findings.p_ledger:.3g}."
    )


def _holdout_lines(inputs: VerdictInputs, findings: Findings) -> list[str]:
    if inputs.hold_out is None:
        return (
            [f"Hold-out: the chosen setting fails there: {inputs.holdout_failure}."]
            if inputs.holdout_failure
            else ["Hold-out: none."]
        )
    opened = {1: "opened once"}.get(inputs.ledger.n_openings, f"opened {inputs.ledger.n_openings} times")
    lines = []
    if inputs.holdout_failure:
        lines.append(f"Timing on the hold-out: no p, as the chosen setting fails: {inputs.holdout_failure}.")
    if not math.isnan(findings.holdout_p):
        lines.append(
            f"Timing on the hold-out: p = {findings.holdout_p:.3g} over {inputs.n_holdout_surrogates:,} other orders "
            f"of its moves; {opened}: {findings.holdout_p_ledger:.3g}."
        )
    if not math.isnan(findings.psr):
        year = math.sqrt(inputs.periods_per_year)
        lines.append(
            f"Hold-out: PSR {findings.psr:.3f}, the probability of beating cash, from a yearly Sharpe ratio of "
            f"{inputs.hold_out.sharpe * year:.2f} over {inputs.hold_out.n_returns:,} bars; {opened}: "
            f"{findings.psr_ledger:.3f}."
        )
    return lines or [f"Hold-out: {opened}, but the chosen setting has no result there."]


def market_line(inputs: VerdictInputs) -> list[str]:
    """Return what the market gave to everybody beside what the chosen setting made of it; nothing if not known."""
    if inputs.market is None:
        return []
    market = inputs.market
    parts = [f"in sample {_beside(market.chosen, market.benchmark)}"]
    if market.chosen_holdout is not None and market.benchmark_holdout is not None:
        parts.append(f"held out {_beside(market.chosen_holdout, market.benchmark_holdout)}")
    lines = [f"What the market gave: {'; '.join(parts)}."]
    own, bought = market.chosen["sharpe_ratio"], market.benchmark["sharpe_ratio"]
    if own < bought:
        lines.append(f"Its Sharpe ratio of {own:.2f} is below buy and hold's {bought:.2f}.")
    return lines


def _beside(chosen: Mapping[str, float], benchmark: Mapping[str, float]) -> str:
    return (
        f"a Sharpe ratio of {_figure(chosen['sharpe_ratio'])} beside buy and hold's "
        f"{_figure(benchmark['sharpe_ratio'])}, alpha {_figure(chosen['alpha'], '.1%')} a year, "
        f"beta {_figure(chosen['beta'])}, exposure {_figure(chosen['exposure'], '.0%')}"
    )


def reality_check_line(inputs: VerdictInputs, p: float) -> str:
    """Return what the bootstrap of the maximum over all trials says, and whether it may be believed."""
    text = (
        f"Reality check: p = {_figure(p, '.3g')} over all {inputs.ledger.n_own:,} trials as if they had been fixed "
        f"beforehand, {inputs.bootstrap.n_bootstrap:,} resamples of {len(inputs.bootstrap.block_sizes)} calendar blocks"
    )
    return (
        f"{text}; too small for an adaptive search, which chooses its trials by the data."
        if inputs.adaptive
        else (f"{text}.")
    )


def _figure(value: float, form: str = ".2f") -> str:
    return "undefined" if math.isnan(value) else format(value, form)


def part_line(stored: str, n_blocks: int | None) -> str:
    """Return on what the tests rest where a part of the trials is stored, from a sentence that says which part."""
    on_blocks = "" if n_blocks is None else f"PBO, walk-forward and purged cross-validation on {n_blocks:,} of them, "
    return (
        f"{stored} Null sweeps, reality check, DSR and ledger rest on all; {on_blocks}"
        "plateau and importance on those that were drawn and the best."
    )
