"""What one Sharpe ratio is worth: its probability, its needed record, and its discount for many trials.

Every Sharpe ratio here is per bar, not annualised; kurtosis is Pearson's (3 for a normal), not excess.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from alphapulse import numerics
from alphapulse.typing import Float64Array1D

EULER_MASCHERONI = 0.5772156649015329


def probabilistic_sharpe_ratio(
    sharpe: float, benchmark: float, *, n_returns: int, skewness: float, kurtosis: float
) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark` [1]_.

    Phi[(SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2)].

    Parameters
    ----------
    sharpe, benchmark : float
        Per-bar Sharpe ratios (ddof=1), not annualised [1].
    n_returns : int
        Number of returns T behind `sharpe`, at least 2 [bars].
    skewness, kurtosis : float
        g3 and g4 of the returns [1]; kurtosis is 3 for a normal, not excess.

    Returns
    -------
    float
        It lies in [0, 1]. NaN if an argument is NaN, or if no returns have these moments (the variance of the estimate,
        under the root, is not positive).

    Raises
    ------
    ValueError
        If `n_returns >= 2` does not hold.

    References
    ----------
    .. [1] Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2), 2012, eq. 9
       and 11.
    """
    if not n_returns >= 2:
        raise ValueError(f"`n_returns >= 2` must hold, but got n_returns={n_returns}.")
    variance = _estimate_variance(sharpe, skewness, kurtosis)
    if math.isnan(variance):
        return math.nan
    return float(numerics.normal_cdf((sharpe - benchmark) * math.sqrt((n_returns - 1) / variance)))


def minimum_track_record_length(
    sharpe: float, benchmark: float, *, skewness: float, kurtosis: float, confidence: float = 0.95
) -> float:
    """Bars needed before `sharpe` exceeds `benchmark` with `confidence` [1]_.

    1 + [1 - g3 SR + (g4 - 1)/4 SR^2] (z / (SR - SR*))^2, z the normal quantile of `confidence`.

    Parameters
    ----------
    sharpe, benchmark : float
        Per-bar Sharpe ratios, not annualised [1].
    skewness, kurtosis : float
        Moments of the returns [1]; kurtosis is 3 for a normal, not excess.
    confidence : float
        It lies in (0, 1) [1].

    Returns
    -------
    float
        The length [bars]. Infinite if `sharpe <= benchmark`; NaN if an argument is NaN or no returns have these
        moments.

    Raises
    ------
    ValueError
        If `0 < confidence < 1` does not hold.

    References
    ----------
    .. [1] Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2), 2012, eq. 13.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"`0 < confidence < 1` must hold, but got confidence={confidence}.")
    variance = _estimate_variance(sharpe, skewness, kurtosis)
    if math.isnan(variance) or math.isnan(benchmark):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    distance = float(numerics.normal_quantile(confidence)) / (sharpe - benchmark)
    return 1 + variance * distance * distance


def expected_maximum_sharpe(sharpe_variance: float, n_trials: float) -> float:
    """Sharpe ratio that the best of `n_trials` trials without skill is expected to show [1]_.

    sqrt(V) [(1 - g) z(1/N) + g z(1/(N e))], z the upper normal quantile, g the Euler-Mascheroni constant.

    Parameters
    ----------
    sharpe_variance : float
        Variance V over the trials of their per-bar Sharpe ratios, ddof=1 [1].
    n_trials : float
        Number N of trials, failed ones too.

    Returns
    -------
    float
        The ratio per bar [1]. NaN if `n_trials` is 1, where the formula is undefined, or if an argument is NaN.

    Raises
    ------
    ValueError
        If `n_trials >= 1` or `sharpe_variance >= 0` does not hold.

    References
    ----------
    .. [1] Bailey and Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), 2014, eq. 1.
    """
    if sharpe_variance < 0:
        raise ValueError(f"`sharpe_variance >= 0` must hold, but got sharpe_variance={sharpe_variance}.")
    if n_trials < 1:
        raise ValueError(f"`n_trials >= 1` must hold, but got n_trials={n_trials}.")
    if n_trials == 1 or math.isnan(n_trials) or math.isnan(sharpe_variance):
        return math.nan
    largest = -float(numerics.normal_quantile(1 / n_trials))
    next_largest = -float(numerics.normal_quantile(1 / (n_trials * math.e)))
    return math.sqrt(sharpe_variance) * ((1 - EULER_MASCHERONI) * largest + EULER_MASCHERONI * next_largest)


def deflated_sharpe_ratio(
    sharpe: float, *, sharpe_variance: float, n_trials: float, n_returns: int, skewness: float, kurtosis: float
) -> float:
    """Probability that `sharpe` clears what the best of `n_trials` trials without skill would show [1]_.

    The probabilistic Sharpe ratio against `expected_maximum_sharpe`. It is the chance that the statistic clears
    the null hurdle, not the chance that the strategy is real; conservative with correlated trials.

    Parameters
    ----------
    sharpe : float
        Per-bar Sharpe ratio of the best trial, not annualised [1].
    sharpe_variance : float
        Variance over the trials of their per-bar Sharpe ratios, ddof=1 [1].
    n_trials : float
        Number of trials, failed ones too.
    n_returns : int
        Number of returns behind `sharpe` [bars].
    skewness, kurtosis : float
        Moments of the best trial's returns [1]; kurtosis is 3 for a normal, not excess.

    Returns
    -------
    float
        It lies in [0, 1]. NaN with one trial, with a NaN argument, or where no returns have these moments.

    Raises
    ------
    ValueError
        If `n_trials >= 1`, `sharpe_variance >= 0` or `n_returns >= 2` does not hold.

    References
    ----------
    .. [1] Bailey and Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), 2014, eq. 2.
    """
    hurdle = expected_maximum_sharpe(sharpe_variance, n_trials)
    return probabilistic_sharpe_ratio(sharpe, hurdle, n_returns=n_returns, skewness=skewness, kurtosis=kurtosis)


def holm_adjust(p_values: ArrayLike) -> Float64Array1D:
    """Return p-values adjusted so that rejecting those below alpha keeps any false rejection below alpha [1]_.

    The i-th smallest of m becomes the running maximum of (m - i + 1) p_i, at most 1.

    Parameters
    ----------
    p_values : array_like (n,)
        They lie in [0, 1]. NaN stays NaN and does not count in m.

    Returns
    -------
    ndarray (n,)
        The adjusted p-values, in the order given.

    Raises
    ------
    ValueError
        If `p_values` is not one-dimensional with values in [0, 1].

    References
    ----------
    .. [1] Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError("`p_values` must be one-dimensional and in [0, 1], or NaN.")
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    weights = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(weights * p[order]), 1.0)
    return adjusted


