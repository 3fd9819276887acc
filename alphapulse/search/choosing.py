"""Choice of the sampler: by name, or by space, budget and objectives."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any, cast

import numpy as np

from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.proposals import Proposals
from alphapulse.search.samplers import SAMPLERS
from alphapulse.search.samplers._base import LAG, Sampler
from alphapulse.search.samplers._schedule import Schedule
from alphapulse.search.settings import Settings, check_rules, count_settings
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array2D

__all__ = ["LAG", "SAMPLERS", "Sampler", "Schedule", "choose_sampler", "find_sampler", "make_sampler", "rehearse"]


def make_sampler(
    name: str,
    space: SearchSpace,
    *,
    seed: int,
    n_objectives: int = 1,
    directions: Sequence[str] = ("maximize",),
    n_trials: int = 2000,
    options: Mapping[str, Any] | None = None,
    enqueued: Float64Array2D | None = None,
) -> Sampler:
    """Return the sampler of a study.

    Parameters
    ----------
    name : str
        A name of `SAMPLERS`, or "auto" (see `choose_sampler`).
    space : SearchSpace
        What is searched.
    seed : int
        All randomness is drawn from it.
    n_objectives : int
        Number of objectives.
    directions : sequence of {"minimize", "maximize"}
        Each objective has one.
    n_trials : int
        Budget; only "auto" looks at it, so that raising it continues a study unchanged.
    options : mapping, optional
        Options of the sampler: generation_size, n_startup_trials, population_size and such; None is the sampler's own.
    enqueued : (k, p) float64, optional
        Parameters, each different, that are proposed before all others; NaN for what is inactive.

    Returns
    -------
    Sampler
        Its `reason` says why "auto" chose it.

    Raises
    ------
    ConfigError
        If the name or an option is unknown, or the sampler cannot search this space or these objectives.
    """
    if len(directions) != n_objectives:
        raise ConfigError(f"One direction an objective, but got {len(directions)} for {n_objectives} objectives.")
    reason = ""
    if name == "auto":
        name, reason = choose_sampler(space, n_objectives=n_objectives, n_trials=n_trials)
    if name not in SAMPLERS:
        raise ConfigError(f"Unknown search {name!r}{did_you_mean(name, [*SAMPLERS, 'auto'])}.")
    if len(space) == 0 and name != "grid":
        raise ConfigError(
            f"search={name} needs a swept key; give one, for example 'strategy.ma_window=int(interval(10,250))'."
        )
    sampler_class = find_sampler(name)
    known = [
        k for k in signature(sampler_class.__init__).parameters if k not in ("self", "space", "seed", "directions")
    ]
    given = {k: v for k, v in (options or {}).items() if v is not None}
    for key in given:
        if key not in known:
            raise ConfigError(
                f"search={name} has no option {key!r}{did_you_mean(key, known)}; it takes {', '.join(known)}."
            )
    sampler: Sampler = sampler_class(space, seed=seed, directions=tuple(directions), **given)
    left = check_rules(sampler)
    sampler.reason = " ".join(sentence for sentence in (reason, left) if sentence)
    points = np.empty((0, len(space))) if enqueued is None else enqueued
    if len(points) and sampler.enqueue(points):
        points = points[:0]
    has_rules = bool(space.rules.constraints or space.rules.when)
    is_filtered = (has_rules and not sampler.keeps_rules) or Settings(sampler).are_counted
    return cast("Sampler", Proposals(sampler, points)) if is_filtered or len(points) else sampler


def find_sampler(name: str) -> type[Sampler]:
    """Return the class of a name of `SAMPLERS`: the one in the file of that name that has the name itself."""
    module = import_module(f"alphapulse.search.samplers.{name}")
    classes = (one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Sampler))
    return next(one for one in classes if vars(one).get("name") == name)


def choose_sampler(space: SearchSpace, *, n_objectives: int, n_trials: int) -> tuple[str, str]:
    """Return the name that "auto" stands for and a sentence that says why."""
    size, n = count_settings(space), len(space)
    if size is None:
        size = space.size
    if size is not None and size <= n_trials:
        return "grid", f"search=auto chose grid: all {size} points fit into {n_trials} trials."
    if n_objectives > 3:
        return "nsga3", f"search=auto chose nsga3: {n_objectives} objectives need reference points to spread over."
    if n_objectives > 1:
        return "nsga2", f"search=auto chose nsga2: {n_objectives} objectives have a front, not a best trial."
    if n_trials > 100_000:
        if n <= 64:
            return "qmc", f"search=auto chose qmc: {n_trials} trials cover {n} keys without a model."
        return "random", f"search=auto chose random: {n_trials} trials over {n} keys need no model."
    if n_trials <= 200 and n <= 12 and all(d.is_ordered for d in space.dimensions):
        return "gp", f"search=auto chose gp: with {n_trials} trials of {n} numeric keys each is worth a costly model."
    if n_trials >= 250 * n and 2 <= n <= 40 and all(d.is_continuous for d in space.dimensions):
        return "cmaes", f"search=auto chose cmaes: {n} continuous keys and {n_trials} trials let it adapt their scales."
    return "tpe", f"search=auto chose tpe: {n_trials} trials of {n} keys of any kind, in a model of flat cost."


def rehearse(sampler: Sampler, *, n_trials: int | None = None, seconds: float = np.inf) -> int:
    """Let a sampler propose and learn from made-up values, so that what it runs is compiled before it counts.

    The sampler is of no use afterwards.

    Parameters
    ----------
    sampler : Sampler
    n_trials : int, optional
        Trials to propose; None is `LAG` + 3 generations, so that a model of ten trials has proposed once.
    seconds : float
        Time after which it ends earlier [s].

    Returns
    -------
    int
        Trials that were proposed.
    """
    wanted = sampler.schedule.first_trial(LAG + 3) if n_trials is None else n_trials
    rng, started = np.random.default_rng(0), time.perf_counter()
    flight: deque[tuple[int, Float64Array2D]] = deque()
    generation = n_proposed = 0
    while n_proposed < wanted and time.perf_counter() - started < seconds:
        proposed = sampler.propose(generation)
        if not len(proposed):
            break
        flight.append((generation, proposed))
        generation, n_proposed = generation + 1, n_proposed + len(proposed)
        if len(flight) == sampler.lag:
            number, learnt = flight.popleft()
            sampler.tell(number, learnt, rng.random((len(learnt), sampler.n_objectives)))
    return n_proposed
