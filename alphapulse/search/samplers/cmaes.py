"""CMA-ES: a normal distribution that learns the scale and the slant of the search space."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from alphapulse.compiling import jit
from alphapulse.numerics import exp, log, normal_quantile
from alphapulse.search.samplers._base import LAG, HistorySampler, given, require_numeric, require_single_objective
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D

INITIAL_SIGMA = 1.0 / 6.0
N_ATTEMPTS = 8
"""Draws outside the box are drawn again up to this often, then moved to its edge."""

MEAN_RATE = 0.5
"""How far the mean goes to the points chosen; all the way would forget what it learnt while they were in flight."""


class CmaEsSampler(HistorySampler):
    """Active CMA-ES [1]_ in the unit cube, from its middle, as Optuna's CmaEsSampler starts it.

    A generation is one population. Since generation g learns from g-2, its points were drawn before the last update:
    they are measured from the distribution as it is now, as injected solutions are [2]_, and the mean goes
    `MEAN_RATE` of the way to the weighted mean of the best. A distribution that has converged starts again from
    a drawn point. A budget of less than some 150 trials a key is better spent on TPE. Stepped dimensions keep a
    spread of at least a fifth of a step (margin), so that the search does not freeze on a value.

    Parameters
    ----------
    population_size : int, optional
        Trials of a generation; None is 1.5 (4 + 3 ln(p)), half as many again as Optuna's.

    Raises
    ------
    ConfigError
        If a dimension is categorical or there are several objectives.

    References
    ----------
    .. [1] Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772, 2016.
    .. [2] Hansen, Injecting External Solutions Into CMA-ES, arXiv:1110.4181, 2011.
    """

    name: ClassVar[str] = "cmaes"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int | None = None,
        population_size: int | None = None,
    ) -> None:
        require_numeric(self.name, space)
        require_single_objective(self.name, directions)
        size = given(generation_size, given(population_size, default_population_size(len(space))))
        super().__init__(space, seed=seed, directions=directions, generation_size=size)
        self._margin = np.array([0.2 / n if n else 0.0 for n in self.encoding.size])
        self._start(0, np.full(len(space), 0.5))

    def _start(self, generation: int, mean: Float64Array1D) -> None:
        """Begin at `mean` (p,) with a distribution that `generation` is the first to be drawn from."""
        self._first, self._distribution = generation, _Distribution(mean, self.generation_size, self._margin)

    def completed(self, parameters: Float64Array2D) -> Float64Array2D:
        """Return trials as they are: what is inactive moves nothing."""
        return parameters

    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        if generation < self._first or len(parameters) < 2 or not np.isfinite(losses).any():
            return
        order = np.argsort(losses[:, 0], kind="stable")
        missing = np.isnan(parameters)
        unit = self.encoding.encode(np.where(missing, self.encoding.low, parameters))
        unit = np.where(missing, self._distribution.mean, unit)
        self._distribution.update(unit[order], float(losses[order[0], 0]))
        if self._distribution.has_converged:
            self._start(generation + LAG, self.uniforms(generation, len(self.space), stream=2))

    def _draw(self, generation: int) -> Float64Array2D:
        draws = self.uniforms(generation, self.generation_size, N_ATTEMPTS, len(self.space))
        return self.encoding.decode(self._distribution.sample(draws))


def default_population_size(p: int) -> int:
    """Return one and a half times the usual 4 + floor(3 ln p) for p dimensions, at least 9.

    With a generation in flight the usual one narrows too soon where there are several optima.
    """
    return 3 * max(4 + int(3 * log(float(p))), 6) // 2


class _State(NamedTuple):
    """A normal distribution and what moves it, in arrays that `_update` changes.

    Attributes
    ----------
    mean : (p,) float64
        In the unit cube.
    sigma : (1,) float64
        Step size.
    covariance : (p, p) float64
        Of the steps, in units of `sigma`.
    axes, scales : (p, p) and (p,) float64
        Eigenvectors of `covariance` in columns, and the roots of its eigenvalues.
    step_path, rank_path : (p,) float64
        Where the mean has gone lately, by which step size and covariance are changed.
    """

    mean: Float64Array1D
    sigma: Float64Array1D
    covariance: Float64Array2D
    axes: Float64Array2D
    scales: Float64Array1D
    step_path: Float64Array1D
    rank_path: Float64Array1D

    @classmethod
    def at(cls, mean: Float64Array1D) -> "_State":
        """Return a round distribution about `mean` (p,)."""
        p = mean.size
        sigma = np.array([INITIAL_SIGMA])
        return cls(mean.copy(), sigma, np.eye(p), np.eye(p), np.ones(p), np.zeros(p), np.zeros(p))


class _Distribution:
    """A normal distribution that learns; losses come as an order only."""

    def __init__(self, mean: Float64Array1D, population_size: int, margin: Float64Array1D) -> None:
        p = mean.size
        self._margin = margin
        self._rates = _rates(p, population_size)
        self._state = _State.at(mean)
        self._n_updates = 0
        self._best: list[float] = []
        self._n_stalled = 10 + 30 * p // population_size

    @property
    def mean(self) -> Float64Array1D:
        """Its middle (p,) in the unit cube."""
        return self._state.mean

    def sample(self, draws: Float64Array2D) -> Float64Array2D:
        """Return points (m, p) of the unit cube from uniforms (m, N_ATTEMPTS, p)."""
        points: Float64Array2D = _sample(draws, self._state)
        return points

    def update(self, ordered: Float64Array2D, best: float) -> None:
        """Learn from the points (m, p) of a generation, best first."""
        self._n_updates += 1
        weights = self._rates["weights"]
        if len(ordered) != weights.size:
            weights = _rates(self._state.mean.size, len(ordered))["weights"]
        rates = np.array([self._rates[k] for k in ("mass", "sigma", "damping", "path", "one", "many")])
        _update(ordered, weights, rates, self._n_updates, self._margin, self._state)
        self._best = [*self._best, best][-self._n_stalled :]

    @property
    def has_converged(self) -> bool:
        """Whether its spread is spent, its best has not moved for long, or its axes differ by a factor of 10**7."""
        stalled = len(self._best) == self._n_stalled and max(self._best) - min(self._best) <= 1e-12 * abs(
            min(self._best)
        )
        widest, narrowest = self._state.scales.max(), self._state.scales.min()
        return bool(stalled or self._state.sigma[0] * widest < 1e-9 or widest > 1e7 * narrowest)


def _rates(p: int, size: int) -> dict[str, Any]:
    """Return the weights (size,) and learning rates of [1]_, table 1, for p dimensions."""
    raw = np.array([log((size + 1) / 2) - log(float(i)) for i in range(1, size + 1)])
    n_positive = int((raw > 0).sum())
    good, bad = raw[:n_positive], raw[n_positive:]
    mass = float(good.sum()) ** 2 / float((good * good).sum())
    bad_mass = float(bad.sum()) ** 2 / float((bad * bad).sum()) if (bad < 0).any() else 0.0
    one = 2.0 / ((p + 1.3) ** 2 + mass)
    many = min(1.0 - one, 2.0 * (mass - 2.0 + 1.0 / mass) / ((p + 2.0) ** 2 + mass))
    weights = np.empty(size)
    weights[:n_positive] = good / good.sum()
    if (bad < 0).any() and many > 0.0:
        bound = min(1.0 + one / many, 1.0 + 2.0 * bad_mass / (mass + 2.0), (1.0 - one - many) / (p * many))
        weights[n_positive:] = bad / -bad.sum() * bound
    else:
        weights[n_positive:] = 0.0
    sigma = (mass + 2.0) / (p + mass + 5.0)
    damping = 1.0 + 2.0 * max(0.0, float(np.sqrt((mass - 1.0) / (p + 1.0))) - 1.0) + sigma
    path = (4.0 + mass / p) / (p + 4.0 + 2.0 * mass / p)
    return {
        "weights": weights, "mass": mass, "sigma": sigma, "damping": damping, "path": path, "one": one, "many": many,
    }  # fmt: skip


@jit
def _sample(draws: Any, state: Any) -> Any:
    """Return points (m, p) of the unit cube from uniforms (m, n_attempts, p); the first attempt inside is taken."""
    m, n_attempts, p = draws.shape
    mean, sigma, axes, scales = state.mean, state.sigma[0], state.axes, state.scales
    out = np.empty((m, p))
    z = np.empty(p)
    for i in range(m):
        for attempt in range(n_attempts):
            for j in range(p):
                # Half the spacing of the uniforms: 0 would be at minus infinity.
                z[j] = scales[j] * normal_quantile(max(draws[i, attempt, j], 5.551115123125783e-17))
            inside = True
            for j in range(p):
                y = 0.0
                for k in range(p):
                    y += axes[j, k] * z[k]
                x = mean[j] + sigma * y
                inside = inside and 0.0 <= x <= 1.0
                out[i, j] = min(max(x, 0.0), 1.0)
            if inside:
                break
    return out


@jit
def _whiten(y: Any, axes: Any, scales: Any, out: Any) -> None:
    """Write C**-1/2 y (p,) to out."""
    p = y.size
    out[:] = 0.0
    for k in range(p):
        along = 0.0
        for j in range(p):
            along += axes[j, k] * y[j]
        along /= scales[k]
        for j in range(p):
            out[j] += axes[j, k] * along


@jit
def _update(ordered: Any, weights: Any, rates: Any, n_updates: Any, margin: Any, state: Any) -> None:
    """Let the points of a generation, best first, change `state`.

    Parameters
    ----------
    ordered, weights : (m, p) and (m,) float64
    rates : (6,) float64
        Those of `_rates`: mass, sigma, damping, path, one and many.
    n_updates : int
        How many there were, this one included.
    margin : (p,) float64
        Least spread of each dimension.
    state : _State
    """
    m, p = ordered.shape
    mean, sigma, covariance, axes, scales, step_path, rank_path = state
    mass, rate_sigma, damping, rate_path, rate_one, rate_many = rates
    y = (ordered - mean) / sigma[0]
    shift, white = np.zeros(p), np.zeros(p)
    for i in range(m):
        if weights[i] > 0.0:
            shift += weights[i] * y[i]
    mean += MEAN_RATE * sigma[0] * shift
    _whiten(shift, axes, scales, white)
    step_path *= 1.0 - rate_sigma
    step_path += np.sqrt(rate_sigma * (2.0 - rate_sigma) * mass) * white
    length = 0.0
    for j in range(p):
        length += step_path[j] * step_path[j]
    length = np.sqrt(length)
    expected = np.sqrt(np.float64(p)) * (1.0 - 1.0 / (4.0 * p) + 1.0 / (21.0 * p * p))
    warm = np.sqrt(1.0 - exp(2.0 * n_updates * log(1.0 - rate_sigma)))
    moving = 1.0 if length / warm < (1.4 + 2.0 / (p + 1.0)) * expected else 0.0
    rank_path *= 1.0 - rate_path
    rank_path += moving * np.sqrt(rate_path * (2.0 - rate_path) * mass) * shift
    total = 0.0
    for i in range(m):
        total += weights[i]
    keep = 1.0 + rate_one * (1.0 - moving) * rate_path * (2.0 - rate_path) - rate_one - rate_many * total
    scaled = weights.copy()
    for i in range(m):
        if weights[i] < 0.0:
            _whiten(y[i], axes, scales, white)
            square = 0.0
            for j in range(p):
                square += white[j] * white[j]
            scaled[i] = weights[i] * p / max(square, 1e-8)
    for a in range(p):
        for b in range(a + 1):
            value = keep * covariance[a, b] + rate_one * rank_path[a] * rank_path[b]
            for i in range(m):
                value += rate_many * scaled[i] * y[i, a] * y[i, b]
            covariance[a, b] = value
            covariance[b, a] = value
    sigma[0] = min(sigma[0] * exp(min(rate_sigma / damping * (length / expected - 1.0), 1.0)), 1.0)
    for j in range(p):
        least = margin[j] / sigma[0]
        covariance[j, j] = max(covariance[j, j], least * least)
    _eigen(covariance, axes, scales)


@jit
def _eigen(matrix: Any, axes: Any, scales: Any) -> None:
    """Write the eigenvectors (p, p) in columns and the roots of the eigenvalues (p,) of a symmetric matrix: Jacobi."""
    p = matrix.shape[0]
    a = matrix.copy()
    axes[:] = 0.0
    for j in range(p):
        axes[j, j] = 1.0
    for _ in range(30):
        off, diagonal = 0.0, 0.0
        for i in range(p):
            diagonal += a[i, i] * a[i, i]
            for j in range(i):
                off += a[i, j] * a[i, j]
        if off <= 1e-30 * diagonal:
            break
        for i in range(p - 1):
            for j in range(i + 1, p):
                if a[i, j] == 0.0:
                    continue
                theta = (a[j, j] - a[i, i]) / (2.0 * a[i, j])
                t = (1.0 if theta >= 0.0 else -1.0) / (abs(theta) + np.sqrt(theta * theta + 1.0))
                c = 1.0 / np.sqrt(t * t + 1.0)
                s = t * c
                for k in range(p):
                    x, y = a[k, i], a[k, j]
                    a[k, i], a[k, j] = c * x - s * y, s * x + c * y
                for k in range(p):
                    x, y = a[i, k], a[j, k]
                    a[i, k], a[j, k] = c * x - s * y, s * x + c * y
                for k in range(p):
                    x, y = axes[k, i], axes[k, j]
                    axes[k, i], axes[k, j] = c * x - s * y, s * x + c * y
    for j in range(p):
        # Negative weights can take an eigenvalue below zero by rounding.
        scales[j] = np.sqrt(max(a[j, j], 1e-18))
