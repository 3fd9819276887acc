"""What the proposals of Optuna's own samplers cost a study: they are asked for one by one, and again in null sweeps."""

from alphapulse.search.rates import ProposalRate, compare_rates
from alphapulse.sweep.opening import OpenStudy, make_study_sampler


def proposal_costs(opened: OpenStudy, n_cpus: int) -> list[str]:
    """Return a sentence for each cost, measured here; none for samplers of our own.

    Parameters
    ----------
    opened : OpenStudy
    n_cpus : int
        Of the workers.
    """
    config, n_done = opened.config, opened.study.n_done
    if opened.sampler.name != "optuna":
        return []
    rate = compare_rates(config.search.optuna or "TPESampler", make_study_sampler(config, "optuna"), config.n_trials)
    return describe_costs(rate, config.n_trials, n_done, config.validation.null_sweeps, n_cpus)


def describe_costs(rate: ProposalRate, n_trials: int, n_done: int, n_null: int, n_cpus: int) -> list[str]:
    """Return the sentences for a study of `n_trials`, `n_done` of them stored, with at most `n_null` null sweeps."""
    lines = [f"{rate.sentence()}, at the beginning of a search."]
    if n_done:
        lines.append(
            f"It proposes the {n_done:,} stored trials again first, since nothing else tells where it was: "
            f"at least {_duration(n_done / rate.rate)}."
        )
    if n_null:
        each = n_trials / rate.rate
        all_of_them = _duration(n_null * each / n_cpus)
        lines.append(
            f"A null sweep proposes {n_trials:,} trials as well: at least {_duration(each)} of a core each, "
            f"{all_of_them} for {n_null} on {n_cpus} cores; validation.null_seconds ends them earlier."
        )
    return lines


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
