"""What a study remembers of all its trials without keeping them: maxima of the reality check, best values."""

import io
from dataclasses import dataclass, field

import numpy as np

from alphapulse.errors import StudyError
from alphapulse.study.part.drawn import chances
from alphapulse.typing import BoolArray1D, Float64Array1D, Int64Array1D

N_BEST = 1_000
# Beyond the trials that are all kept, a trial n is kept with the chance SAMPLE_RATE * keep_blocks / n:
# independent of how many trials the study will have.
SAMPLE_RATE = 0.1
FORMAT = 2


@dataclass
class StudyState:
    """State of a study after its committed trials; stored with every generation.

    Attributes
    ----------
    observed : float
        Largest studentised mean so far; -inf before the first trial.
    maxima : (n_bootstrap,) float64
        The same of each bootstrap sample.
    best : (<= N_BEST,) float64
        Best values of the first objective of trials that break no condition, larger is better, ascending.
    thresholds : dict of int to float
        By generation, the worst of `best` when it was complete; -inf while there are fewer than N_BEST.
    seconds : float
        Time of evaluation so far, summed over workers [s].
    proposing : float
        Time that the sampler took to propose them [s].
    """

    observed: float
    maxima: Float64Array1D
    best: Float64Array1D = field(default_factory=lambda: np.empty(0))
    thresholds: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    proposing: float = 0.0

    @classmethod
    def start(cls, n_bootstrap: int) -> "StudyState":
        """Return the state before the first trial."""
        return cls(-np.inf, np.full(n_bootstrap, -np.inf))

    def threshold(self, generation: int) -> float:
        """Return the value from which on block moments of `generation` are kept, from generations two before it."""
        return self.thresholds.get(generation - 2, -np.inf)

    def threshold_by_now(self, generation: int) -> float:
        """Return what is known of it by now, which is never above it: the generations before may be in flight."""
        known = (number for number in self.thresholds if number <= generation - 2)
        return self.thresholds.get(max(known, default=-1), -np.inf)

    def merge(self, observed: float, maxima: Float64Array1D, scores: Float64Array1D) -> None:
        """Take in trials: the maxima of their batch and their scores (n_trials,), NaN for those that are not good."""
        self.observed = max(self.observed, observed)
        self.maxima = np.maximum(self.maxima, maxima)
        scores = scores[~np.isnan(scores)]
        if len(self.best) == N_BEST:
            scores = scores[scores > self.best[0]]
        if len(scores):
            self.best = np.sort(np.concatenate([self.best, scores]))[-N_BEST:]

    def complete(self, generation: int) -> None:
        """Note that all trials of `generation` are in."""
        self.thresholds[generation] = float(self.best[0]) if len(self.best) == N_BEST else -np.inf
        for old in [number for number in self.thresholds if number < generation - 2]:
            del self.thresholds[old]

    def to_bytes(self) -> bytes:
        """Return the state as stored."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            format=FORMAT,
            observed=self.observed,
            maxima=self.maxima,
            best=self.best,
            generations=np.array(list(self.thresholds), dtype=np.int64),
            thresholds=np.array(list(self.thresholds.values()), dtype=np.float64),
            seconds=self.seconds,
            proposing=self.proposing,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, state: bytes) -> "StudyState":
        """Return the state that was stored.

        Raises
        ------
        StudyError
            If it is of another version.
        """
        with np.load(io.BytesIO(state), allow_pickle=False) as stored:
            if int(stored["format"]) != FORMAT:
                raise StudyError(
                    f"The state of the study must be of format {FORMAT}, but got {int(stored['format'])}; "
                    "use a new `study`."
                )
            return cls(
                float(stored["observed"]),
                stored["maxima"],
                stored["best"],
                dict(zip(stored["generations"].tolist(), stored["thresholds"].tolist(), strict=True)),
                float(stored["seconds"]),
                float(stored["proposing"]),
            )


def read_state(state: bytes | None, n_bootstrap: int) -> StudyState:
    """Return the state that a study has stored, or the one before its first trial."""
    return StudyState.start(n_bootstrap) if state is None else StudyState.from_bytes(state)


def sampled(numbers: Int64Array1D, keep_blocks: int) -> BoolArray1D:
    """Return which trials keep their block moments whatever their value: the first ones, then a random sample."""
    is_sampled = chances(numbers) * (numbers + 1) < SAMPLE_RATE * keep_blocks
    kept: BoolArray1D = (numbers < keep_blocks) | is_sampled
    return kept
