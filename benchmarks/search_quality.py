"""Best value found by our samplers and by Optuna's, on the same functions, budgets and seeds.

    python -m benchmarks.search_quality --n-trials 2000 --n-seeds 10

prints a table of medians over seeds (lower is better; for two objectives the hypervolume, higher is better) with the
seconds a run took. Optuna runs in memory, one trial at a time, as it comes.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from statistics import median

import numpy as np

from alphapulse.search.choosing import LAG, make_sampler
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace


@dataclass(frozen=True)
class Problem:
    """A space, its objectives to minimise (n, p) -> (n, n_objectives), and a reference point if there are several."""

    name: str
    space: SearchSpace
    losses: Callable[[np.ndarray], np.ndarray]
    reference: tuple[float, float] | None = None


def _floats(n: int, low: float, high: float) -> SearchSpace:
    return SearchSpace(tuple(FloatDimension(f"x{i}", low, high) for i in range(n)))


def _branin(x: np.ndarray) -> np.ndarray:
    a, b = x[:, 0], x[:, 1]
    bowl = (b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6) ** 2
    return (bowl + 10 * (1 - 1 / (8 * math.pi)) * np.cos(a) + 10 - 0.39788735772973816)[:, None]


_HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def _hartmann6(x: np.ndarray) -> np.ndarray:
    inner = (_HARTMANN_A * (x[:, None, :] - _HARTMANN_P) ** 2).sum(2)
    return (3.322368011415515 - (np.array([1.0, 1.2, 3.0, 3.2]) * np.exp(-inner)).sum(1))[:, None]


def _rastrigin(x: np.ndarray) -> np.ndarray:
    return (10 * x.shape[1] + (x**2 - 10 * np.cos(2 * math.pi * x)).sum(1))[:, None]


def _mixed(x: np.ndarray) -> np.ndarray:
    """Windows, thresholds, a log cost and a choice that shifts the optimum: shaped like a strategy's space."""
    shift = np.array([0.0, 1.0, 2.5])[x[:, 5].astype(int)]
    loss = ((x[:, 0] - 87) / 60) ** 2 + ((x[:, 1] - 17) / 15) ** 2 + (np.log10(x[:, 2]) + 3.3) ** 2
    loss += (x[:, 3] - 2.5) ** 2 * 0.3 + np.abs(x[:, 4] - 0.37 - 0.1 * x[:, 3]) + shift * 0.4
    return (loss + 0.3 * (1 - np.cos(x[:, 0] / 9.0) * np.cos(x[:, 1] / 3.0)))[:, None]


_MIXED_SPACE = SearchSpace(
    (
        IntDimension("ma_window", 10, 250),
        IntDimension("rsi_window", 2, 50),
        FloatDimension("slippage", 1e-5, 1e-2, log=True),
        FloatDimension("multiplier", 1.0, 5.0, 0.5),
        FloatDimension("threshold", 0.0, 1.0),
        CategoricalDimension("kind", ("a", "b", "c")),
    )
)


def _ackley(x: np.ndarray) -> np.ndarray:
    """Its summit is moved off the middle of the box, where searches that start there would find it at once."""
    z = x - np.linspace(-12.0, 12.0, x.shape[1])
    root, wave = np.sqrt((z**2).mean(1)), np.cos(2 * math.pi * z).mean(1)
    return (20 + math.e - 20 * np.exp(-0.2 * root) - np.exp(wave))[:, None]


def _rosenbrock(x: np.ndarray) -> np.ndarray:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)[:, None]


def _levy(x: np.ndarray) -> np.ndarray:
    w = 1 + (x - 1) / 4
    inner = ((w[:, :-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:, :-1] + 1) ** 2)).sum(1)
    last = (w[:, -1] - 1) ** 2 * (1 + np.sin(2 * math.pi * w[:, -1]) ** 2)
    return (np.sin(math.pi * w[:, 0]) ** 2 + inner + last)[:, None]


