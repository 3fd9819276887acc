"""The search space in Optuna's words, for its tables, its dashboard and its samplers."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from alphapulse.errors import ConfigError
from alphapulse.search.space import Dimension, SearchSpace


def to_distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the Optuna distribution of each key, in the order of the space."""
    return {d.key: _to_distribution(d) for d in space.dimensions}


def from_distributions(distributions: Mapping[str, BaseDistribution]) -> SearchSpace:
    """Return the search space of Optuna distributions by key, in their order.

    Raises
    ------
    ConfigError
        If a distribution is neither int, float nor categorical.
    """
    return SearchSpace(tuple(_from_distribution(key, d) for key, d in distributions.items()))


def _to_distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.kind == "categorical":
        return CategoricalDistribution(dimension.choices)
    if dimension.kind == "int":
        step = 1 if dimension.step is None else int(dimension.step)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def _from_distribution(key: str, distribution: BaseDistribution) -> Dimension:
    if isinstance(distribution, CategoricalDistribution):
        return Dimension(key, "categorical", choices=tuple(distribution.choices))
    if isinstance(distribution, IntDistribution):
        step = None if distribution.step == 1 else float(distribution.step)
        return Dimension(key, "int", float(distribution.low), float(distribution.high), step, distribution.log)
    if isinstance(distribution, FloatDistribution):
        return Dimension(key, "float", distribution.low, distribution.high, distribution.step, distribution.log)
    raise ConfigError(f"`{key}` must be an int, float or categorical distribution, but got {distribution!r}")
