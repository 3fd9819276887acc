from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from alphapulse.search.space import SearchSpace
from alphapulse.study.ledger import held_out_within, open_holdout, read_all, read_ledger, record_backtest
from alphapulse.study.records import Study, StudyBars, StudyPlan
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres


def day(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


BARS = StudyBars(("A", "B"), "1d", day(2000), day(2010), day(2008))


@pytest.fixture
def store(database):
    store = Store(database)
    yield store
    store.close()


def make_study(
    store: Store, name: str, bars: StudyBars = BARS, n_trials: int = 100, enqueue: str | None = None
) -> Study:
    config = {"search": {"enqueue": enqueue}}
    plan = StudyPlan(name, config, SearchSpace(()), 0, ("sharpe_ratio",), ("maximize",), name, bars, "1", {}, 0)
    study = store.open_study(plan)
    store.database.fetch("UPDATE ledger SET n_trials = $2 WHERE sweep_id = $1", study.id, n_trials)
    return study


def test_trials_on_overlapping_bars_count_whatever_their_name_or_start(store):
    own = make_study(store, "own")
    make_study(store, "later", StudyBars(("A",), "1d", day(2001), day(2011), day(2009)), 50)
    make_study(store, "elsewhere", StudyBars(("A",), "1d", day(2007), day(2020)), 1000)
    make_study(store, "hourly", StudyBars(("A",), "1h", day(2000), day(2010)), 1000)
    make_study(store, "other symbol", StudyBars(("B", "A"), "1d", day(2000), day(2010)), 1000)
    ledger = read_ledger(store.database, own, BARS, 100)
    assert [line.name for line in ledger.tried] == ["later"]
    assert ledger.factor == 1.5
    # The study from 2007 on has searched bars that are held out here.
    assert ledger.n_openings == 2


def test_study_that_a_search_started_from_counts_on_whatever_bars(store):
    elsewhere = StudyBars(("C",), "1h", day(2015), day(2020))
    make_study(store, "grandmother", elsewhere, 30)
    make_study(store, "mother", elsewhere, 20, enqueue="grandmother")
    own = make_study(store, "own", enqueue="mother")
    make_study(store, "near", n_trials=50, enqueue="near")
    ledger = read_ledger(store.database, own, BARS, 100)
    assert sorted(line.name for line in ledger.tried) == ["grandmother", "mother", "near"]
    assert ledger.factor == 2.0
    same = make_study(store, "same", enqueue="near")
    assert [line.name for line in read_ledger(store.database, same, BARS, 100).tried] == ["own", "near"]


def test_lines_outlive_their_study(store, database):
    own = make_study(store, "own")
    gone = make_study(store, "gone", n_trials=300)
    with database.sync_engine.begin() as connection:
        connection.execute(text("DELETE FROM sweep WHERE id = :id"), {"id": gone.id})
    assert read_ledger(database, own, BARS, 100).factor == 4.0


def test_same_look_counts_once(store, database):
    own = make_study(store, "own")
    for by in ("study own trial 3", "study own trial 3", "study own trial 4"):
        open_holdout(database, BARS, by)
    assert read_ledger(database, own, BARS, 100).n_openings == 2
    open_holdout(database, StudyBars(("A",), "1d", day(2000), day(2020), day(2015)), "study far trial 0")
    open_holdout(database, StudyBars(("A",), "1d", day(2000), day(2010)), "study without a hold-out")
    assert read_ledger(database, own, BARS, 100).n_openings == 2
    assert len(read_all(database).openings) == 3


def test_backtest_is_a_study_of_one_trial(store, database):
    own = make_study(store, "own")
    inside, whole = StudyBars(("A",), "1d", day(2000), day(2008)), StudyBars(("A",), "1d", day(2000), day(2010))
    for _ in range(2):
        record_backtest(database, inside, "backtest long_short 1")
    assert read_ledger(database, own, BARS, 100).factor == 1.01
    assert read_ledger(database, own, BARS, 100).n_openings == 0
    assert held_out_within(database, inside) == []
    assert held_out_within(database, whole) == ["own"]
    record_backtest(database, whole, "backtest long_short 1")
    assert read_ledger(database, own, BARS, 100).n_openings == 1
