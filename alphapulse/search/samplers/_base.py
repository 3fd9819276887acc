"""What every sampler is: generations of parameters as a pure function of seed, generation and what was told."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from alphapulse.errors import ConfigError
from alphapulse.search.feasibility import penalised
from alphapulse.search.samplers._encoding import Encoding
from alphapulse.search.samplers._schedule import Schedule
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array2D

LAG = 2
"""Generation g is proposed from the results of generations <= g - LAG, so that two are always in flight; a sampler that
has one in flight says so by its `lag`."""


class Sampler(ABC):
    """Proposes whole generations of trials.

    Randomness comes from the counter-based generator Philox, keyed by seed and generation: any generation can be
    drawn without drawing the ones before it.

    Parameters
    ----------
    space : SearchSpace
        What is searched.
    seed : int
        All randomness is drawn from it.
    directions : sequence of {"minimize", "maximize"}
        Each objective has one.
    generation_size : int
        Trials of a generation.
    first_size : int, optional
        Trials of the first one, from which generations grow to `generation_size`; None is the same.

    Attributes
    ----------
    keeps_rules : bool
        Whether it proposes nothing that breaks a rule of the space; where it may, `Proposals` sees to it.
    lag : int
        Generation g is proposed from the results of generations <= g - lag, and as many are in flight.
    in_order : bool
        Whether a generation is known only after those before it, even where no results are needed.
    n_points : int, optional
        Trials after which it is exhausted, where that is known beforehand.
    schedule : Schedule
        Trials of each generation.

    Raises
    ------
    ConfigError
        If `generation_size >= 1` does not hold or the sampler cannot search this space or these objectives.
    """

    name: ClassVar[str]
    needs_history: ClassVar[bool] = False
    keeps_rules: ClassVar[bool] = False
    lag: int = LAG
    in_order: bool = False
    n_points: int | None = None

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int,
        first_size: int | None = None,
    ) -> None:
        if generation_size < 1:
            raise ConfigError(f"`search.generation_size >= 1` must hold, but got {generation_size}.")
        self.space = space
        self.encoding = Encoding.of(space)
        self.seed = seed
        self.directions = tuple(directions)
        self.generation_size = generation_size
        self.schedule = Schedule(given(first_size, generation_size), generation_size)
        self.reason = ""
        self._attempt = 0

    @property
    def n_objectives(self) -> int:
        """Objectives of the study."""
        return len(self.directions)

    @abstractmethod
    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation; fewer rows than `schedule` says when exhausted."""

    def tell(  # noqa: B027
        self,
        generation: int,
        parameters: Float64Array2D,
        values: Float64Array2D,
        violations: Float64Array2D | None = None,
    ) -> None:
        """Give the results of (a further part of) a generation, generations in order.

        Parameters
        ----------
        generation : int
            The generation that proposed them.
        parameters : (k, p)
            They stand in the order in which they were proposed.
        values : (k, n_objectives)
            The objectives; NaN in any place is a failed trial.
        violations : (k, n_conditions), optional
            By how much each condition on results is broken: above 0 where it is, NaN where nothing can be said of it;
            None where there is no condition.
        """

    def enqueue(self, points: Float64Array2D) -> bool:
        """Return whether this sampler itself proposes points (k, p) before all others, if they are given to it.

        Where it does not, `Proposals` puts them in place of its first ones.
        """
        return False

    def settle(self, generation: int, parameters: Float64Array2D) -> None:  # noqa: B027
        """Learn what is run of a generation that was proposed, where that is not what was proposed itself."""

    def uniforms(self, generation: int, *shape: int, stream: int = 0) -> np.ndarray:
        """Return uniform numbers in [0, 1) of `shape`, the same for the same seed, generation, stream and attempt."""
        key = np.array([self.seed % 2**64, stream << 48 | generation], dtype=np.uint64)
        counter = np.array([0, 0, 0, self._attempt], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter)).random(shape)