_TRADING_SPACE = SearchSpace(
    (
        IntDimension("window", 5, 500, log=True),
        IntDimension("lag", 1, 30),
        FloatDimension("cost", 1e-4, 1.0, log=True),
        FloatDimension("multiplier", 0.0, 4.0, 0.25),
        FloatDimension("threshold", 0.0, 1.0),
        FloatDimension("skew", -1.0, 1.0),
        CategoricalDimension("kind", ("a", "b", "c", "d")),
        CategoricalDimension("flag", (False, True)),
    )
)


def _trading(x: np.ndarray) -> np.ndarray:
    """Two choices, of which one moves the optimum of another key, and two keys that only matter together."""
    window, lag, cost, multiplier, threshold, skew = x[:, :6].T
    kind, flag = x[:, 6].astype(int), x[:, 7]
    steepness, offset = np.array([0.5, 1.0, 0.7, 1.5])[kind], np.array([0.6, 0.0, 0.3, 0.9])[kind]
    loss = 0.5 * np.log(window / 60) ** 2 + ((lag - 7 - 3 * flag) / 8) ** 2 + steepness * (np.log10(cost) + 2) ** 2
    loss += 0.4 * np.abs(multiplier - 1.75) + 4 * (threshold - 0.62) ** 2 + (skew + 0.3 - 0.5 * threshold) ** 2
    return (loss + offset + 0.2 * (1 - flag) + 0.2 * (1 - np.cos(lag * math.pi / 3)))[:, None]


def _zdt1(x: np.ndarray) -> np.ndarray:
    g = 1 + 9 * x[:, 1:].mean(1)
    return np.stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))], axis=1)


PROBLEMS = (
    Problem("Branin 2d", SearchSpace((FloatDimension("a", -5, 10), FloatDimension("b", 0, 15))), _branin),
    Problem("Hartmann 6d", _floats(6, 0, 1), _hartmann6),
    Problem("Rastrigin 10d", _floats(10, -5.12, 5.12), _rastrigin),
    Problem("mixed 6d", _MIXED_SPACE, _mixed),
    Problem("Ackley 8d", _floats(8, -32.768, 32.768), _ackley),
    Problem("Rosenbrock 5d", _floats(5, -5, 10), _rosenbrock),
    Problem("Levy 6d", _floats(6, -10, 10), _levy),
    Problem("trading 8d", _TRADING_SPACE, _trading),
    Problem("ZDT1 10d", _floats(10, 0, 1), _zdt1, (11.0, 11.0)),
)
DEFAULT_SWEEP = "default sweep"


@cache
def default_sweep() -> Problem:
    """Return the default sweep, its Sharpe ratio negated; NaN where a trial failed."""
    import yaml

    from alphapulse.config.assembly import assemble
    from alphapulse.config.found import resource_dir
    from alphapulse.config.schema import DEFAULT_STRATEGY, SweepConfig
    from alphapulse.data_pipeline.opening import open_database
    from alphapulse.sweep.inputs import load_inputs
    from alphapulse.sweep.worker import evaluate_batch

    experiment = yaml.safe_load((resource_dir("sweeps") / "long_short_daily.yaml").read_text())
    strategy = {"_target_": DEFAULT_STRATEGY, "volatility_source": "realized"}
    config = assemble(SweepConfig, {"study": "quality", "strategy": strategy, "space": experiment["space"]})
    inputs = load_inputs(config, open_database(config.db))
    plain = replace(inputs.experiment, bootstrap=None)
    return Problem(
        DEFAULT_SWEEP, config.space, lambda parameters: -evaluate_batch(inputs.market, plain, parameters).trials.values
    )


PAIRS = {
    "random": "RandomSampler",
    "tpe": "TPESampler",
    "cmaes": "CmaEsSampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "gp": "GPSampler",
}


def hypervolume(losses: np.ndarray, reference: tuple[float, float]) -> float:
    """Return the area that points (n, 2) dominate below the reference point."""
    total, ceiling = 0.0, reference[1]
    for a, b in losses[np.lexsort((losses[:, 1], losses[:, 0]))]:
        if a < reference[0] and b < ceiling:
            total += (reference[0] - a) * (ceiling - b)
            ceiling = b
    return total


