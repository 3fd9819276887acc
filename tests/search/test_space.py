import numpy as np
import pytest

from alphapulse.search.dimensions import CategoricalDimension, Dimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace

WINDOW = IntDimension("strategy.window", 10, 250)
COST = FloatDimension("engine.slippage", 1e-5, 1e-2, log=True)
EXECUTION = CategoricalDimension("engine.execution", ("next_open", "next_close", None))
SPACE = SearchSpace((WINDOW, COST, EXECUTION))


def test_keys_and_values_are_in_the_order_of_the_columns() -> None:
    assert len(SPACE) == 3
    assert SPACE.keys == ("strategy.window", "engine.slippage", "engine.execution")
    values = SPACE.values(np.array([20.0, 0.001, 2.0]))
    assert list(values.items()) == [("strategy.window", 20), ("engine.slippage", 0.001), ("engine.execution", None)]
    assert list(SPACE.distributions()) == list(SPACE.keys)


@pytest.mark.parametrize(
    ("dimensions", "size"),
    [
        ((), 1),
        ((WINDOW, EXECUTION), 241 * 3),
        ((WINDOW, COST), None),
        (tuple(IntDimension(f"x{i}", 0, 10**6 - 1) for i in range(5)), 10**30),
    ],
)
def test_size_is_the_product(dimensions: tuple[Dimension, ...], size: int | None) -> None:
    assert SearchSpace(dimensions).size == size


def test_json_is_read_back() -> None:
    assert SearchSpace.from_json(SPACE.to_json()) == SPACE
