import random
from typing import cast

import numpy as np
import pytest

from alphapulse.backtesting.metrics import METRICS
from alphapulse.search.choosing import LAG, Schedule, make_sampler
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.study.trials import BlockMoments, Trials
from alphapulse.sweep import duplicates, generations
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.generations import Generations
from alphapulse.sweep.study_state import StudyState, read_state
from alphapulse.sweep.worker import BatchResult
from alphapulse.sweep.workers.batches import Batches, TrialLimits

SIZE = 40
FIXED, GROWING = Schedule(SIZE, SIZE), Schedule(3, 11)
SPACE = SearchSpace((FloatDimension("strategy.a", 0.0, 1.0), FloatDimension("strategy.b", 0.0, 1.0)))
LARGE = SearchSpace((IntDimension("strategy.a", 0, 39), IntDimension("strategy.b", 0, 39)))
GRID = SearchSpace((IntDimension("strategy.a", 0, 4), IntDimension("strategy.b", 0, 4)))


class Learner:
    """Proposes from the order and content of all that it may know: results with a lag, parameters without."""

    needs_history = True

    def __init__(self, space, seed=0, last=10**9, schedule=FIXED, lag=LAG):
        self.schedule, self.lag = schedule, lag
        self.space, self.seed, self.last = space, seed, last
        self.told, self.proposed = {}, {}
        self.memory, self.n_absorbed = 0.0, 0

    def tell(self, generation, parameters, values, violations=None):
        assert generation == self.n_absorbed + len(self.told)
        assert len(parameters) == len(values)
        self.told[generation] = parameters, values

    def propose(self, generation):
        while self.n_absorbed <= generation - self.lag:
            _, values = self.told.pop(self.n_absorbed)
            weights = np.arange(1, len(values) + 1)[:, None]
            self.memory += float(np.nansum(values * weights)) % 1.0
            self.n_absorbed += 1
        if generation >= self.last:
            return np.empty((0, len(self.space)))
        before = self.proposed.get(generation - 1, self.told.get(generation - 1, (None,))[0])
        hint = 0 if before is None or self.lag == 1 else int(before.sum() * 1000)
        rng = np.random.default_rng([self.seed, generation, hint, int(self.memory * 2**40) % 2**31])
        if self.space.size is None:
            parameters = rng.random((self.schedule.size(generation), len(self.space)))
        else:
            parameters = rng.integers(0, 5, (self.schedule.size(generation), len(self.space))).astype(float)
        self.proposed = {generation: parameters}
        return parameters


class Counter:
    """Proposes from nothing but the number of the generation, with repeats where the space is finite."""

    schedule, lag, needs_history = FIXED, LAG, False

    def __init__(self, space):
        self.space = space

    def propose(self, generation):
        rng = np.random.default_rng([5, generation])
        if self.space.size is None:
            return rng.random((SIZE, len(self.space)))
        return rng.integers(0, 40, (SIZE, len(self.space))).astype(float)

    def tell(self, generation, parameters, values, violations=None):
        pass


class Straggler:
    """Workers whose first batch comes back last."""

    def __init__(self, n_cpus, until):
        self.workers, self.until = Threads(n_cpus, 0), until
        self.n_cpus, self.n_run = n_cpus, 0

    def submit(self, *batch):
        return self.workers.submit(*batch)

    def wait(self, references, timeout):
        if self.n_run >= self.until:
            return references
        others = [reference for reference in references if reference != 1]
        if not others:
            raise TimeoutError("nothing came but what is late")
        return others

    def result(self, reference):
        result = self.workers.result(reference)
        self.n_run += len(result.trials)
        return result