class Told(NamedTuple):
    """Results of trials as a sampler learns them.

    Attributes
    ----------
    parameters : (k, p) float64
    losses : (k, n_objectives) float64
        To be minimised; inf where the trial failed.
    violations : (k, n_conditions) float64
        See `Sampler.tell`.
    """

    parameters: Float64Array2D
    losses: Float64Array2D
    violations: Float64Array2D

    @classmethod
    def joined(cls, parts: Sequence["Told"]) -> "Told":
        """Return the results of several parts of a generation, in order."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class HistorySampler(Sampler):
    """A sampler that learns: it absorbs the generations told, in order, and no sooner than the lag allows.

    What it knows at generation g is therefore the same in a study that was never interrupted and in one that was
    told everything at once.
    """

    needs_history: ClassVar[bool] = True
    n_attempts: ClassVar[int] = 16
    """Times that a generation may be drawn again for what cannot be run of it."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int,
        first_size: int | None = None,
    ) -> None:
        super().__init__(
            space, seed=seed, directions=directions, generation_size=generation_size, first_size=first_size
        )
        self._signs = np.array([-1.0 if d == "maximize" else 1.0 for d in self.directions])
        self._told: dict[int, list[Told]] = {}
        self._n_absorbed = 0

    def tell(
        self,
        generation: int,
        parameters: Float64Array2D,
        values: Float64Array2D,
        violations: Float64Array2D | None = None,
    ) -> None:
        """Keep the results until a generation may learn from them."""
        if generation < self._n_absorbed:
            raise ValueError(
                f"A generation is told before it is learnt from, but got generation={generation} "
                f"after learning from {self._n_absorbed - 1}."
            )
        losses = np.asarray(values, dtype=np.float64).reshape(len(parameters), self.n_objectives) * self._signs
        losses[np.isnan(losses).any(axis=1)] = np.inf
        broken = np.empty((len(losses), 0)) if violations is None else np.array(violations, dtype=np.float64)
        told = Told(np.array(parameters, dtype=np.float64), losses, broken)
        self._told.setdefault(generation, []).append(told)

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation."""
        if self._n_absorbed > max(generation - self.lag + 1, 0):
            raise ValueError(
                f"Generations are proposed in order, but got generation={generation} "
                f"after learning from {self._n_absorbed - 1}."
            )
        while self._n_absorbed <= generation - self.lag:
            parts = self._told.pop(self._n_absorbed, None)
            if parts is None:
                raise ValueError(
                    f"Generation {generation} needs the results of {generation - self.lag}, but {self._n_absorbed} "
                    "has not been told."
                )
            self._learn(self._n_absorbed, Told.joined(parts))
            self._n_absorbed += 1
        return self._draw(generation)

    def _learn(self, generation: int, told: Told) -> None:
        """Learn from a generation, its conditions as losses."""
        self._absorb(generation, told.parameters, penalised(told.losses, told.violations))

    def redraw(self, generation: int, attempt: int) -> Float64Array2D:
        """Return other parameters (generation_size, p) of the generation that was proposed last, attempts from 1 on."""
        self._attempt = attempt
        try:
            return self._draw(generation)
        finally:
            self._attempt = 0

    def completed(self, parameters: Float64Array2D) -> Float64Array2D:
        """Return trials (k, p) as the sampler takes them: with a number that says nothing where a key is inactive.

        It is spread over the range by a hash of what is active, so that a setting always has the same one.
        """
        return self.encoding.completed(parameters)

    @abstractmethod
    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        """Learn from a generation: parameters (k, p), losses (k, n_objectives) to minimise.

        They are inf where a trial failed, and from `INFEASIBLE` on where it breaks a condition, see `penalised`.
        """

    @abstractmethod
    def _draw(self, generation: int) -> Float64Array2D:
        """Return the parameters of a generation from what was absorbed; changes nothing."""


def given(option: int | None, own: int) -> int:
    """Return the option, or the sampler's own where it is None."""
    return own if option is None else option


def require_numeric(name: str, space: SearchSpace) -> None:
    """Refuse a space with a dimension that has no order.

    Raises
    ------
    ConfigError
        Naming the first such key.
    """
    for d in space.dimensions:
        if not d.is_ordered:
            raise ConfigError(f"search={name} needs numbers, but {d.key} is a choice; use search=tpe.")


def require_single_objective(name: str, directions: Sequence[str]) -> None:
    """Refuse several objectives.

    Raises
    ------
    ConfigError
        If there is more than one.
    """
    if len(directions) > 1:
        raise ConfigError(f"search={name} takes one objective, but got {len(directions)}; use search=nsga2.")
