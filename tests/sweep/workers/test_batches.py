"""Batches whose workers and nodes are lost: which trials fail, how often each is tried, and that none is missing."""

from typing import cast

import numpy as np
import pytest

from alphapulse.backtesting.batch import FAILED
from alphapulse.search.dimensions import FloatDimension
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.study.trials import BlockMoments, Trials
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import BatchResult
from alphapulse.sweep.workers.batches import DEATHS, Batch, Batches, TrialLimits
from alphapulse.sweep.workers.limits import Limits
from alphapulse.sweep.workers.losses import ClusterError, NodeLostError, WorkerDiedError
from alphapulse.sweep.workers.marks import Mark
from alphapulse.sweep.workers.tasks import LOSSES


class Fragile:
    """Workers that die of some trials, and nodes that are lost at every n-th batch."""

    n_cpus = 2

    def __init__(self, deadly=(), lose_every=0):
        self.deadly, self.lose_every = set(deadly), lose_every
        self.waiting, self.tried, self.limits = {}, [], []

    def submit(self, parameters, keep, threshold, limits, name=""):
        self.tried.append(parameters[:, 0].tolist())
        self.limits.append(limits)
        self.waiting[len(self.tried)] = parameters
        return len(self.tried)

    def wait(self, references, timeout):
        return references

    def result(self, reference):
        parameters = self.waiting.pop(reference)
        if self.lose_every and reference % self.lose_every == 0:
            raise NodeLostError("its node was lost")
        if self.deadly & set(parameters[:, 0].tolist()):
            raise WorkerDiedError("its worker died")
        trials = Trials.blank(parameters, 1)
        trials.values[:] = parameters[:, :1]
        trials.seconds[:] = 2.0
        kept = np.arange(len(parameters))
        return BatchResult(trials, BlockMoments(kept, parameters, parameters), 0.0, np.zeros(3))


EXPERIMENT = Experiment(SearchSpace((FloatDimension("strategy.a", 0.0, 100.0),)), cast(StrategyDefinition, None))


def run(workers, n_trials, limits=TrialLimits()):  # noqa: B008
    batches = Batches(workers, EXPERIMENT, limits)
    parameters = np.arange(float(n_trials))[:, None]
    rows = np.arange(n_trials)
    batches.submit(Batch("mine", rows, parameters, np.ones(n_trials, dtype=bool), 0.0))
    outcome = {}
    while batches.n_under_way:
        for batch, result in batches.collect(0.0):
            assert batch.owner == "mine"
            for row, place in zip(batch.rows.tolist(), range(len(batch.rows)), strict=True):
                assert row not in outcome
                outcome[row] = result.trials[place : place + 1]
    return outcome


@pytest.mark.parametrize("deadly", [(5,), (0, 63), (7, 8, 9), ()])
def test_what_ends_its_worker_stands_alone_in_the_end(deadly):
    workers = Fragile(deadly)
    outcome = run(workers, 64)
    assert sorted(outcome) == list(range(64))
    assert {row for row, trial in outcome.items() if trial.status[0] == FAILED} == set(deadly)
    for row in deadly:
        assert outcome[row].errors[0].startswith("its worker died (")
        assert workers.tried.count([float(row)]) == 1
    assert len(workers.tried) <= 1 + 14 * len(deadly)


def test_a_lone_trial_is_tried_a_few_times():
    workers = Fragile((0,))
    outcome = run(workers, 1)
    assert outcome[0].errors == {0: "its worker died (3 times)"}
    assert workers.tried == [[0.0]] * DEATHS


def test_a_clock_that_jumps_makes_no_trial_late():
    class Jumping(Fragile):
        def result(self, reference):
            try:
                return super().result(reference)
            except WorkerDiedError as error:
                error.mark = Mark(3600.0, "")
                raise

    assert run(Jumping((0,)), 1)[0].errors == {0: "its worker died (3 times)"}


@pytest.mark.parametrize("dies", [False, True])
def test_a_batch_that_is_stuck_runs_a_second_time(monkeypatch, dies):
    clock = [0.0]
    monkeypatch.setattr("alphapulse.sweep.workers.batches.time.monotonic", lambda: clock[0])

    class Stuck(Fragile):
        def wait(self, references, timeout):
            clock[0] += 10.0
            # The first never comes back, or is found dead after its twin was started.
            return [one for one in references if one != 1 or (dies and len(self.tried) > 1)]

        def result(self, reference):
            if reference == 1:
                raise WorkerDiedError("its worker died")
            return super().result(reference)

    workers = Stuck()
    outcome = run(workers, 1)
    assert not outcome[0].errors
    assert workers.tried == [[0.0], [0.0]]
    assert 70.0 <= clock[0] <= 100.0


def test_a_lost_node_costs_a_trial_nothing():
    workers = Fragile(lose_every=2)
    outcome = run(workers, 10)
    assert not any(trial.errors for trial in outcome.values())
    assert all(len(tried) == 10 for tried in workers.tried)
    with pytest.raises(ClusterError, match="its node was lost"):
        run(Fragile(lose_every=1), 10)
    assert LOSSES > 10


def test_limit_follows_the_median_of_trials():
    workers = Fragile()
    batches = Batches(workers, EXPERIMENT, TrialLimits())
    for _ in range(2):
        batches.submit(Batch("", np.arange(1), np.zeros((1, 1)), np.ones(1, dtype=bool), 0.0))
        batches.collect(0.0)
    assert [limits.seconds for limits in workers.limits] == [60.0, 200.0]
    run(workers, 3, TrialLimits(5.0, 1.5))
    assert workers.limits[-1] == Limits(5.0, 1.5)
