"""How a search of which a part is stored scales: its scheduler, simulated with what its parts take on this machine.

`python -m benchmarks.scheduling` measures what a task costs the driver and Ray, what a trial costs the driver, and lets
the driver's own rules (how long batches are, how many are queued) run against made-up workers.
"""

import heapq
import pickle
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import psutil

from alphapulse.config.schema import SweepConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.part.sums import Sums
from alphapulse.sweep.generations import QUEUED_PER_CPU
from alphapulse.sweep.inputs import StudyInputs, load_inputs
from alphapulse.sweep.null.search import SearchPlan
from alphapulse.sweep.scale.drawing import Drawing
from alphapulse.sweep.scale.keeping import Keeper
from alphapulse.sweep.scale.stream import StreamPace
from alphapulse.sweep.scale.stretch import Rules, Stretch, StretchBatch, StretchResult, evaluate_stretch
from alphapulse.sweep.study_state import StudyState
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.sweep.workers.batches import Batches, TrialLimits
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.limits import Limits

SPACE = SearchSpace(
    (
        IntDimension("strategy.ma_window", 10, 250),
        IntDimension("strategy.rsi_window", 5, 30),
        FloatDimension("strategy.rsi_overbought", 60.0, 85.0),
        FloatDimension("strategy.rsi_oversold", 15.0, 40.0),
        FloatDimension("strategy.reversion_weight", 0.0, 1.0),
        FloatDimension("engine.stop.multiplier", 1.0, 5.0),
    )
)

MANY = 1_500
"""Tasks under way where 500 processors are kept busy."""


@dataclass(frozen=True)
class Parts:
    """What the parts of a search take.

    Attributes
    ----------
    trial : float
        A backtest of the default strategy alone [s].
    first : float
        What a worker process takes before its first trial [s].
    task, queued : float
        A task in the driver's loop: submitted, waited for, its result fetched, and what it takes more for each task
        that is under way meanwhile [s].
    ray : float
        A task in the other processes of Ray [s of the processor].
    taken : float
        A trial in the driver, beside its task: read, counted, put together for a commit [s].
    """

    trial: float
    first: float
    task: float
    queued: float
    ray: float
    taken: float


def load() -> StudyInputs:
    """Return the default strategy on the sample's bars."""
    config = SweepConfig(
        study="scheduling",
        space=SPACE,
        strategy={"_target_": "long_short", "volatility_source": "realized"},
    )
    return load_inputs(config, open_database())


def measure(n_tasks: int = 2_000, n_trials: int = 40_960) -> Parts:
    """Measure what the parts take on this machine."""
    inputs = load()
    experiment, market = inputs.experiment, inputs.market
    plan = SearchPlan("random", 10**8, 0)
    search, drawing = pickle.dumps(plan), Drawing(plan.start(experiment, 0))
    size = 4096
    pieces = [drawing.between(first, first + size) for first in range(0, n_trials, size)]
    keep = np.zeros(size, dtype=np.bool_)
    evaluate_batch(market, experiment, pieces[0], keep=keep)
    before = time.process_time()
    for piece in pieces:
        evaluate_batch(market, experiment, piece, keep=keep)
    trial = (time.process_time() - before) / n_trials
    taken = _measure_driver(inputs, search, n_trials)
    cluster = Cluster(num_cpus=2, dashboard=False)
    try:
        cluster.wait_until_started()
        cluster.ship(market, experiment)
        batches: Batches[StretchBatch] = Batches(cluster, experiment, TrialLimits())
        first = max(result.seconds for result in _run(batches, search, drawing, 8, 8))
        costs = {}
        for n_queued in (6, MANY):
            begin, ray = time.thread_time(), _ray_seconds()
            _run(batches, search, drawing, n_tasks, n_queued)
            costs[n_queued] = (time.thread_time() - begin) / n_tasks, (_ray_seconds() - ray) / n_tasks
    finally:
        cluster.close()
    queued = max(costs[MANY][0] - costs[6][0], 0.0) / MANY
    return Parts(trial, first, costs[6][0], queued, costs[MANY][1], taken)


def _run(
    batches: Batches[StretchBatch], search: bytes, drawing: Drawing, n_tasks: int, n_queued: int
) -> list[StretchResult]:
    """Run tasks of one trial each, so many at a time under way."""
    rules = Rules(10**8, 100_000, 10_000, 1, 1e9, 1e9)
    results: list[StretchResult] = []
    n_submitted = 0
    while len(results) < n_tasks:
        while n_submitted < n_tasks and batches.n_under_way < n_queued:
            number = 10_000 + n_submitted
            batches.submit(StretchBatch(Stretch(search, number, number + 1, rules), drawing))
            n_submitted += 1
        results += [result for _, result in batches.collect(0.5)]
    return results


