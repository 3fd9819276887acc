import math

import pytest

from alphapulse.validation.ledger import Ledger, Span, Tried, count_openings, same_bars

SEARCHED = Span(0.0, 100.0)


@pytest.mark.parametrize(
    ("span", "counts"),
    [
        (Span(0.0, 100.0), True),
        (Span(1.0, 101.0), True),
        (Span(50.0, 150.0), False),
        (Span(49.0, 149.0), True),
        # Half of the shorter one, however long the other is.
        (Span(90.0, 110.0), False),
        (Span(89.0, 110.0), True),
        (Span(-1000.0, 1000.0), True),
        (Span(-math.inf, math.inf), True),
        (Span(100.0, 200.0), False),
    ],
)
def test_same_bars_shares_more_than_half_of_the_shorter(span, counts):
    line = Tried("other", span, 5)
    assert (same_bars(SEARCHED, [line]) == (line,)) is counts


def test_ledger_is_a_bonferroni_weight_by_size():
    quick = Tried("quick", SEARCHED, 50)
    assert Ledger(2000, (quick,)).factor == 1.025
    assert Ledger(5, (Tried("by hand", SEARCHED, 300),)).factor == 61.0
    assert Ledger(2000).factor == 1.0
    ledger = Ledger(100, (Tried("a", SEARCHED, 100),), n_openings=3)
    assert ledger.n_trials == 200
    assert ledger.adjust(0.012) == 0.024
    assert ledger.adjust(0.7) == 1.0
    assert ledger.adjust_holdout(0.02) == pytest.approx(0.06)
    assert ledger.adjust_probability(0.98) == pytest.approx(0.94)
    assert ledger.adjust_probability(0.5) == 0.0
    assert all(math.isnan(adjust(math.nan)) for adjust in (ledger.adjust, ledger.adjust_holdout))


def test_openings_are_looks_at_any_held_out_bar():
    holdout = Span(80.0, 100.0)
    openings = [holdout, Span(99.0, 120.0), Span(100.0, 120.0)]
    lines = [Tried("searched it", Span(0.0, 81.0), 10), Tried("did not", Span(0.0, 80.0), 10)]
    assert count_openings(holdout, openings, lines) == 3
