"""One study from search to verdict in this process: what decides, without Ray and without a database."""

import math
from dataclasses import dataclass

import numpy as np

from alphapulse.market.market import Market
from alphapulse.reports.weighing import estimate
from alphapulse.study.choice import Choice
from alphapulse.study.trials import Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.holdout import holdout_values
from alphapulse.sweep.null.search import SearchPlan, null_search, search_generations, value_of
from alphapulse.typing import Float64Array1D
from alphapulse.validation.ledger import Ledger
from alphapulse.validation.null_sweeps import NullSweeps, fewest_draws, holdout_p, n_holdout_surrogates
from alphapulse.validation.null_sweeps import weigh_null_sweeps as weigh_values
from alphapulse.validation.verdict.decision import Word, decide
from alphapulse.validation.verdict.evidence import Findings


@dataclass(frozen=True)
class Weighed:
    """What came out of a study.

    Attributes
    ----------
    nulls : NullSweeps
    word : {"SURVIVES", "INCONCLUSIVE", "LIKELY LUCK"}
    chosen : (n_dimensions,) float64
        The best setting; NaN where there is none.
    """

    nulls: NullSweeps
    word: Word
    chosen: Float64Array1D


def weigh_search(
    search: Market,
    holdout: Market,
    experiment: Experiment,
    plan: SearchPlan,
    *,
    n_null: int,
    block: int = 1,
    ledger: Ledger | None = None,
) -> Weighed:
    """Search a market, weigh the search by null sweeps and its choice on the hold-out, and say the word.

    The hold-out is asked only where the null sweeps let an edge survive: it could not change the word to SURVIVES.
    """
    ledger = ledger or Ledger(plan.n_trials, n_openings=1)
    sampler = plan.start(experiment, plan.seed)
    trials = Trials.joined(list(search_generations(search, experiment, sampler, plan.n_trials)))
    best = Choice(experiment.directions, plan.choose)(trials)
    chosen = np.full(len(experiment.space), math.nan) if best is None else trials.parameters[best]
    observed = math.nan if best is None else float(trials.values[best, 0])
    nulls = _null_sweeps(search, experiment, plan, observed, max(n_null, fewest_draws(ledger.factor)), block)
    findings = Findings(p=nulls.p, p_ledger=ledger.adjust(nulls.p), look_ahead_clean=True)
    if best is not None and findings.p_ledger <= 0.05:
        psr = estimate(experiment, holdout, chosen).probability()
        p = math.nan
        if ledger.adjust_probability(psr) >= 0.95:
            surrogates = range(n_holdout_surrogates(ledger.n_openings))
            values = holdout_values(holdout, experiment, chosen, surrogates, block)
            p = holdout_p(values, value_of(holdout, experiment, chosen))
        findings = Findings(
            p=nulls.p,
            p_ledger=ledger.adjust(nulls.p),
            holdout_p=p,
            holdout_p_ledger=ledger.adjust_holdout(p),
            psr=psr,
            psr_ledger=ledger.adjust_probability(psr),
            look_ahead_clean=True,
        )
    return Weighed(nulls, decide(findings)[0], chosen)


def _null_sweeps(
    market: Market, experiment: Experiment, plan: SearchPlan, observed: float, n_wanted: int, block: int
) -> NullSweeps:
    values: list[float] = []
    while True:
        weighed = weigh_values(values, observed, n_wanted=n_wanted)
        if weighed.stopped != "budget":
            return weighed
        values.append(null_search(market, experiment, plan, len(values), block=block))
