"""Markets that are made: of noise in every regime, where nothing can be timed, and with timing planted in them.

A maker takes a generator and returns bars. Each bar is a walk of `N_STEPS` steps through its night and its day, so that
high and low are those of a path; its moves are fat-tailed where the whole walk is scaled by one draw.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.surrogates import permute_bars
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D
from benchmarks.kernel import sample_market

# A year before the first scored bar, and a fifth of the scored ones held out: 2,349 (500) bars are searched.
LOOKBACK, HOLDOUT = 251, 0.2
N_BARS, SHORT = 3187, 876
N_STEPS = 9
DEVIATION = 0.01
YEAR = 252.0
NIGHT_SHARE = 0.2
HOURS, HOUR, DAY = 7, 3600 * 10**9, 86_400 * 10**9
START = int(np.datetime64("2001-01-01", "D").astype(np.int64))

Maker = Callable[[np.random.Generator], Bars]


def independent(rng: np.random.Generator, *, sharpe: float = 0.0, n_bars: int = N_BARS) -> Bars:
    """Independent normal returns with the yearly Sharpe ratio of buy and hold."""
    drift = np.full(n_bars, sharpe * DEVIATION / math.sqrt(YEAR))
    return daily_bars(_walk(rng, np.full(n_bars, DEVIATION)), drift)


def garch(rng: np.random.Generator, *, reversal: float = 0.0) -> Bars:
    """Clustering volatility that rises with losses (Glosten, Jagannathan, Runkle 1993) and Student's t with 5 degrees.

    `reversal` is the yearly Sharpe ratio of a drift against the day before.
    """
    steps = _walk(rng, np.ones(N_BARS)) * np.sqrt(3.0 / rng.chisquare(5, (N_BARS, 1)))
    drift = np.zeros(N_BARS)
    variance, before = DEVIATION**2, 0.0
    for t in range(N_BARS):
        deviation = math.sqrt(variance)
        steps[t] *= deviation
        drift[t] = -np.sign(before) * reversal * deviation / math.sqrt(YEAR)
        before = float(steps[t].sum()) + drift[t]
        leverage = 0.15 if before < 0.0 else 0.03
        variance = 0.02 * DEVIATION**2 + leverage * before**2 + 0.89 * variance
    return daily_bars(steps, drift)


def two_regimes(rng: np.random.Generator) -> Bars:
    """Calm and wild years in turn: two deviations that change every hundred bars or so."""
    wild = np.cumsum(rng.random(N_BARS) < 0.01) % 2 == 1
    return daily_bars(_walk(rng, np.where(wild, 0.02, 0.006)), np.zeros(N_BARS))


def shuffled_sample(rng: np.random.Generator) -> Bars:
    """The sample's own bars in random order."""
    bars = sample_market().bars
    return permute_bars(replace(bars, periods_per_year=YEAR), rng)


def hourly(rng: np.random.Generator) -> Bars:
    """Seven hourly bars a session, busy at its ends, with nights between them that move as much as half a session."""
    n_days = N_BARS // HOURS
    profile = np.array([1.6, 1.0, 0.8, 0.7, 0.8, 1.0, 1.4])
    steps = _walk(rng, np.tile(profile, n_days) * DEVIATION / math.sqrt(2 * HOURS), night_share=0.01)
    steps[::HOURS, 0] = rng.standard_normal(n_days) * DEVIATION / math.sqrt(2)
    opening = _weekdays(n_days) + 14 * HOUR + HOUR // 2
    timestamp = (opening[:, None] + np.arange(HOURS) * HOUR).ravel()
    return make_bars(steps, np.zeros(len(steps)), timestamp, "1h")


def reversing(rng: np.random.Generator, *, sharpe: float = 1.5) -> Bars:
    """The next day goes against this one, by the yearly Sharpe ratio of who knows."""
    steps, drift = _walk(rng, np.full(N_BARS, DEVIATION)), np.zeros(N_BARS)
    moves = steps.sum(axis=1)
    for t in range(1, N_BARS):
        drift[t] = -np.sign(moves[t - 1] + drift[t - 1]) * sharpe * DEVIATION / math.sqrt(YEAR)
    return daily_bars(steps, drift)


def flipping(rng: np.random.Generator, *, every: int, sharpe: float) -> Bars:
    """The drift changes its sign every so many bars, with the yearly Sharpe ratio of who knows."""
    sign = np.where((np.arange(N_BARS) // every) % 2 == 0, 1.0, -1.0)
    return daily_bars(_walk(rng, np.full(N_BARS, DEVIATION)), sign * sharpe * DEVIATION / math.sqrt(YEAR))


def daily_bars(steps: Float64Array2D, drift: Float64Array1D) -> Bars:
    """Return daily bars, one a weekday; see `make_bars`."""
    return make_bars(steps, drift, _weekdays(len(steps)), "1d")


def make_bars(steps: Float64Array2D, drift: Float64Array1D, timestamp: Int64Array1D, timeframe: str) -> Bars:
    """Return bars of a walk.

    Parameters
    ----------
    steps : (n_bars, N_STEPS) float64
        Logarithmic steps of each bar; the first is its gap.
    drift : (n_bars,) float64
        Logarithmic move of each bar in addition, spread over its steps after the gap.
    timestamp : (n_bars,) int64
    timeframe : str
    """
    moves = steps.copy()
    moves[:, 1:] += drift[:, None] / (N_STEPS - 1)
    path = 100.0 * np.exp(np.cumsum(moves.ravel()).reshape(moves.shape))
    unknown = np.full(len(steps), math.nan)
    bars = Bars(
        symbol="MADE",
        timeframe=timeframe,
        timestamp=timestamp,
        open=path[:, 0].copy(),
        high=path.max(axis=1),
        low=path.min(axis=1),
        close=path[:, -1].copy(),
        volume=unknown,
        volatility=unknown,
        periods_per_year=count_periods_per_year(timestamp, timeframe),
    )
    for column in (timestamp, bars.open, bars.high, bars.low, bars.close, unknown):
        column.flags.writeable = False
    return bars


def _walk(rng: np.random.Generator, deviation: Float64Array1D, *, night_share: float = NIGHT_SHARE) -> Float64Array2D:
    """Return normal steps (n_bars, N_STEPS) whose sums have a `deviation` (n_bars,) and the gaps a share of it."""
    share = np.array([night_share] + [(1.0 - night_share) / (N_STEPS - 1)] * (N_STEPS - 1))
    return rng.standard_normal((len(deviation), N_STEPS)) * np.sqrt(share) * deviation[:, None]


def _weekdays(n: int) -> Int64Array1D:
    """Return the starts of `n` weekdays [ns]."""
    days = START + np.arange(2 * n + 7)
    # The epoch was a Thursday.
    weekdays: Int64Array1D = days[(days + 3) % 7 < 5][:n] * DAY
    return weekdays
