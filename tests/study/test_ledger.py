from dataclasses import replace

import pytest

from alphapulse.search.space import SearchSpace
from alphapulse.study.ledger import count_openings, record_opening
from alphapulse.study.records import StudyPlan
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres


def test_openings_count_per_data(database):
    store = Store(database)
    plan = StudyPlan("s", {}, SearchSpace(()), 0, ("sharpe_ratio",), ("maximize",), "a", "1", {}, 0)
    study = store.open_study(plan)
    assert record_opening(database, study, 3) == 1
    assert record_opening(database, study, 3) == 1
    assert record_opening(database, study, 4) == 2
    assert record_opening(database, replace(study, fingerprint="b"), 4) == 1
    assert count_openings(database, "c") == 0
    store.close()
