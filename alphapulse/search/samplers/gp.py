"""Gaussian process: the costly model, for trials that cost more."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from alphapulse.compiling import jit
from alphapulse.numerics import exp, log, log1p, normal_cdf, normal_pdf, normal_quantile
from alphapulse.search.feasibility import INFEASIBLE
from alphapulse.search.samplers._base import HistorySampler, given, require_numeric, require_single_objective
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D

N_FITTED = 160
"""Trials the model keeps: the best half and the latest; fit and proposal cost O(N_FITTED**3), never more."""

N_BEST = 80
N_CANDIDATES = 384
N_LOCAL = 24
SHORTEST, LONGEST = 0.02, 5.0
SMALLEST_NOISE, LARGEST_NOISE = 1e-6, 0.3
LOCAL_SCALES = 3
"""Widths of the steps around the best trials, a factor of ten apart."""


class GPSampler(HistorySampler):
    """Expected improvement under a Gaussian process with a Matern 5/2 kernel, a length scale a dimension.

    Losses above the median are compressed by a logarithm before the fit, so that neither an outlier nor a failed trial
    (which counts as the worst) bends the model where it matters. Length scales and noise maximise the likelihood with
    a weak prior by a coordinate search that starts afresh each generation. The proposals of a generation are chosen
    one after the other, each believed to give its predicted mean. Fit and choice are O(n**3) in the `N_FITTED` trials
    kept: some 20 ms a proposal, a hundred times TPE's; worth it for a few hundred trials that each take seconds.

    Parameters
    ----------
    n_startup_trials : int, default 16
        Random trials before the first fit.

    Raises
    ------
    ConfigError
        If a dimension is categorical or there are several objectives.
    """

    name: ClassVar[str] = "gp"
    # Its draws differ little from each other, and cost much.
    n_attempts: ClassVar[int] = 2

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int | None = None,
        n_startup_trials: int | None = None,
    ) -> None:
        require_numeric(self.name, space)
        require_single_objective(self.name, directions)
        super().__init__(space, seed=seed, directions=directions, generation_size=given(generation_size, 8))
        self.n_startup_trials = given(n_startup_trials, 16)
        self._n_seen = 0
        self._numbers = np.empty(0, np.int64)
        self._unit = np.empty((0, len(space)))
        self._losses = np.empty(0)

    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        numbers = np.concatenate([self._numbers, np.arange(self._n_seen, self._n_seen + len(parameters))])
        unit = np.concatenate([self._unit, self.encoding.encode(parameters)])
        values = np.concatenate([self._losses, losses[:, 0]])
        self._n_seen += len(parameters)
        if len(values) > N_FITTED:
            order = np.argsort(values, kind="stable")
            kept = np.concatenate([order[:N_BEST], np.sort(order[N_BEST:])[-(N_FITTED - N_BEST) :]])
            kept = np.sort(kept)
            numbers, unit, values = numbers[kept], unit[kept], values[kept]
        self._numbers, self._unit, self._losses = numbers, unit, values

    def _draw(self, generation: int) -> Float64Array2D:
        m, p = self.generation_size, len(self.space)
        if self._n_seen < max(self.n_startup_trials, 2):
            return self.encoding.decode(self.uniforms(generation, m, p))
        scores = _scores(self._losses)
        lengths, noise = _fit(self._unit, scores)
        far = self.uniforms(generation, m, N_CANDIDATES, p, stream=1)
        near = self.uniforms(generation, m, N_LOCAL * LOCAL_SCALES, p, stream=2)
        best = self._unit[np.argsort(self._losses, kind="stable")[: min(N_LOCAL, len(self._losses))]]
        unit = np.empty((m, p))
        known, values = self._unit, scores
        for i in range(m):
            candidates = np.concatenate([far[i], _around(best, near[i])])
            # Rounded to what can be tried: a stepped value is judged where it will be run.
            candidates = self.encoding.encode(self.encoding.decode(candidates))
            place, mean = _most_promising(known, values, candidates, lengths, noise)
            unit[i] = candidates[place]
            known, values = np.concatenate([known, unit[i : i + 1]]), np.append(values, mean)
        return self.encoding.decode(unit)


def _scores(losses: Float64Array1D) -> Float64Array1D:
    """Return losses (n,), the median at 0, the best at -1; above the median in the logarithm, failed as the worst.

    Where a condition is broken, a loss is above the worst that breaks none.
    """
    is_feasible = losses < INFEASIBLE
    if not is_feasible.any():
        return _scaled(losses / INFEASIBLE)
    scores = _scaled(np.where(is_feasible, losses, np.inf))
    broken = np.isfinite(losses) & ~is_feasible
    scores[broken] += losses[broken] / INFEASIBLE
    return scores


def _scaled(losses: Float64Array1D) -> Float64Array1D:
    finite = np.sort(losses[np.isfinite(losses)])
    if finite.size == 0 or finite[0] == finite[-1]:
        constant: Float64Array1D = np.where(np.isfinite(losses), 0.0, 1.0)
        return constant
    middle = finite[(finite.size - 1) // 2]
    spread = middle - finite[0] if middle > finite[0] else finite[-1] - finite[0]
    scores: Float64Array1D = (np.minimum(losses, finite[-1]) - middle) / spread
    above = scores > 0.0
    scores[above] = [log1p(float(x)) for x in scores[above]]
    return scores


@jit
def _around(best: Any, draws: Any) -> Any:
    """Return points (k, p) around the best trials (n, p) at three widths, from uniforms (k, p)."""
    k, p = draws.shape
    out = np.empty((k, p))
    for i in range(k):
        width = (0.1, 0.01, 0.001)[i % LOCAL_SCALES]
        for j in range(p):
            step = width * normal_quantile(max(draws[i, j], 1e-16))
            out[i, j] = min(max(best[i % best.shape[0], j] + step, 0.0), 1.0)
    return out


@jit
def _kernel(square: Any) -> Any:
    """Matern 5/2 of a squared scaled distance."""
    r = np.sqrt(5.0 * square)
    return (1.0 + r + r * r / 3.0) * exp(-r)


@jit
def _factor(unit: Any, lengths: Any, noise: Any) -> Any:
    """Return the lower Cholesky factor (n, n) of the covariance of points (n, p)."""
    n, p = unit.shape
    factor = np.zeros((n, n))
    for a in range(n):
        for b in range(a + 1):
            square = 0.0
            for j in range(p):
                d = (unit[a, j] - unit[b, j]) / lengths[j]
                square += d * d
            factor[a, b] = _kernel(square)
        factor[a, a] += noise
    for a in range(n):
        for b in range(a + 1):
            total = factor[a, b]
            for k in range(b):
                total -= factor[a, k] * factor[b, k]
            factor[a, b] = np.sqrt(max(total, 1e-12)) if a == b else total / factor[b, b]
    return factor


@jit
def _forward(factor: Any, values: Any) -> Any:
    """Solve L x = values."""
    n = values.size
    out = np.empty(n)
    for a in range(n):
        total = values[a]
        for k in range(a):
            total -= factor[a, k] * out[k]
        out[a] = total / factor[a, a]
    return out


@jit
def _penalised_likelihood(unit: Any, values: Any, lengths: Any, noise: Any) -> Any:
    """Return the log likelihood, scale profiled out, with a log-normal prior on the length scales around 1/2."""
    n = values.size
    factor = _factor(unit, lengths, noise)
    white = _forward(factor, values)
    fit, total = 0.0, 0.0
    for a in range(n):
        fit += white[a] * white[a]
        total -= log(factor[a, a])
    total -= 0.5 * n * log(fit / n)
    for j in range(lengths.size):
        away = log(lengths[j] / 0.5)
        total -= 0.5 * away * away
    return total


@jit
def _fit(unit: Any, values: Any) -> Any:
    """Return length scales (p,) and noise of the highest penalised likelihood: a coordinate search by factors."""
    p = unit.shape[1]
    lengths, noise = np.full(p, 0.5), 1e-4
    best = _penalised_likelihood(unit, values, lengths, noise)
    for factor in (3.0, 1.7, 1.3):
        for j in range(p + 1):
            for direction in (factor, 1.0 / factor):
                for _ in range(3):
                    before, before_noise = lengths[j % p], noise
                    if j < p:
                        lengths[j] = min(max(before * direction, SHORTEST), LONGEST)
                    else:
                        noise = min(max(noise * direction * direction, SMALLEST_NOISE), LARGEST_NOISE)
                    value = _penalised_likelihood(unit, values, lengths, noise)
                    if value <= best:
                        lengths[j % p], noise = before, before_noise
                        break
                    best = value
    return lengths, noise


@jit
def _most_promising(unit: Any, values: Any, candidates: Any, lengths: Any, noise: Any) -> Any:
    """Return the place of the candidate (k, p) of highest expected improvement, and its predicted mean."""
    n, p = unit.shape
    factor = _factor(unit, lengths, noise)
    white = _forward(factor, values)
    scale = 0.0
    for a in range(n):
        scale += white[a] * white[a]
    scale = np.sqrt(scale / n)
    weights = np.empty(n)
    for a in range(n - 1, -1, -1):
        total = white[a]
        for k in range(a + 1, n):
            total -= factor[k, a] * weights[k]
        weights[a] = total / factor[a, a]
    least = values.min()
    covariance = np.empty(n)
    place, highest, predicted = 0, -1.0, 0.0
    for c in range(candidates.shape[0]):
        mean = 0.0
        for a in range(n):
            square = 0.0
            for j in range(p):
                d = (candidates[c, j] - unit[a, j]) / lengths[j]
                square += d * d
            covariance[a] = _kernel(square)
            mean += covariance[a] * weights[a]
        projected = _forward(factor, covariance)
        variance = 1.0
        for a in range(n):
            variance -= projected[a] * projected[a]
        deviation = scale * np.sqrt(max(variance, 1e-10))
        gain = (least - mean) / deviation
        improvement = deviation * (gain * normal_cdf(gain) + normal_pdf(gain))
        if improvement > highest:
            place, highest, predicted = c, improvement, mean
    return place, predicted
