"""What stands beside a kind of stop: its code and its distance, one plain function and the compiled one."""

import math
from typing import get_args

import numba
import numpy as np
import pytest

from alphapulse.backtesting.kernel.fills import level_distance
from alphapulse.backtesting.params import (
    LEVEL_CODES,
    LEVEL_FACTORS,
    EngineParams,
    StopKind,
    StopParams,
    TakeProfitKind,
    level_distance_python,
    level_factors,
)


def factors(kinds, **fields):
    given = EngineParams(stop=fields).values
    values = {name: np.full(len(kinds), given[name]) for name in given if name.startswith("stop.")}
    return level_factors({**values, "stop.kind": np.array([LEVEL_CODES[kind] for kind in kinds], dtype=np.float64)})


def test_every_kind_of_stop_has_a_code_and_a_field():
    assert tuple(LEVEL_CODES) == get_args(TakeProfitKind)
    assert set(get_args(StopKind)) <= LEVEL_CODES.keys()
    assert sorted(LEVEL_CODES.values()) == list(range(len(LEVEL_CODES)))
    assert LEVEL_FACTORS.keys() <= LEVEL_CODES.keys()
    assert set(LEVEL_FACTORS.values()) <= set(StopParams.__dataclass_fields__)


def test_level_factors_are_those_of_each_kind():
    assert factors(["none", "percent", "atr"], percent=0.07, multiplier=3.0).tolist() == [math.inf, 0.07, 3.0]


@numba.njit(error_model="numpy")
def compiled_level_distance(kind, factor, price, average_range):
    return level_distance(kind, factor, price, average_range)


@pytest.mark.parametrize("average_range", [0.0, 1.5, math.nan])
@pytest.mark.parametrize("kind", LEVEL_CODES)
def test_level_distance_matches_plain(kind, average_range):
    (factor,) = factors([kind])
    arguments = (float(LEVEL_CODES[kind]), factor, 80.0, average_range)
    np.testing.assert_equal(compiled_level_distance(*arguments), level_distance_python(*arguments))


@pytest.mark.parametrize(
    ("kind", "factor", "average_range", "distance"),
    [
        ("none", math.inf, 1.5, math.inf),
        ("percent", 0.05, math.nan, 4.0),
        ("atr", 2.0, 1.5, 3.0),
        ("atr", 2.0, math.nan, math.nan),
    ],
)
def test_level_distance_of_a_hand_worked_fill(kind, factor, average_range, distance):
    np.testing.assert_equal(level_distance_python(LEVEL_CODES[kind], factor, 80.0, average_range), distance)