class Threads:
    """Workers that finish their batches in a shuffled order."""

    def __init__(self, n_cpus, seed):
        self.n_cpus, self.random, self.results, self.n_run = n_cpus, random.Random(seed), {}, 0
        self.n = 0

    def submit(self, parameters, keep, threshold, limits, name=""):
        self.n += 1
        self.n_run += len(parameters)
        value = parameters[:, :1] * 3 + np.sin(parameters[:, 1:] * 5)
        failed = parameters[:, 0] > 0.9 if parameters.max() < 1 else parameters[:, 0] == 3
        value[failed] = np.nan
        kept = np.flatnonzero((keep | (value[:, 0] >= threshold)) & ~failed)
        sums = parameters[kept] * 2
        seconds = self.random.choice([1e-4, 1e-2, 1.0])
        trials = Trials(
            parameters,
            value,
            np.repeat(parameters[:, :1], len(METRICS), axis=1),
            np.where(failed, 2, 0).astype(np.int8),
            np.full(len(parameters), seconds),
            {int(row): "large" for row in np.flatnonzero(failed)},
        )
        self.results[self.n] = BatchResult(
            trials,
            BlockMoments(kept, sums, sums**2),
            observed=float(np.nanmax(value, initial=-np.inf)),
            maxima=np.max(parameters, axis=0),
        )
        return self.n

    def wait(self, references, timeout):
        return self.random.sample(references, self.random.randint(1, len(references)))

    def result(self, reference):
        return self.results.pop(reference)


class Table:
    """The committed trials of a study."""

    def __init__(self):
        self.rows, self.blocks, self.state, self.errors = [], {}, None, {}

    def commit(self, done):
        assert done.first_trial == len(self.rows)
        trials = done.trials
        columns = (trials.parameters, trials.values, trials.metrics, trials.status)
        self.rows += [tuple(np.copy(part) for part in row) for row in zip(*columns, strict=True)]
        for number, sums in zip(done.blocks.trials.tolist(), done.blocks.sums, strict=True):
            self.blocks[number] = tuple(sums)
        self.errors.update({done.first_trial + row: text for row, text in trials.errors.items()})
        self.state = done.state

    def history(self, start, stop):
        rows = self.rows[start:stop]
        errors = {number - start: text for number, text in self.errors.items() if start <= number < stop}
        columns = (np.array([row[place] for row in rows]) for place in range(4))
        return Trials(*columns, np.zeros(len(rows)), errors)

    def column(self, place):
        return np.array([row[place] for row in self.rows])


@pytest.fixture(autouse=True, params=[3.0, 0.0], ids=["whole", "as finished"])
def commits(request, monkeypatch):
    """Generations are committed whole, and as soon as their first rows are finished."""
    monkeypatch.setattr(generations, "COMMIT_SECONDS", request.param)


def run(
    table,
    n_trials,
    *,
    space=SPACE,
    n_cpus=2,
    seed=0,
    keep_blocks=10**6,
    stop_after=None,
    last=10**9,
    how=(FIXED, LAG),
    sampler=None,
    workers=None,
):
    state = read_state(table.state, 2)
    workers = workers or Threads(n_cpus, seed)
    n_asked = iter(range(10**9))
    watched = []
    experiment = Experiment(space, cast(StrategyDefinition, None))
    search = Generations(
        sampler or Learner(space, last=last, schedule=how[0], lag=how[1]),
        Batches(workers, experiment, TrialLimits()),
        experiment,
        state,
        table.commit,
        n_trials=n_trials,
        keep_blocks=keep_blocks,
        watch=lambda n_evaluated, best: watched.append(n_evaluated),
        stop=None if stop_after is None else lambda: next(n_asked) >= stop_after,
    )
    search.continue_from(len(table.rows), table.history)
    search.run()
    assert search.n_done == len(table.rows)
    assert all(seen <= n_trials for seen in watched)
    assert watched == sorted(watched)
    return workers


def assert_same(one, other):
    for place in range(4):
        np.testing.assert_array_equal(one.column(place), other.column(place))
    assert one.blocks == other.blocks
    assert one.errors == other.errors
    first, second = StudyState.from_bytes(one.state), StudyState.from_bytes(other.state)
    assert (first.observed, first.thresholds) == (second.observed, second.thresholds)
    np.testing.assert_array_equal(first.best, second.best)
    np.testing.assert_array_equal(first.maxima, second.maxima)


