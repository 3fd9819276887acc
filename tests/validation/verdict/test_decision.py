import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from alphapulse.validation import (
    BlockArrays,
    Findings,
    Ledger,
    MarketComparison,
    ParameterGrid,
    SharpeEstimate,
    TrialArrays,
    VerdictInputs,
    VerdictOptions,
    VerdictThresholds,
    block_moments,
    decide,
    deflated_sharpe_ratio,
    make_bootstrap,
    make_verdict,
)
from alphapulse.validation.blocks import even_edges
from alphapulse.validation.ledger import Span, Tried
from alphapulse.validation.null_sweeps import weigh_null_sweeps

N_BARS, N_TRIALS, N_BLOCKS = 1400, 60, 140


def sweep(edge=0.0, seed=0, **changes):
    returns = np.random.default_rng(seed).standard_normal((N_BARS + 400, N_TRIALS)) * 0.01
    returns[:, 17] += edge
    searched, held = returns[:N_BARS], returns[N_BARS:]
    sums, squares, sizes = block_moments(searched, even_edges(N_BARS, N_BLOCKS))
    bootstrap = make_bootstrap(sizes, n_bootstrap=300, seed=1)
    observed, maxima = bootstrap.batch_maximum(sums)
    sharpes = searched.mean(axis=0) / searched.std(axis=0, ddof=1)
    best = int(np.argmax(sharpes))
    inputs = VerdictInputs(
        chosen=best,
        in_sample=SharpeEstimate(float(sharpes[best]), N_BARS, 0.0, 3.0),
        hold_out=SharpeEstimate(float(held[:, best].mean() / held[:, best].std(ddof=1)), 400, 0.0, 3.0),
        trials=TrialArrays(sharpes, np.random.default_rng(9).random((N_TRIALS, 2))),
        bootstrap=bootstrap,
        observed=observed,
        maxima=maxima,
        look_ahead_clean=True,
        ledger=Ledger(N_TRIALS + 5, (Tried("other", Span(0.0, 1.0), 935),), n_openings=3),
        null_sweeps=nulls(1 if edge else 12),
        holdout_p=0.01 if edge else 0.4,
        n_holdout_surrogates=999,
        blocks=BlockArrays(sums, squares),
        grid=ParameterGrid(
            low=np.zeros(2),
            high=np.ones(2),
            step=np.full(2, np.nan),
            log=np.zeros(2, bool),
            integer=np.zeros(2, bool),
            categorical=np.zeros(2, bool),
        ),
        parameter_names=("fast", "slow"),
        break_even=0.0042,
    )
    return dataclasses.replace(inputs, **changes)


def nulls(n_as_good, n=99, n_wanted=99):
    """Null sweeps of which the first `n_as_good` were as good."""
    values = [1.0] * n_as_good + [0.0] * (n - n_as_good)
    return weigh_null_sweeps(values, 0.5, n_wanted=n_wanted)


GOOD = Findings(0.01, 0.02, 0.01, 0.02, 0.99, 0.98, True)
ALONE = Ledger(65)


@pytest.mark.parametrize(
    ("changes", "word", "why"),
    [
        ({}, "SURVIVES", ()),
        ({"p_ledger": 0.05, "holdout_p_ledger": 0.05, "psr_ledger": 0.95}, "SURVIVES", ()),
        ({"p_ledger": 0.0501}, "INCONCLUSIVE", ("p",)),
        ({"holdout_p_ledger": 0.0501}, "INCONCLUSIVE", ("holdout_p",)),
        ({"psr_ledger": 0.9499}, "INCONCLUSIVE", ("psr",)),
        ({"look_ahead_clean": False}, "INCONCLUSIVE", ("gate",)),
        ({"look_ahead_clean": None}, "INCONCLUSIVE", ("no_gate",)),
        ({"p": math.nan, "p_ledger": math.nan}, "INCONCLUSIVE", ("no_p",)),
        ({"psr": math.nan, "psr_ledger": math.nan}, "INCONCLUSIVE", ("no_holdout",)),
        ({"holdout_p": math.nan, "holdout_p_ledger": math.nan}, "INCONCLUSIVE", ("no_holdout",)),
        # Luck is said of what was measured: after many looks an edge is unproven, not unreal.
        ({"p_ledger": 1.0, "holdout_p_ledger": 1.0, "psr_ledger": 0.0}, "INCONCLUSIVE", ("p", "holdout_p", "psr")),
        ({"p": 0.2, "psr": 0.5, "holdout_p": 0.5, "p_ledger": 0.2}, "INCONCLUSIVE", ("p",)),
        ({"p": 0.2001}, "LIKELY LUCK", ("p",)),
        ({"psr": 0.4999}, "LIKELY LUCK", ("psr",)),
        ({"holdout_p": 0.5001}, "LIKELY LUCK", ("holdout_p",)),
        ({"p": 0.2001, "psr": math.nan, "look_ahead_clean": None}, "LIKELY LUCK", ("p",)),
    ],
)
def test_decide_follows_the_rules(changes, word, why):
    assert decide(dataclasses.replace(GOOD, **changes)) == (word, why)


