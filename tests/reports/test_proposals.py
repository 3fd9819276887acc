from alphapulse.reports.proposals import describe_costs
from alphapulse.search.rates import ProposalRate

RATE = ProposalRate("TPESampler", 40.0, "tpe", 1400.0)


def test_costs_of_proposing_are_said():
    first, again, null = describe_costs(RATE, 2000, 1000, 99, 2)
    assert first == "Optuna's TPESampler proposes 40 trials/s here; search=tpe 1,400, at the beginning of a search."
    assert "proposes the 1,000 stored trials again" in again
    assert again.endswith("at least 25 s.")
    assert "at least 50 s of a core each, 41 min for 99 on 2 cores" in null


def test_what_is_not_to_come_is_not_said():
    assert len(describe_costs(RATE, 2000, 0, 0, 2)) == 1
    assert "less than a second" in describe_costs(RATE, 20, 0, 9, 2)[1]
