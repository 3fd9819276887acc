"""Expressions over columns: what they may hold, what they are worth, and by how much a condition is broken."""

import pickle

import numpy as np
import pytest

from alphapulse.errors import ConfigError
from alphapulse.search.expressions import read_condition, read_expression, rename

COLUMNS = {
    "fast": np.array([1, 5, 30]),
    "strategy.slow": np.array([21.0, 30.0, 10.0]),
    "engine.stop.kind": ["atr", "none", "none"],
    "loss": np.array([-0.5, np.nan, 0.0]),
    "rate": 0.5,
}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("fast", [1.0, 5.0, 30.0]),
        ("-fast + 2 * rate", [0.0, -4.0, -29.0]),
        ("strategy.slow / fast // 1 % 4", [1.0, 2.0, 0.0]),
        ("abs(loss)", [0.5, np.nan, 0.0]),
        ("min(fast, strategy.slow, 7)", [1.0, 5.0, 7.0]),
        ("max(fast, 7) - fast**2", [6.0, -18.0, -870.0]),
        ("fast / loss", [-2.0, np.nan, np.inf]),
    ],
)
def test_evaluate_is_arithmetic_on_columns(text, right):
    np.testing.assert_array_equal(read_expression(text).evaluate(COLUMNS), right)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("fast + 20 <= strategy.slow", [True, True, False]),
        ("1 < fast <= 30", [False, True, True]),
        ("engine.stop.kind == 'atr'", [True, False, False]),
        ("not engine.stop.kind == 'atr' and fast > 5", [False, False, True]),
        ("engine.stop.kind != 'atr' or loss < 0", [True, True, True]),
        ("loss <= 0", [True, False, True]),
        ("engine.stop.kind < 3", [False, False, False]),
    ],
)
def test_evaluate_a_condition_is_true_or_false(text, right):
    np.testing.assert_array_equal(read_condition(text).evaluate(COLUMNS), right)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("fast >= 30", [29.0, 25.0, 0.0]),
        ("fast <= 5", [-4.0, 0.0, 25.0]),
        ("loss >= -0.25", [0.25, np.nan, -0.25]),
        ("fast >= 2 and fast <= 10", [1.0, -3.0, 20.0]),
        ("fast >= 40 or loss >= 0", [0.5, 35.0, 0.0]),
        ("fast == 5", [4.0, 0.0, 25.0]),
        ("engine.stop.kind == 'atr'", [0.0, 1.0, 1.0]),
    ],
)
def test_violation_is_how_far_a_condition_is_from_holding(text, right):
    np.testing.assert_allclose(read_condition(text).violation(COLUMNS), right)


def test_violation_of_equal_sides_that_must_differ_is_above_zero():
    assert 0 < read_condition("fast < 5").violation(COLUMNS)[1] < 1e-300
    assert 0 < read_condition("fast != 5").violation(COLUMNS)[1] < 1e-300


def test_violation_is_above_zero_just_where_the_condition_is_false():
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 3, 500).astype(float) for name in "abc"}
    for text in ("a < b", "a <= b < c", "a == b or b > c", "a != b and not c >= 1", "a - b > c / 2"):
        condition = read_condition(text)
        np.testing.assert_array_equal(condition.violation(columns) > 0, ~condition.evaluate(columns))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("__import__('os')", "no function"),
        ("a.b()", "no function"),
        ("(lambda: 1)()", "no function"),
        ("a <", "invalid syntax"),
        ("", "invalid syntax"),
        ("a ** 0.5", "whole number"),
        ("a ** 99", "whole number"),
        ("[a]", "none of these"),
        ("a[0]", "none of these"),
        ("a if b else c", "none of these"),
        ("a in b", "none of these"),
        ("min(a)", "at least 2"),
        ("abs(a, b)", "takes 1"),
        ("(a + b).c", "no name"),
        ("a" + "+a" * 50_000, "`constraints`"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_key(text, word):
    with pytest.raises(ConfigError, match="`constraints`") as caught:
        read_expression(text, "constraints")
    assert word in str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"`feasible` .* 'sharpe_ration' .* did you mean 'sharpe_ratio'"):
        read_condition("sharpe_ration > 1", "feasible", ["sharpe_ratio", "n_trades"])


def test_a_condition_must_compare():
    with pytest.raises(ConfigError, match="`constraints` must compare something"):
        read_condition("fast", "constraints")


def test_an_expression_travels_as_its_text():
    expression = read_condition("fast < strategy.slow")
    assert pickle.loads(pickle.dumps(expression)) == expression
    assert expression.names == ("fast", "strategy.slow")


def test_rename_changes_every_name_and_nothing_else():
    expression = read_condition("max(fast, 2)*2 < engine.slow - 1 and not kind == 'fast'")
    renamed = rename(expression, lambda name: f"strategy.{name}")
    assert renamed.names == ("strategy.fast", "strategy.engine.slow", "strategy.kind")
    columns = {"fast": [1.0, 9.0], "engine.slow": [8.0, 8.0], "kind": ["a", "a"]}
    moved = {f"strategy.{name}": column for name, column in columns.items()}
    assert renamed.evaluate(moved).tolist() == expression.evaluate(columns).tolist() == [True, False]
