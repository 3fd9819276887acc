"""From signals to target allocations, one trial or a tile of many.

target = scaled signal if it is > long_threshold or < short_threshold, else 0
"""

from dataclasses import dataclass

from alphapulse.compiling import jit
from alphapulse.strategies.long_short.bounds import Invariant
from alphapulse.strategies.long_short.indicators import Rows
from alphapulse.strategies.long_short.risk_manager import scale_at, view_risk
from alphapulse.strategies.long_short.signal_generator import signal_at, view_signal
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


@dataclass(frozen=True)
class PositionParams:
    """What becomes a position.

    Attributes
    ----------
    long_threshold, short_threshold : float
        Signals between them are no position [1].
    """

    long_threshold: float = 0.1
    short_threshold: float = -0.1


RELATIONS: tuple[Invariant, ...] = (
    (
        ("short_threshold", "long_threshold"),
        "short_threshold <= long_threshold",
        lambda p: p.short_threshold <= p.long_threshold,
    ),
)


def position_python(signal: float, long_threshold: float, short_threshold: float) -> float:
    """Return the target allocation [1]: the signal where it is beyond a threshold, else 0."""
    return signal if (signal > long_threshold) | (signal < short_threshold) else 0.0


position = jit(position_python)


def fill_targets_python(
    close: Float64Array1D,
    rows: tuple[tuple[Rows, ...], tuple[Rows, ...]],
    settings: tuple[Float64Array2D, Float64Array2D, Float64Array2D],
    trials: Int64Array1D,
    start: int,
    out: Float64Array2D,
) -> None:
    """Write the targets of bars [start, start + n_bars) to `out` [1].

    Parameters
    ----------
    close : (n_all_bars,) float64
        Closes [quote].
    rows : tuple of tuple of Rows
        What the signal and what its scale look at. A trial whose first row is negative has failed, and its targets are
        0.
    settings : tuple of (n_trials, n_settings) float64
        The numbers of signal, risk and position.
    trials : (k,) int64
        Trials to fill in; neighbours that share a row find it in the processor's cache.
    start : int
        First bar.
    out : (k, n_bars) float64
        It receives the targets [1].
    """
    signal_rows, risk_rows = rows
    signal_settings, risk_settings, position_settings = settings
    n_bars = out.shape[1]
    now = close[start : start + n_bars]
    for place in range(trials.shape[0]):
        trial = trials[place]
        target = out[place]
        if signal_rows[0][1][trial] < 0:
            target[:] = 0.0
            continue
        of_signal = view_signal(signal_rows, signal_settings, trial, start, start + n_bars)
        of_risk = view_risk(risk_rows, risk_settings, trial, start, start + n_bars)
        long_threshold, short_threshold = position_settings[trial, 0], position_settings[trial, 1]
        for t in range(n_bars):
            scaled = signal_at(t, now[t], of_signal) * scale_at(t, of_risk)
            target[t] = position(scaled, long_threshold, short_threshold)


fill_targets = jit(fill_targets_python)
