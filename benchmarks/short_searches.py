"""Best value after few trials, where each trial's result counts: our TPE beside Optuna's, on ten functions.

    python -m benchmarks.short_searches --n-trials 500 --n-seeds 5

prints the medians over seeds (lower is better), and how often a run of ours is ahead of one of Optuna's.
"""

import argparse
from statistics import median

import numpy as np

from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from benchmarks.search_quality import PROBLEMS, Problem, _branin, _floats, run_optuna, run_ours

ROTATION = np.linalg.qr(np.random.default_rng(7).normal(size=(6, 6)))[0]


def _griewank(x: np.ndarray) -> np.ndarray:
    z = x - np.linspace(-40, 60, x.shape[1])
    waves = np.cos(z / np.sqrt(np.arange(1, x.shape[1] + 1))).prod(1)
    return (1 + (z**2).sum(1) / 4000 - waves)[:, None]


def _michalewicz(x: np.ndarray) -> np.ndarray:
    place = np.arange(1, x.shape[1] + 1)
    return (-(np.sin(x) * np.sin(place * x**2 / np.pi) ** 20).sum(1))[:, None]


def _styblinski_tang(x: np.ndarray) -> np.ndarray:
    return (0.5 * (x**4 - 16 * x**2 + 5 * x).sum(1) + 39.16616570377142 * x.shape[1])[:, None]


def _rotated_ellipsoid(x: np.ndarray) -> np.ndarray:
    z = (x - np.linspace(-2, 2, 6)) @ ROTATION
    return ((10.0 ** (np.arange(6) * 3 / 5)) * z**2).sum(1)[:, None]


def _rotated_rastrigin(x: np.ndarray) -> np.ndarray:
    z = (x - np.linspace(-1, 1.5, 6)) @ ROTATION
    return (60 + (z**2 - 10 * np.cos(2 * np.pi * z)).sum(1))[:, None]


_CONDITIONAL_SPACE = SearchSpace(
    (
        CategoricalDimension("kind", ("a", "b", "c")),
        FloatDimension("p", 0, 1),
        FloatDimension("q", 0, 1),
        FloatDimension("r", 1e-4, 1, log=True),
        IntDimension("n", 1, 50),
    )
)


def _conditional(x: np.ndarray) -> np.ndarray:
    """A choice says which of the other keys matter, and where their optimum is."""
    p, q, r, n = x[:, 1:].T
    by_kind = [
        (p - 0.2) ** 2 * 4 + 0.30 + np.abs(n - 12) / 60,
        (q - 0.8) ** 2 * 6 + (np.log10(r) + 2.5) ** 2 * 0.3 + 0.02 * np.abs(n - 31),
        (p - q) ** 2 * 3 + (p - 0.6) ** 2 * 3 + 0.15 + np.abs(n - 25) / 80,
    ]
    return np.choose(x[:, 0].astype(int), by_kind)[:, None]


_BRANIN_SPACE = SearchSpace(
    (
        FloatDimension("a", -5, 10),
        FloatDimension("b", 0, 15),
        CategoricalDimension("c", ("x", "y", "z")),
        CategoricalDimension("d", (True, False)),
    )
)


def _branin_with_choices(x: np.ndarray) -> np.ndarray:
    return _branin(x[:, :2]) + np.array([0.0, 1.0, 3.0])[x[:, 2].astype(int)][:, None] + 0.7 * x[:, 3:4]


KNOWN = {problem.name: problem for problem in PROBLEMS}
SHORT = (
    Problem("Griewank 6d", _floats(6, -100, 100), _griewank),
    KNOWN["Levy 6d"],
    Problem("Michalewicz 5d", _floats(5, 0, np.pi), _michalewicz),
    Problem("Styblinski-Tang 5d", _floats(5, -5, 5), _styblinski_tang),
    Problem("rotated ellipsoid 6d", _floats(6, -5, 5), _rotated_ellipsoid),
    Problem("rotated Rastrigin 6d", _floats(6, -5.12, 5.12), _rotated_rastrigin),
    Problem("conditional 5d", _CONDITIONAL_SPACE, _conditional),
    Problem("Branin with choices", _BRANIN_SPACE, _branin_with_choices),
    KNOWN["Ackley 8d"],
    KNOWN["mixed 6d"],
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-trials", type=int, default=500)
    parser.add_argument("--n-seeds", type=int, default=5)
    options = parser.parse_args()
    print("| problem | alphapulse | Optuna | ours ahead in |\n|---|---|---|---|")
    for problem in SHORT:
        ours, theirs = (
            [float(run(problem, "tpe", n_trials=options.n_trials, seed=s).min()) for s in range(options.n_seeds)]
            for run in (run_ours, run_optuna)
        )
        ahead = float(np.mean(np.array(ours)[:, None] < np.array(theirs)))
        print(f"| {problem.name} | {median(ours):.4g} | {median(theirs):.4g} | {ahead:.0%} |", flush=True)


if __name__ == "__main__":
    main()
