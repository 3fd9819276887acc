"""Null sweeps of a study in the database: the same p however they are run."""

import math
from dataclasses import replace

import pytest

from alphapulse.data_pipeline.database import Database
from alphapulse.reports.weighing import fix_null_sweeps
from alphapulse.study.null_values import NullValues
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import load_inputs
from alphapulse.sweep.null import pieces
from alphapulse.sweep.null.stage import run_null_sweeps
from alphapulse.sweep.opening import OpenStudy, open_study
from alphapulse.sweep.workers.losses import WorkerDiedError

pytestmark = pytest.mark.postgres

N_WANTED = 12


class Backwards:
    """Workers that give the latest task back first."""

    def __init__(self, in_process, n_cpus):
        self._workers = in_process(n_cpus)
        self.n_cpus, self.n_started = n_cpus, 0

    def start(self, shipment, work, *arguments, **how):
        self.n_started += 1
        return self._workers.start(shipment, work, *arguments, **how)

    def __getattr__(self, name):
        return getattr(self._workers, name)


class Deadly(Backwards):
    """Workers of which one dies of a piece of the fifth null sweep, and runs it whole when asked to."""

    def __init__(self, in_process, n_cpus):
        super().__init__(in_process, n_cpus)
        self.dead, self.whole = set(), []

    def start(self, shipment, work, task, s, *arguments, **how):
        if task.suspects is not None:
            self.whole.append(s)
            task = replace(task, suspects=None)
        reference = super().start(shipment, work, task, s, *arguments, **how)
        if s == 4 and arguments[:1] == (1,):
            self.dead.add(reference)
        return reference

    def say(self, line):
        assert line == "Null sweep 4 ended its worker; such ones run again, trial by trial."

    def result(self, reference):
        if reference in self.dead:
            raise WorkerDiedError("its worker died")
        return self._workers.result(reference)


@pytest.fixture
def opened(run, in_process, small_study, database: Database):
    """Return a study with its trials and its lock, to be weighed."""
    config = small_study(null_sweeps=19, n_trials=40)
    run(config, in_process())
    database.fetch("DELETE FROM null_sweep")
    store = Store(database)
    yield open_study(config, store, load_inputs(config, database))
    store.close()


def weighed(opened: OpenStudy, workers, observed, *, stop_after=math.inf):
    """Run null sweeps and return their outcome; `stop_after` calls of `watch` they are asked to end."""
    seen = []
    return run_null_sweeps(
        opened, workers, N_WANTED, observed, 2.0, watch=seen.append, stop=lambda: len(seen) > stop_after
    )


def test_p_does_not_depend_on_workers_or_on_interruptions(opened, in_process, database):
    best = opened.store.best(opened.study, 1)[0]["values"][0]
    one = weighed(opened, Backwards(in_process, 1), best)
    assert one.stopped == "complete"
    assert (one.n_done, one.n_wanted, len(one.values)) == (N_WANTED, N_WANTED, N_WANTED)
    assert one.p == (1 + one.n_as_good) / (1 + N_WANTED)
    assert one.p_ledger == min(2 * one.p, 1.0)
    database.fetch("DELETE FROM null_sweep")
    cut = weighed(opened, Backwards(in_process, 3), best, stop_after=2)
    assert cut.stopped == "budget"
    assert math.isnan(cut.p)
    done = NullValues(database, opened.study, 40).read()
    assert 0 < len(done) < N_WANTED
    workers = Backwards(in_process, 3)
    assert weighed(opened, workers, best) == one
    # What was done before the interruption is read, not run again.
    assert workers.n_started == N_WANTED - len(done)


def test_p_is_the_same_in_pieces(opened, in_process, database, monkeypatch):
    best = opened.store.best(opened.study, 1)[0]["values"][0]
    one = weighed(opened, Backwards(in_process, 1), best)
    database.fetch("DELETE FROM null_sweep")
    monkeypatch.setattr(pieces, "SHORTEST_SECONDS", 1e-9)
    workers = Backwards(in_process, 24)
    assert weighed(opened, workers, best) == one
    assert workers.n_started == 3 * N_WANTED
    # One whose piece ends its worker is run again, whole and carefully.
    database.fetch("DELETE FROM null_sweep")
    workers = Deadly(in_process, 24)
    assert weighed(opened, workers, best) == one
    assert workers.whole == [4]


def test_chance_is_recognised_early(opened, in_process):
    outcome = weighed(opened, Backwards(in_process, 1), -math.inf)
    assert (outcome.stopped, outcome.n_done, outcome.p) == ("exceedances", 10, 1.0)


def test_number_of_null_sweeps_is_fixed_before_the_first(opened, in_process, database):
    from types import SimpleNamespace

    from alphapulse.sweep.searching import study_state

    weighing = SimpleNamespace(cluster=in_process(1), clock=SimpleNamespace(seconds={"search": 1.0}))
    state = study_state(opened)
    first = fix_null_sweeps(opened, state, weighing, 1.0)
    assert first == opened.config.validation.null_sweeps == 19
    NullValues(database, opened.study, 40).write(0, 0.5, 1.0)
    again = opened.store.find_study("small")
    assert again.n_null == 19
    later = OpenStudy(opened.config, opened.store, again, opened.sampler, opened.inputs)
    # A larger factor of the ledger would ask for more; what was fixed stays.
    assert fix_null_sweeps(later, state, weighing, 10.0) == 19
