"""What Ray tells Prometheus of a study while it is searched."""

import time
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.util.metrics import Gauge

METRICS = {
    "alphapulse_trials_done": "Trials that have an outcome.",
    "alphapulse_trials_failed": "Trials that raised or ended their worker, of those that are committed.",
    "alphapulse_trials_per_second": "Trials that got an outcome a second.",
    "alphapulse_best": "Best value of the first objective.",
    "alphapulse_batches_queued": "Batches that workers have been given and not returned.",
    "alphapulse_trials_unstored": "Trials that wait to be written to the database.",
}
"""Names, which Prometheus sees with `ray_` before them, and what they are; each has the label `study`."""

EVERY = 2.0
"""How often they are told [s]."""


class StudyMetrics:
    """The metrics of a study that is searched by this process, through the Ray that it has started or joined.

    Parameters
    ----------
    study : str
        Name of the study.
    n_done : int
        Trials that were stored before.
    """

    def __init__(self, study: str, n_done: int) -> None:
        self._study = study
        self._told, self._n_told = time.monotonic(), n_done

    def update(self, n_done: int, best: float, *, n_failed: int, n_queued: int, n_unstored: int) -> None:
        """Tell them, where `EVERY` seconds have gone by."""
        now = time.monotonic()
        if now - self._told < EVERY:
            return
        rate = (n_done - self._n_told) / (now - self._told)
        self._told, self._n_told = now, n_done
        self._tell(n_done, n_failed, rate, best, n_queued, n_unstored)

    def finish(self, n_done: int, best: float, *, n_failed: int) -> None:
        """Tell them for the last time: what comes after the search has none."""
        self._tell(n_done, n_failed, 0.0, best, 0, 0)

    def _tell(self, *values: float) -> None:
        for gauge, value in zip(self._gauges, values, strict=True):
            gauge.set(float(value))

    @cached_property
    def _gauges(self) -> "list[Gauge]":
        from ray.util.metrics import Gauge

        gauges = [Gauge(name, description, tag_keys=("study",)) for name, description in METRICS.items()]
        for gauge in gauges:
            gauge.set_default_tags({"study": self._study})
        return gauges
