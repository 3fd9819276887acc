import datetime
import json
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pytest

from alphapulse.config.grammar import parse
from alphapulse.plain import override_lines, plain


@dataclass(frozen=True)
class Inner:
    values: tuple[float, ...] = (1.0, float("nan"))


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Outer(), {"name": "x", "inner": {"values": [1.0, None]}}),
        (MappingProxyType({1: (2, 3)}), {"1": [2, 3]}),
        (np.array([[1.5, np.inf], [np.nan, 2.0]]), [[1.5, None], [None, 2.0]]),
        (np.float64(0.1), 0.1),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (float("-inf"), None),
        (True, True),
        (None, None),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (np.datetime64("2020-01-02"), "2020-01-02"),
        (Outer, str(Outer)),
    ],
)
def test_plain_is_what_json_has(value, expected):
    got = plain(value)
    assert got == expected
    assert type(got) is type(expected)
    assert json.loads(json.dumps(got, allow_nan=False)) == expected


def test_plain_numpy_scalars_become_pythons():
    assert [type(item) for item in plain([np.float32(1), np.int64(1), np.bool_(False)])] == [float, int, bool]


def test_override_lines_are_read_back():
    symbols = {"BRK.B": {"lot": 1.0}, "EURUSD=X": {"lot": 1000.0, "slippage": 0.0}}
    lines = override_lines({"engine": {"lot": 0.5, "by_symbol": symbols, "stop": {"kind": "none"}}})
    found = {override.key_or_group: override.value() for override in map(parse, lines)}
    assert found == {"engine.lot": 0.5, "engine.by_symbol": symbols, "engine.stop.kind": "none"}
    few = override_lines({"engine": {"by_symbol": {"SPY": {"lot": 1.0}}}})
    assert few == ["engine.by_symbol.SPY.lot=1.0"]