def false_discovery_bound(p_value: float, prior: float) -> float:
    """Least probability that there is no edge, given `p_value` and the prior probability of one [1]_.

    By Bayes' rule with the smallest factor that a p-value allows, B = -e p ln p for p < 1/e and 1 above:
    1 / (1 + prior / ((1 - prior) B)). "At least", because any actual alternative fits the data no better.

    Parameters
    ----------
    p_value : float
        It lies in [0, 1], and belongs to the whole search, not to one trial picked from it.
    prior : float
        Probability of an edge before the data, in (0, 1).

    Returns
    -------
    float
        It lies in [0, 1 - prior]. NaN if `p_value` is NaN.

    Raises
    ------
    ValueError
        If `0 <= p_value <= 1` or `0 < prior < 1` does not hold.

    References
    ----------
    .. [1] Sellke, Bayarri and Berger, Calibration of p Values for Testing Precise Null Hypotheses, The American
       Statistician 55(1), 2001, eq. 2 and 3.
    """
    if p_value < 0 or p_value > 1:
        raise ValueError(f"`0 <= p_value <= 1` must hold, but got p_value={p_value}.")
    if not 0 < prior < 1:
        raise ValueError(f"`0 < prior < 1` must hold, but got prior={prior}.")
    if math.isnan(p_value):
        return math.nan
    if p_value == 0:
        return 0.0
    factor = -math.e * p_value * float(numerics.log(p_value)) if p_value < 1 / math.e else 1.0
    odds = factor * (1 - prior) / prior
    return odds / (1 + odds)


def _estimate_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Return (T - 1) times the variance of an estimated Sharpe ratio, NaN unless positive."""
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe
    return variance if 0 < variance < math.inf else math.nan