def test_decide_takes_its_thresholds():
    strict = VerdictThresholds(survive_p=0.001, luck_p=0.005, survive_psr=0.999, luck_psr=0.9)
    assert decide(GOOD, strict)[0] == "LIKELY LUCK"
    assert decide(dataclasses.replace(GOOD, p=0.004), strict) == ("INCONCLUSIVE", ("p", "psr"))


def test_first_sentence_is_one_that_a_trader_understands():
    luck = make_verdict(sweep())
    assert luck.word == "LIKELY LUCK"
    assert luck.sentence == (
        "We ran your whole search again on 10 markets with the same moves in another order: 10 of them gave something "
        "as good. What you found is what luck finds."
    )
    survives = make_verdict(sweep(edge=0.0022, ledger=dataclasses.replace(ALONE, n_openings=1)))
    assert survives.word == "SURVIVES"
    assert survives.sentence.startswith("We ran your whole search again on 99 markets")
    assert "one of them gave something as good. On the bars that the search never saw" in survives.sentence
    assert "only 1.0% of the same moves in another order did as well" in survives.sentence
    lost = make_verdict(sweep(edge=0.0022, ledger=ALONE, hold_out=SharpeEstimate(-0.02, 400, 0.0, 3.0)))
    assert "earned less than cash" in lost.sentence
    many = make_verdict(sweep(edge=0.0022))
    assert many.word == "INCONCLUSIVE"
    assert "p = 0.02, times 15.4 = 0.308, should be at most 0.05" in many.sentence
    none = make_verdict(
        sweep(edge=0.0022, null_sweeps=nulls(0, 0, 0), weigh_command="python -m alphapulse.weigh study=x")
    )
    assert none.word == "INCONCLUSIVE"
    assert "`python -m alphapulse.weigh study=x` runs them." in none.sentence
    for verdict in (luck, survives, lost, many, none):
        assert verdict.sentence.endswith(".")
        assert "\n" not in verdict.sentence
        assert "nan" not in "\n".join(verdict.lines())


@pytest.mark.parametrize(
    ("n_blocks", "n_held", "said"),
    [
        (140, 400, None),
        (
            30,
            1,
            "Short data: 1,400 searched bars leave out walk-forward (from 2,894 on); 1 held-out bar can confirm no "
            "Sharpe ratio; a yearly one of 1 takes 685 (2.7 years).",
        ),
        (
            8,
            32,
            "Short data: 1,400 searched bars leave out walk-forward (from 10,850 on) and purged cross-validation (from "
            "1,750 on); 32 held-out bars can confirm only a yearly Sharpe ratio above 4.8; one of 1 takes 685 (2.7 "
            "years).",
        ),
    ],
)
def test_short_data_say_what_they_cannot_show(n_blocks, n_held, said):
    bootstrap = make_bootstrap(np.diff(even_edges(N_BARS, n_blocks)).astype(float), n_bootstrap=300, seed=1)
    inputs = sweep(bootstrap=bootstrap, hold_out=SharpeEstimate(0.1, n_held, 0.0, 3.0), grid=None)
    sums, squares = (
        np.add.reduceat(part, even_edges(N_BLOCKS, n_blocks)[:-1], axis=1)
        for part in (inputs.blocks.sums, inputs.blocks.squares)
    )
    verdict = make_verdict(dataclasses.replace(inputs, blocks=BlockArrays(sums, squares)))
    assert verdict.shortage == said
    assert verdict.to_dict()["shortage"] == said


