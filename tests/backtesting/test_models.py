"""What stands beside a kind of stop: its code and its distance, one plain function and the compiled one."""

import math
from typing import get_args

import numpy as np
import pytest

from alphapulse.backtesting.kernel_fills import stop_distance
from alphapulse.backtesting.models import (
    STOP_CODES,
    STOP_FACTORS,
    EngineParams,
    StopKind,
    StopParams,
    stop_distance_python,
    stop_factors,
)


def factors(kinds, **fields):
    given = EngineParams(stop=fields).values
    values = {name: np.full(len(kinds), given[name]) for name in given if name.startswith("stop.")}
    return stop_factors({**values, "stop.kind": np.array([STOP_CODES[kind] for kind in kinds], dtype=np.float64)})


def test_every_kind_of_stop_has_a_code_and_a_field():
    assert tuple(STOP_CODES) == get_args(StopKind)
    assert sorted(STOP_CODES.values()) == list(range(len(STOP_CODES)))
    assert STOP_FACTORS.keys() <= STOP_CODES.keys()
    assert set(STOP_FACTORS.values()) <= set(StopParams.__dataclass_fields__)


def test_stop_factors_are_those_of_each_kind():
    assert factors(["none", "percent", "atr"], percent=0.07, multiplier=3.0).tolist() == [math.inf, 0.07, 3.0]


@pytest.mark.parametrize("average_range", [0.0, 1.5, math.nan])
@pytest.mark.parametrize("kind", STOP_CODES)
def test_stop_distance_matches_plain(kind, average_range):
    (factor,) = factors([kind])
    arguments = (float(STOP_CODES[kind]), factor, 80.0, average_range)
    np.testing.assert_equal(stop_distance(*arguments), stop_distance_python(*arguments))


@pytest.mark.parametrize(
    ("kind", "factor", "average_range", "distance"),
    [
        ("none", math.inf, 1.5, math.inf),
        ("percent", 0.05, math.nan, 4.0),
        ("atr", 2.0, 1.5, 3.0),
        ("atr", 2.0, math.nan, math.nan),
    ],
)
def test_stop_distance_of_a_hand_worked_fill(kind, factor, average_range, distance):
    np.testing.assert_equal(stop_distance_python(STOP_CODES[kind], factor, 80.0, average_range), distance)