def run_ours(problem: Problem, name: str, *, n_trials: int, seed: int) -> np.ndarray:
    """Return the losses (n_trials, n_objectives) of our sampler, two generations in flight."""
    n_objectives = 2 if problem.reference else 1
    sampler = make_sampler(
        name, problem.space, seed=seed, n_objectives=n_objectives, directions=["minimize"] * n_objectives
    )
    losses: list[np.ndarray] = []
    pending: list[tuple[int, np.ndarray, np.ndarray]] = []
    generation = 0
    while sum(map(len, losses)) < n_trials:
        if len(pending) == LAG:
            sampler.tell(*pending.pop(0))
        parameters = sampler.propose(generation)
        values = problem.losses(parameters)
        pending.append((generation, parameters, values))
        losses.append(values)
        generation += 1
    return np.concatenate(losses)[:n_trials]


def run_optuna(problem: Problem, name: str, *, n_trials: int, seed: int) -> np.ndarray:
    """Return the losses (n_trials, n_objectives) of Optuna's sampler with its own defaults."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    sampler = getattr(optuna.samplers, PAIRS[name])(seed=seed)
    study = optuna.create_study(directions=["minimize"] * (2 if problem.reference else 1), sampler=sampler)
    distributions = problem.space.distributions()
    for _ in range(n_trials):
        trial = study.ask(distributions)
        row = [distribution.to_internal_repr(trial.params[key]) for key, distribution in distributions.items()]
        study.tell(trial, problem.losses(np.array([row], dtype=np.float64))[0].tolist())
    return np.array([t.values or [np.nan] * (2 if problem.reference else 1) for t in study.trials], dtype=np.float64)


def score(problem: Problem, losses: np.ndarray) -> float:
    """Return the best loss, or the hypervolume where there are two objectives."""
    return hypervolume(losses, problem.reference) if problem.reference else float(np.nanmin(losses))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-trials", type=int, default=2000)
    parser.add_argument("--n-seeds", type=int, default=10)
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe", "cmaes", "nsga2"], choices=list(PAIRS))
    parser.add_argument("--problems", nargs="+", default=[*(p.name for p in PROBLEMS), DEFAULT_SWEEP])
    parser.add_argument("--engines", nargs="+", default=["ours", "optuna"], choices=["ours", "optuna"])
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of the table")
    options = parser.parse_args()
    if not options.json:
        print(f"median of {options.n_seeds} seeds after {options.n_trials} trials\n")
        print("| problem | sampler | engine | median | worst seed | seconds a run |\n|---|---|---|---|---|---|")
    makers: dict[str, Callable[[], Problem]] = {p.name: (lambda p=p: p) for p in PROBLEMS}  # type: ignore[misc]
    makers[DEFAULT_SWEEP] = default_sweep
    for problem in (make() for name, make in makers.items() if name in options.problems):
        for name in options.samplers:
            if name == "cmaes" and (problem.reference or not all(d.is_ordered for d in problem.space.dimensions)):
                continue
            if name.startswith("nsga") and not problem.reference:
                continue
            for engine in options.engines:
                run = run_ours if engine == "ours" else run_optuna
                scores, seconds = [], []
                for seed in range(options.n_seeds):
                    start = time.perf_counter()
                    scores.append(score(problem, run(problem, name, n_trials=options.n_trials, seed=seed)))
                    seconds.append(time.perf_counter() - start)
                worst = min(scores) if problem.reference else max(scores)
                row = {"problem": problem.name, "sampler": name, "engine": engine, "median": median(scores)}
                row |= {"worst": worst, "seconds": median(seconds)}
                if options.json:
                    print(json.dumps(row | {"scores": scores}))
                else:
                    print(
                        f"| {problem.name} | {name} | {engine} | {row['median']:.4g} | {worst:.4g} "
                        f"| {row['seconds']:.2f} |"
                    )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
