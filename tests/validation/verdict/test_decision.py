import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from alphapulse.validation import (
    BlockArrays,
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
        n_trials=N_TRIALS + 5,
        n_trials_on_data=1000,
        n_openings=3,
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


@pytest.mark.parametrize(
    ("p", "psr", "clean", "word"),
    [
        (0.05, 0.95, True, "SURVIVES"),
        (0.001, 1.0, True, "SURVIVES"),
        (0.0501, 0.99, True, "INCONCLUSIVE"),
        (0.01, 0.9499, True, "INCONCLUSIVE"),
        (0.01, 0.99, False, "INCONCLUSIVE"),
        (0.01, 0.99, None, "INCONCLUSIVE"),
        (0.01, math.nan, True, "INCONCLUSIVE"),
        (math.nan, 0.99, True, "INCONCLUSIVE"),
        (0.2, 0.5, True, "INCONCLUSIVE"),
        (0.2001, 0.99, True, "LIKELY LUCK"),
        (0.2001, math.nan, None, "LIKELY LUCK"),
        (0.01, 0.4999, True, "LIKELY LUCK"),
    ],
)
def test_decide_follows_the_rules(p, psr, clean, word):
    got, sentence = decide(p, psr, clean)
    assert got == word
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_decide_takes_its_thresholds():
    strict = VerdictThresholds(survive_p=0.001, luck_p=0.01, survive_psr=0.999, luck_psr=0.9)
    assert decide(0.02, 0.99, True, strict)[0] == "LIKELY LUCK"
    assert decide(0.005, 0.99, True, strict)[0] == "INCONCLUSIVE"


def test_verdict_finds_a_planted_edge():
    verdict = make_verdict(sweep(edge=0.0022))
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
    assert "65 in this study, 1,000 ever on this data" in text
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
    assert json.loads(text)["numbers"]["dsr"] is None


def test_verdict_of_a_study_in_which_every_trial_failed():
    inputs = sweep()
    nothing = np.full(N_TRIALS, np.nan)
    failed = dataclasses.replace(
        inputs,
        in_sample=SharpeEstimate(math.nan, 0, math.nan, math.nan),
        hold_out=None,
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
