"""Points that are known to be worth a trial, proposed before what a sampler thinks of."""

from typing import Any

from alphapulse.search.samplers._base import Sampler
from alphapulse.typing import Float64Array2D


class EnqueuedSampler:
    """A sampler whose first proposals are given points; it is told their results like those of its own.

    They stand in place of its own first proposals, one for one, so that a study has as many trials as before. In all
    else it is the sampler.

    Parameters
    ----------
    sampler : Sampler
    points : (k, p) float64
        Parameters in the order of the space.
    """

    def __init__(self, sampler: Sampler, points: Float64Array2D) -> None:
        self._sampler = sampler
        self._points = points

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._sampler, name)

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation."""
        proposed = self._sampler.propose(generation)
        first = self._sampler.schedule.first_trial(generation)
        points = self._points[first : first + len(proposed)]
        if len(points):
            proposed = proposed.copy()
            proposed[: len(points)] = points
        return proposed