def test_verdict_says_what_the_market_gave():
    own = {"sharpe_ratio": 0.74, "alpha": 0.012, "beta": 0.45, "exposure": 0.6}
    bought = {"sharpe_ratio": 0.79, "alpha": 0.0, "beta": 1.0, "exposure": math.nan}
    reasons = make_verdict(sweep(market=MarketComparison(own, bought, own, bought))).reasons
    (line,) = [reason for reason in reasons if reason.startswith("What the market gave")]
    assert "Sharpe ratio of 0.74 beside buy and hold's 0.79, alpha 1.2% a year, beta 0.45, exposure 60%" in line
    assert "held out" in line
    assert "Its Sharpe ratio of 0.74 is below buy and hold's 0.79." in reasons


def test_reality_check_is_too_small_for_an_adaptive_search():
    fixed, adaptive = (make_verdict(sweep(adaptive=flag)) for flag in (False, True))
    assert not any("adaptive" in reason for reason in fixed.reasons)
    assert any("too small for an adaptive search" in reason for reason in adaptive.reasons)
    assert adaptive.to_dict()["reality_check"] == {"p": fixed.reality_check["p"], "adaptive": True}


def test_verdict_finds_a_planted_edge():
    verdict = make_verdict(sweep(edge=0.0022, ledger=Ledger(65, n_openings=1)))
    assert verdict.word == "SURVIVES"
    numbers = verdict.numbers
    assert numbers["reality_check_p"] <= 0.05
    np.testing.assert_array_equal(numbers["survivors"], [17])
    assert numbers["chosen_p"] == numbers["reality_check_p"]
    assert numbers["pbo"] < 0.1
    assert (numbers["walk_forward_rolling"]["chosen"] == 17).mean() > 0.5


def test_verdict_does_not_believe_noise():
    verdict = make_verdict(sweep())
    assert verdict.word in ("INCONCLUSIVE", "LIKELY LUCK")
    assert len(verdict.numbers["survivors"]) == 0


def test_verdict_counts_every_trial():
    inputs = sweep()
    verdict = make_verdict(inputs)
    own = inputs.in_sample
    expected = {
        n: deflated_sharpe_ratio(
            own.sharpe,
            sharpe_variance=inputs.trials.values.var(ddof=1),
            n_trials=n,
            n_returns=N_BARS,
            skewness=0.0,
            kurtosis=3.0,
        )
        for n in (N_TRIALS + 5, 1000)
    }
    assert verdict.numbers["dsr"] == pytest.approx(expected[N_TRIALS + 5], rel=1e-12)
    assert verdict.numbers["dsr_all_studies"] == pytest.approx(expected[1000], rel=1e-12)
    assert (verdict.n_trials, verdict.n_trials_on_data, verdict.n_openings) == (65, 1000, 3)
    text = "\n".join(verdict.lines())
    assert "times 15.4 (935 more trials on these bars in 1 other study)" in text
    assert "opened 3 times" in text
    for word in ("DSR", "PBO", "Walk-forward, rolling", "Walk-forward, anchored", "Plateau", "StepM", "prior of 0.01"):
        assert word in text


def test_verdict_states_the_prior_beside_the_posterior():
    verdict = make_verdict(sweep(edge=0.003), VerdictOptions(priors=(0.02, 0.6)))
    assert [row["prior"] for row in verdict.posterior] == [0.02, 0.6]
    assert verdict.posterior[0]["at_least"] > verdict.posterior[1]["at_least"]


def test_verdict_of_losers_states_no_share_of_a_sharpe_ratio_below_zero():
    inputs = sweep()
    trials = TrialArrays(inputs.trials.values - 1.0, inputs.trials.parameters * 0.01)
    losers = dataclasses.replace(inputs, trials=trials)
    reasons = make_verdict(losers).reasons
    (plateau,) = [line for line in reasons if line.startswith("Plateau")]
    assert "nan" not in plateau
    assert "its Sharpe ratio is not positive" in plateau


