import re

import pytest

from alphapulse.search.choosing import make_sampler
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension
from alphapulse.search.rates import ProposalRate, compare_rates
from alphapulse.search.space import SearchSpace

FLOATS = SearchSpace((FloatDimension("a", 0.0, 1.0), FloatDimension("b", 0.0, 1.0)))
CHOICES = SearchSpace((*FLOATS.dimensions, CategoricalDimension("c", ("x", "y"))))


@pytest.mark.parametrize(
    ("name", "space", "own"),
    [("RandomSampler", FLOATS, "random"), ("optuna.samplers.RandomSampler", CHOICES, "random")],
)
def test_rates_are_measured_beside_the_sampler_of_ours_that_is_alike(name, space, own):
    spare = make_sampler("optuna", space, seed=0, options={"optuna": name})
    rate = compare_rates(name, spare, 200)
    assert rate.own == own
    assert rate.own_rate > rate.rate > 0
    assert re.fullmatch(rf"Optuna's {name} proposes [\d,]+ trials/s here; search={own} [\d,]+", rate.sentence())


def test_what_has_no_like_stands_alone():
    # Ours takes no choices.
    for name in ("my_module.Mine", "CmaEsSampler"):
        spare = make_sampler("optuna", CHOICES, seed=0, options={"optuna": "RandomSampler"})
        assert compare_rates(name, spare, 50).own is None


def test_sentence_rounds():
    assert ProposalRate("TPESampler", 37.6, "tpe", 1412.0).sentence() == (
        "Optuna's TPESampler proposes 38 trials/s here; search=tpe 1,412"
    )
    assert ProposalRate("GPSampler", 0.834).sentence() == "Optuna's GPSampler proposes 0.83 trials/s here"
