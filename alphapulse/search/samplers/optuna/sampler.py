"""A sampler of Optuna's asked in generations, on a study in memory that holds what ours does."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from alphapulse.errors import ConfigError, StudyError
from alphapulse.search.feasibility import INFEASIBLE
from alphapulse.search.samplers._base import LAG, HistorySampler, Told, given
from alphapulse.search.samplers._schedule import Schedule
from alphapulse.search.samplers.optuna.making import make_optuna_sampler, missing
from alphapulse.search.settings import LEAST_SHARE, spare_settings, too_tight
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial

FIRST_SIZE, GENERATION_SIZE = 4, 16
"""Generations grow from the one to the other, see `Schedule`; what is in flight a sampler does not know yet."""


class OptunaSampler(HistorySampler):
    """Any sampler of Optuna's, by asks and tells in an order that depends on nothing but the study.

    Generation g is asked for after generations <= g - lag are told; what is in flight stands in Optuna's study as
    RUNNING trials, so that a constant liar works. With `generation_size=1` one trial is in flight, and the trials are
    those of `Study.optimize`, one by one. A key that is inactive in a trial is not suggested, as in an objective that
    is written with `if`.

    Optuna's samplers carry state that is not stored. A study that continues repeats every ask and tell, at the cost of
    proposing all its trials again, and is refused where they come out otherwise.

    Parameters
    ----------
    generation_size : int, optional
        Trials of every generation; None lets them grow, but for CMA-ES: a population of its own, one in flight, since
        it leaves out whatever more was drawn from a distribution that it has learnt from already.
    optuna : str, default "TPESampler"
        A name of `optuna.samplers`, or the dotted path of any `BaseSampler`.
    options : mapping, optional
        Keyword arguments of that sampler; a mapping with `_target_` stands for an object made in the same way.

    Raises
    ------
    ConfigError
        If there is no such sampler or option, or the sampler refuses this space or these objectives.
    """

    name: ClassVar[str] = "optuna"
    keeps_rules: ClassVar[bool] = True

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int | None = None,
        optuna: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            space,
            seed=seed,
            directions=directions,
            generation_size=given(generation_size, GENERATION_SIZE),
            first_size=given(generation_size, FIRST_SIZE),
        )
        self.optuna = optuna or "TPESampler"
        self._distributions = space.distributions()
        conditional = tuple(space.rules.when)
        self._order = (*(key for key in space.keys if key not in conditional), *conditional)
        self._study = self._new_study(options or {})
        population = self._population(options or {}) if generation_size is None else None
        if population is not None:
            self.generation_size, self.schedule = population, Schedule(population, population)
        self.lag = 1 if self.generation_size == 1 or population is not None else LAG
        self._proposed: dict[int, tuple[list[Trial], Float64Array2D]] = {}
        self._n_asked = 0
        self._is_exhausted = False

    def _new_study(self, options: Mapping[str, Any]) -> "Study":
        import optuna

        sampler = make_optuna_sampler(self.optuna, options, self.seed)
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            directions: list[Any] = list(self.directions)
            study = optuna.create_study(directions=directions, sampler=sampler, pruner=optuna.pruners.NopPruner())
        finally:
            optuna.logging.set_verbosity(before)
        # Outside of `optimize` Optuna refuses to stop, as a sampler that has tried all there is wants to.
        study.stop = self._stop  # type: ignore[method-assign]
        return study

    def _population(self, options: Mapping[str, Any]) -> int | None:
        """Return the trials from which Optuna's CMA-ES learns at once; None where the sampler is another one."""
        from optuna.samplers import CmaEsSampler

        if not isinstance(self._study.sampler, CmaEsSampler):
            return None
        n_numbers = sum(d.is_ordered and d.size != 1 for d in self.space.dimensions)
        return int(options.get("popsize") or 4 + math.floor(3 * math.log(max(n_numbers, 1))))

    def _stop(self) -> None:
        self._is_exhausted = True

    def enqueue(self, points: Float64Array2D) -> bool:
        """Enqueue points (k, p) in Optuna's study, as a user of Optuna would."""
        for point in points:
            self._enqueue(point)
        return True

    def _enqueue(self, point: Float64Array1D) -> None:
        """Put the parameters (p,) of a trial into Optuna's queue."""
        pairs = zip(self._distributions.items(), point.tolist(), strict=True)
        known = {key: d.to_external_repr(parameter) for (key, d), parameter in pairs if parameter == parameter}
        self._study.enqueue_trial(known)

    def tell(
        self,
        generation: int,
        parameters: Float64Array2D,
        values: Float64Array2D,
        violations: Float64Array2D | None = None,
    ) -> None:
        """Keep the results until a generation may learn from them; what was not asked for here is asked for first.

        Raises
        ------
        StudyError
            If the sampler proposes other parameters than these.
        """
        n_told = sum(len(told.parameters) for told in self._told.get(generation, []))
        super().tell(generation, parameters, values, violations)
        if generation >= self._n_asked:
            self.propose(generation)
        proposed = self._proposed[generation][1][n_told : n_told + len(parameters)]
        if not np.array_equal(proposed, parameters, equal_nan=True):
            raise StudyError(
                f"Optuna's {self.optuna} does not repeat the trials of generation {generation} that are stored: it is "
                "of another version, or draws from what is not seeded; choose another name with study=NAME."
            )

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation; what was not asked for before it is asked for first."""
        while self._n_asked < generation:
            super().propose(self._n_asked)
        return super().propose(generation)

    def _learn(self, generation: int, told: Told) -> None:
        """Tell Optuna what came out, and by how much each condition is broken; where nothing can be said, by most."""
        trials, _ = self._proposed[generation]
        for trial, broken in zip(trials, np.nan_to_num(told.violations, nan=INFEASIBLE), strict=True):
            for place, excess in enumerate(broken.tolist()):
                trial.set_constraint(str(place), excess)
        self._absorb(generation, told.parameters, told.losses)

    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        from optuna.trial import TrialState

        trials, _ = self._proposed.pop(generation)
        with self._one_line_errors():
            for trial, values in zip(trials, losses * self._signs, strict=True):
                if np.isfinite(values).all():
                    self._study.tell(trial, values.tolist())
                else:
                    self._study.tell(trial, state=TrialState.FAIL)

    def _draw(self, generation: int) -> Float64Array2D:
        if generation in self._proposed:
            return self._proposed[generation][1]
        trials: list[Trial] = []
        rows: list[list[float]] = []
        with self._one_line_errors():
            while len(trials) < self.schedule.size(generation) and not self._is_exhausted:
                asked = self._ask()
                if asked is not None:
                    trials.append(asked[0])
                    rows.append(asked[1])
        proposed = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.space))
        self._proposed[generation] = trials, proposed
        self._n_asked = generation + 1
        return proposed

    def _ask(self) -> "tuple[Trial, list[float]] | None":
        """Return a trial and its parameters; one that breaks a constraint fails at once, and another one is asked for.

        After `n_attempts` in a row a uniform draw that fits is enqueued, unless the sampler counts off a finite
        space. None if it has nothing left to try.

        Raises
        ------
        ConfigError
            If less than one in `LEAST_SHARE` draws keeps the constraints.
        """
        from optuna.samplers import BruteForceSampler, GridSampler
        from optuna.trial import TrialState

        counts_off = isinstance(self._study.sampler, BruteForceSampler | GridSampler)
        for attempt in range(LEAST_SHARE if counts_off else self.n_attempts + 1):
            if attempt == self.n_attempts and not counts_off:
                spare = spare_settings(self, len(self._study.get_trials(deepcopy=False)), 1)[0]
                self._enqueue(spare)
            trial, row = self._ask_for_one()
            if self.space.fits(np.array([row], dtype=np.float64))[0]:
                return trial, row
            self._study.tell(trial, state=TrialState.FAIL)
            if self._is_exhausted:
                return None
        raise too_tight(self.space)

    def _ask_for_one(self) -> "tuple[Trial, list[float]]":
        """Return a trial and its parameters, one after the other where some are inactive."""
        if not self.space.is_conditional:
            trial = self._study.ask(self._distributions)
            named = trial.params
            return trial, [d.to_internal_repr(named[key]) for key, d in self._distributions.items()]
        trial, row = self._study.ask(), np.full((1, len(self.space)), np.nan)
        for key in self._order:
            place = self.space.keys.index(key)
            if self.space.active(row)[0, place]:
                distribution = self._distributions[key]
                row[0, place] = distribution.to_internal_repr(_suggest(trial, key, distribution))
        return trial, row[0].tolist()

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        """Turn what Optuna says of a space, objectives or an installation that it does not take into our errors."""
        try:
            yield
        except ImportError as error:
            raise missing(self.optuna, error) from error
        except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            raise ConfigError(f"Optuna's {self.optuna} cannot search this: {' '.join(str(error).split())}") from error


def _suggest(trial: "Trial", key: str, distribution: "BaseDistribution") -> Any:
    """Return what Optuna suggests for a key, by the method of its distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(key, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(key, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(key, choices)
    raise AssertionError(f"{distribution} is of no kind that a dimension has")