@pytest.mark.parametrize("space", [SPACE, GRID])
@pytest.mark.parametrize("keep_blocks", [10**6, 60])
@pytest.mark.parametrize("how", [(FIXED, LAG), (GROWING, LAG), (GROWING, 1)])
def test_table_does_not_depend_on_workers_steps_or_interruptions(space, keep_blocks, how):
    straight = Table()
    run(straight, 330, space=space, keep_blocks=keep_blocks, how=how)
    assert len(straight.rows) == 330
    for seed in range(6):
        other = Table()
        choice = random.Random(seed)
        while len(other.rows) < 330:
            wanted = min(330, len(other.rows) + choice.randint(1, 150))
            run(
                other,
                wanted,
                space=space,
                n_cpus=choice.choice([1, 3, 8]),
                seed=seed,
                keep_blocks=keep_blocks,
                stop_after=choice.choice([None, 3, 9, 20]),
                how=how,
            )
        assert_same(straight, other)


@pytest.mark.parametrize("space", [SPACE, LARGE])
def test_search_that_needs_no_results_runs_ahead_of_a_straggler_to_the_same_table(space, monkeypatch):
    monkeypatch.setattr(duplicates, "CAPACITY", 64)
    straight, other = Table(), Table()
    n_trials = 20 * SIZE
    run(straight, n_trials, space=space, sampler=Counter(space), keep_blocks=60, n_cpus=1)
    workers = Straggler(3, n_trials - 7 * SIZE if space is SPACE else 1)
    run(other, n_trials, space=space, sampler=Counter(space), keep_blocks=60, workers=workers)
    assert_same(straight, other)
    third, choice = Table(), random.Random(1)
    while len(third.rows) < n_trials:
        wanted = min(n_trials, len(third.rows) + choice.randint(1, 300))
        run(third, wanted, space=space, sampler=Counter(space), keep_blocks=60, n_cpus=5, seed=wanted, stop_after=9)
    assert_same(straight, third)


def test_what_is_held_behind_a_straggler_is_bounded(monkeypatch):
    monkeypatch.setattr(generations, "AHEAD_BYTES", 10**5)
    with pytest.raises(TimeoutError, match="nothing came"):
        run(Table(), 10**6, sampler=Counter(SPACE), workers=Straggler(3, 10**9))


@pytest.mark.parametrize("options", [{"optuna": "CmaEsSampler"}, {"optuna": "TPESampler", "generation_size": 1}])
def test_table_of_a_sampler_of_optunas_does_not_depend_on_interruptions(options):
    def go_on(table, n_trials, **how):
        run(table, n_trials, sampler=make_sampler("optuna", SPACE, seed=2, options=options), **how)

    straight = Table()
    go_on(straight, 70)
    for seed in range(2):
        other, choice = Table(), random.Random(seed)
        while len(other.rows) < 70:
            wanted = min(70, len(other.rows) + choice.randint(5, 40))
            go_on(other, wanted, n_cpus=choice.choice([1, 8]), seed=seed, stop_after=choice.choice([None, 9, 20]))
        assert_same(straight, other)


def test_finite_space_is_not_run_again():
    table = Table()
    workers = run(table, 2000, space=GRID)
    assert len(table.rows) == 2000
    # Two generations are in flight before the first answers are known.
    assert workers.n_run <= 2 * 25


def test_exhausted_space_ends_before_the_last_trial():
    table = Table()
    run(table, 500, last=3)
    assert len(table.rows) == 3 * SIZE
    run(table, 500, last=3)
    assert len(table.rows) == 3 * SIZE


def test_nothing_is_run_when_all_is_stored():
    table = Table()
    run(table, 100)
    assert run(table, 100).n_run == 0
