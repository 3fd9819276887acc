import math

import numpy as np
import pytest

from alphapulse.conversion import as_choice, as_kind


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (bool, True, True),
        (bool, np.bool_(False), False),
        (int, 3, 3),
        (int, 1e6, 1_000_000),
        (int, np.float32(2.0), 2),
        (float, 3, 3.0),
        (float, 2.5, 2.5),
        (float, np.int64(3), 3.0),
        (float, math.inf, math.inf),
        (str, "a", "a"),
        (str, np.str_("a"), "a"),
    ],
)
def test_as_kind(kind, value, expected):
    got = as_kind(kind, value)
    assert got == expected
    assert type(got) is kind


def test_as_kind_keeps_nan():
    assert math.isnan(as_kind(float, math.nan))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (bool, 1),
        (bool, "true"),
        (int, True),
        (int, 2.5),
        (int, math.inf),
        (int, math.nan),
        (int, "3"),
        (float, True),
        (float, "2.5"),
        (float, 10**400),
        (float, None),
        (str, 3),
        (str, None),
    ],
)
def test_as_kind_refuses(kind, value):
    with pytest.raises(TypeError, match=f"must be of type {kind.__name__}"):
        as_kind(kind, value)


def test_as_choice_returns_the_choice_itself():
    assert as_choice(("a", "b"), "b") == "b"
    assert type(as_choice((1, 2), 1.0)) is int
    assert as_choice((1, True), True) is True
    assert as_choice((None, "a"), None) is None


@pytest.mark.parametrize("value", [True, "1", 3, None, math.nan, np.bool_(True)])
def test_as_choice_refuses(value):
    with pytest.raises(ValueError, match="must be one of 1, 2"):
        as_choice((1, 2), value)