def _measure_driver(inputs: StudyInputs, search: bytes, n_trials: int) -> float:
    """Return what a trial of a long stretch takes in the driver, when the best are known [s]."""
    keeper = Keeper(
        inputs.experiment,
        StudyState.start(1000),
        Sums(10**8),
        periods_per_year=252.0,
        generation_size=4096,
        n_given=1,
        keep_blocks=100_000,
    )
    size = 20_480
    result = evaluate_stretch(inputs.market, inputs.experiment, Stretch(search, 0, size, keeper.rules), Limits(60.0))
    keeper.take(result)
    keeper.piece()
    spent = 0.0
    for first in range(size, size + n_trials, size):
        stretch = Stretch(search, first, first + size, keeper.rules)
        sent = pickle.dumps(evaluate_stretch(inputs.market, inputs.experiment, stretch, Limits(60.0)), protocol=5)
        before = time.process_time()
        keeper.take(pickle.loads(sent))
        keeper.piece()
        spent += time.process_time() - before
    return spent / n_trials


def _ray_seconds() -> float:
    """Return what the other processes of Ray have taken so far [s]."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        if child.name() in ("raylet", "gcs_server"):
            times = child.cpu_times()
            total += times.user + times.system
    return total


@dataclass(frozen=True)
class Simulated:
    """A simulated search.

    Attributes
    ----------
    seconds : float
        From the first task to the last commit [s].
    efficiency : float
        Share of the workers' time that trials take [1].
    driver : float
        Share of the time in which the driver is busy [1].
    n_tasks : int
    """

    seconds: float
    efficiency: float
    driver: float
    n_tasks: int


def simulate(parts: Parts, n_cpus: int, n_trials: int, trial: float | None = None, spread: float = 0.1) -> Simulated:
    """Let the driver's rules run against workers that take `trial` [s] a trial, `spread` of it from task to task."""
    each = parts.trial if trial is None else trial
    rng, pace = np.random.default_rng(0), StreamPace()
    free = [(0.0, worker) for worker in range(n_cpus)]
    heapq.heapify(free)
    is_new = [True] * n_cpus
    running: list[tuple[float, int, float, int, bool]] = []
    queue: deque[tuple[float, int]] = deque()
    now = busy = work = 0.0
    left, n_tasks, n_under_way = n_trials, 0, 0
    while left or n_under_way:
        while left and n_under_way < (QUEUED_PER_CPU + 1) * n_cpus:
            size = min(pace.size(left, n_cpus), left)
            left, n_under_way, n_tasks = left - size, n_under_way + 1, n_tasks + 1
            cost = (parts.task + parts.queued * n_under_way) / 2
            now, busy = now + cost, busy + cost
            queue.append((now, size))
            _start(queue, free, running, is_new, parts, each, spread, rng)
        end, worker, seconds, size, is_first = heapq.heappop(running)
        heapq.heappush(free, (end, worker))
        _start(queue, free, running, is_new, parts, each, spread, rng)
        cost = (parts.task + parts.queued * n_under_way) / 2 + parts.taken * size
        now, busy = max(now, end) + cost, busy + cost
        pace.measure(size, seconds, is_first=is_first)
        n_under_way, work = n_under_way - 1, work + size * each
    return Simulated(now, work / (now * n_cpus), busy / now, n_tasks)


def _start(
    queue: deque[tuple[float, int]],
    free: list[tuple[float, int]],
    running: list[tuple[float, int, float, int, bool]],
    is_new: list[bool],
    parts: Parts,
    each: float,
    spread: float,
    rng: np.random.Generator,
) -> None:
    """Let free workers begin what is queued."""
    while queue and free:
        begun, size = queue.popleft()
        idle, worker = heapq.heappop(free)
        first, is_new[worker] = is_new[worker], False
        seconds = size * each * float(rng.uniform(1 - spread, 1 + spread)) + (parts.first if first else 0.0)
        end = max(begun, idle) + parts.ray + seconds
        heapq.heappush(running, (end, worker, seconds, size, first))


class Case(NamedTuple):
    """A search to be simulated; `trial` is what one takes [s], None that of the default strategy."""

    n_cpus: int
    n_trials: int
    trial: float | None = None


CASES = (
    *(Case(n, 10**6 * n) for n in (2, 8, 16, 32, 64, 128)),
    *(Case(n, 2_000 * n, 0.05) for n in (64, 500, 1_000)),
    Case(64, 64 * 10**7),
    *(Case(n, 20_000 * n, 0.05) for n in (500, 1_000)),
)


def describe(parts: Parts) -> str:
    """Return what the parts take, in a sentence."""
    return (
        f"A trial takes {1e6 * parts.trial:.1f} us, a worker {parts.first:.2f} s before its first; a task "
        f"{1e3 * parts.task:.2f} ms of the driver, {1e3 * (parts.task + MANY * parts.queued):.2f} ms with {MANY:,} "
        f"under way, and {1e3 * parts.ray:.2f} ms of Ray; a trial {1e6 * parts.taken:.2f} us of the driver."
    )


def main() -> None:
    parts = measure()
    print(describe(parts))
    for case in CASES:
        found = simulate(parts, *case)
        print(
            f"{case.n_cpus:5} cores, {case.n_trials:12,} trials of {1e3 * (case.trial or parts.trial):7.3f} ms: "
            f"{found.seconds:7.1f} s, efficiency {found.efficiency:.1%}, driver busy {found.driver:.0%}, "
            f"{found.n_tasks:,} tasks"
        )


if __name__ == "__main__":
    main()