def test_verdict_without_hold_out_is_at_most_inconclusive():
    assert make_verdict(sweep(edge=0.003, hold_out=None)).word == "INCONCLUSIVE"
    flat = SharpeEstimate(math.nan, 400, math.nan, math.nan)
    assert make_verdict(sweep(edge=0.003, hold_out=flat)).word == "INCONCLUSIVE"
    short = SharpeEstimate(0.1, 1, math.nan, math.nan)
    assert make_verdict(sweep(edge=0.003, hold_out=short)).word == "INCONCLUSIVE"


def test_verdict_of_a_sample_of_blocks_names_trials_of_the_study():
    whole = sweep(edge=0.0022)
    kept = np.array([3, 17, 40])
    part = dataclasses.replace(whole, blocks=BlockArrays(whole.blocks.sums[kept], whole.blocks.squares[kept], kept))
    verdict = make_verdict(part)
    np.testing.assert_array_equal(verdict.numbers["survivors"], [17])
    assert verdict.numbers["reality_check_p"] == make_verdict(whole).numbers["reality_check_p"]
    assert np.isin(verdict.numbers["walk_forward_rolling"]["chosen"], kept).all()


def test_verdict_is_json_without_nan():
    inputs = sweep()
    sharpes = inputs.trials.values.copy()
    sharpes[:58] = np.nan
    failed = TrialArrays(sharpes, inputs.trials.parameters)
    bare = dataclasses.replace(inputs, trials=TrialArrays(sharpes[:1]), chosen=0, blocks=None, grid=None, hold_out=None)
    for case in (inputs, dataclasses.replace(inputs, trials=failed, chosen=58), bare):
        text = json.dumps(make_verdict(case).to_dict(), allow_nan=False)
        back = json.loads(text)
        assert back["word"] in ("SURVIVES", "INCONCLUSIVE", "LIKELY LUCK")
        assert back["numbers"]["reality_check_p"] is not None
        assert back["rules"] == 2
        assert set(back["null_sweeps"]) >= {"p", "p_ledger", "n_done", "n_wanted", "n_as_good", "stopped", "values"}
        assert set(back["holdout"]) == {"p", "p_ledger", "n_surrogates", "psr", "psr_ledger", "failure"}
        assert set(back["ledger"]) == {"factor", "n_trials", "n_openings", "studies"}
    assert json.loads(text)["numbers"]["dsr"] is None


def test_verdict_of_a_study_in_which_every_trial_failed():
    inputs = sweep()
    nothing = np.full(N_TRIALS, np.nan)
    failed = dataclasses.replace(
        inputs,
        in_sample=SharpeEstimate(math.nan, 0, math.nan, math.nan),
        hold_out=None,
        null_sweeps=None,
        holdout_p=math.nan,
        trials=TrialArrays(nothing, inputs.trials.parameters),
        observed=-math.inf,
        maxima=np.full(300, -math.inf),
        blocks=BlockArrays(np.zeros((N_TRIALS, N_BLOCKS)), np.zeros((N_TRIALS, N_BLOCKS))),
        break_even=None,
    )
    verdict = make_verdict(failed)
    assert verdict.word == "INCONCLUSIVE"
    json.dumps(verdict.to_dict(), allow_nan=False)
    assert verdict.lines()


def test_verdict_on_few_blocks_leaves_out_what_does_not_fit():
    inputs = sweep()
    sums, squares = (np.ascontiguousarray(table[:, :9]) for table in (inputs.blocks.sums, inputs.blocks.squares))
    sizes = inputs.bootstrap.block_sizes[:9]
    bootstrap = make_bootstrap(sizes, n_bootstrap=300)
    observed, maxima = bootstrap.batch_maximum(sums)
    verdict = make_verdict(
        dataclasses.replace(
            inputs, bootstrap=bootstrap, observed=observed, maxima=maxima, blocks=BlockArrays(sums, squares)
        )
    )
    assert verdict.numbers["pbo_blocks"] == 8
    assert "Walk-forward: none" in "\n".join(verdict.lines())


def test_validation_imports_nothing_heavy():
    code = (
        "import sys, alphapulse.validation as v; "
        "print(sorted({'pandas', 'sqlalchemy', 'optuna', 'hydra', 'ray', 'scipy.stats'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
