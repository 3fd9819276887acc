"""What holds for every kind of dimension; another kind needs its examples in `EXAMPLES` and nothing else here."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.config.grammar import read_space
from alphapulse.errors import ConfigError
from alphapulse.search.dimensions import CategoricalDimension, Dimension, FloatDimension, IntDimension
from alphapulse.search.samplers._encoding import Encoding
from alphapulse.search.samplers.grid import GridSampler
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array1D
from alphapulse.validation.plateau import ParameterGrid, neighbours

KEY = "strategy.x"
TEXTS = st.text(st.characters(codec="ascii", exclude_categories=["C"]))


def stepped(low: int, step: int, n_steps: int) -> FloatDimension:
    """Return the multiples of hundredths whose decimals are written out, as a user writes them."""
    start, distance = Decimal(low) / 100, Decimal(step) / 100
    return FloatDimension(KEY, float(start), float(start + n_steps * distance), float(distance))


EXAMPLES: dict[type[Dimension], st.SearchStrategy[Dimension]] = {
    IntDimension: st.one_of(
        st.builds(
            lambda low, width: IntDimension(KEY, low, low + width), st.integers(-(10**6), 10**6), st.integers(0, 10**6)
        ),
        st.builds(
            lambda low, width: IntDimension(KEY, low, low + width, log=True), st.integers(1, 100), st.integers(0, 1000)
        ),
        st.builds(
            lambda low, step, n_steps: IntDimension(KEY, low, low + n_steps * step, step),
            st.integers(-1000, 1000),
            st.integers(1, 50),
            st.integers(1, 50),
        ),
    ),
    FloatDimension: st.one_of(
        st.builds(lambda low, width: FloatDimension(KEY, low, low + width), st.floats(-1e6, 1e6), st.floats(0, 1e6)),
        st.builds(
            lambda low, factor: FloatDimension(KEY, low, low * factor, log=True),
            st.floats(1e-6, 1e3),
            st.floats(1, 1e6),
        ),
        st.builds(stepped, st.integers(-1000, 1000), st.integers(1, 100), st.integers(1, 100)),
    ),
    CategoricalDimension: st.builds(
        lambda choices: CategoricalDimension(KEY, tuple(choices)),
        st.one_of(
            st.lists(
                st.one_of(TEXTS, st.integers(-1000, 1000), st.floats(-1e9, 1e9), st.booleans(), st.none()),
                min_size=1,
                max_size=5,
                unique_by=lambda choice: (type(choice), choice),
            ),
            st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20, unique=True),
            st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20, unique=True),
        ),
    ),
}


def every_kind(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test of a dimension over examples of every kind that there is."""

    def run(kind: type[Dimension], data: st.DataObject) -> None:
        test(draw(data, kind))

    run.__name__ = test.__name__
    # The first example compiles.
    run = settings(deadline=None, max_examples=50)(given(data=st.data())(run))
    return pytest.mark.parametrize("kind", Dimension.__subclasses__(), ids=lambda kind: kind.__name__)(run)


def draw(data: st.DataObject, kind: type[Dimension]) -> Dimension:
    assert kind in EXAMPLES, f"{kind.__name__} needs examples"
    return data.draw(EXAMPLES[kind])


def parameters_of(dimension: Dimension) -> Float64Array1D:
    """Return parameters all over the range, its ends among them, sorted."""
    return np.unique(Encoding.of(SearchSpace((dimension,))).decode(np.linspace(0.0, 1.0, 101)[:, None]))


def there_and_back(dimension: Dimension, parameters: Float64Array1D) -> Float64Array1D:
    encoding = Encoding.of(SearchSpace((dimension,)))
    return encoding.decode(encoding.encode(parameters[:, None]))[:, 0]


def assert_are_parameters(dimension: Dimension, parameters: Float64Array1D) -> None:
    """Assert that they are, but for rounding, among the numbers that the search can propose."""
    low, high = dimension.bounds
    np.testing.assert_allclose(parameters, np.clip(parameters, low, high), rtol=1e-12)
    found = there_and_back(dimension, parameters)
    np.testing.assert_allclose(found, parameters, rtol=1e-9, atol=1e-9 * (high - low))


@every_kind
def test_json_is_read_back(dimension: Dimension) -> None:
    stored = json.loads(json.dumps(dimension.to_json()))
    assert list(stored) == ["key", "kind", "low", "high", "step", "log", "choices"]
    assert repr(Dimension.from_json(stored)) == repr(dimension)


@every_kind
def test_grammar_is_read_back(dimension: Dimension) -> None:
    assert repr(read_space({KEY: dimension.to_grammar()}).dimensions[0]) == repr(dimension)


@every_kind
def test_values_are_within_the_ends(dimension: Dimension) -> None:
    parameters = parameters_of(dimension)
    values: list[Any] = [dimension.value(p) for p in parameters]
    if dimension.is_ordered:
        low, high = dimension.ends
        assert values == sorted(values)
        assert low <= values[0] <= values[-1] <= high
    else:
        assert {repr(value) for value in values} == {repr(value) for value in dimension.ends}
    assert dimension.ends[0] in dimension.probes
    assert dimension.ends[-1] in dimension.probes
    assert dimension.value(dimension.middle) in dimension.probes
    assert_are_parameters(dimension, np.array([*dimension.bounds, dimension.middle]))


@every_kind
def test_parameter_is_read_back_from_its_value(dimension: Dimension) -> None:
    for parameter in parameters_of(dimension):
        found = dimension.parameter(dimension.value(parameter))
        assert found is not None
        if dimension.is_continuous:
            assert found == parameter
        else:
            assert dimension.places(np.array([found])) == dimension.places(np.array([parameter]))
            assert_are_parameters(dimension, np.array([found]))
    assert dimension.parameter("no such value \0") is None


@pytest.mark.parametrize(
    ("dimension", "value", "parameter"),
    [
        (IntDimension(KEY, 5, 30), 30.0, 30.0),
        (IntDimension(KEY, 5, 30), 31, None),
        (IntDimension(KEY, 5, 30), 5.5, None),
        (IntDimension(KEY, 0, 1), True, None),
        (IntDimension(KEY, 5, 30, step=5), 12, None),
        (FloatDimension(KEY, 0.0, 1.0), float("nan"), None),
        (FloatDimension(KEY, 0.0, 1.0), None, None),
        (FloatDimension(KEY, 0.0, 0.9, step=0.3), 0.6, 0.6),
        (FloatDimension(KEY, 0.0, 0.9, step=0.3), 0.65, None),
        (FloatDimension(KEY, 0.1, 0.4, step=0.1), 0.3, 0.1 + 2 * 0.1),
        (CategoricalDimension(KEY, (1, True, None, "a")), True, 1.0),
        (CategoricalDimension(KEY, (1, True, None, "a")), 1.0, 0.0),
        (CategoricalDimension(KEY, (1, True, None, "a")), None, 2.0),
        (CategoricalDimension(KEY, ("a", "b")), "c", None),
    ],
)
def test_parameter_of_a_value(dimension: Dimension, value: Any, parameter: float | None) -> None:
    assert dimension.parameter(value) == parameter


@every_kind
def test_column_is_the_values(dimension: Dimension) -> None:
    parameters = parameters_of(dimension)
    column = dimension.column(parameters)
    assert [repr(x) for x in (column.tolist() if isinstance(column, np.ndarray) else column)] == [
        repr(dimension.value(p)) for p in parameters
    ]


@every_kind
def test_size_is_the_number_of_grid_points(dimension: Dimension) -> None:
    space = SearchSpace((dimension,))
    if dimension.is_continuous:
        assert dimension.size is None
        with pytest.raises(ConfigError, match="continuous"):
            GridSampler(space, seed=0, directions=("maximize",))
        return
    points = np.sort(GridSampler(space, seed=0, directions=("maximize",), generation_size=10**4).propose(0)[:, 0])
    assert dimension.size is not None
    assert len(np.unique(points)) == min(dimension.size, 10**4)
    assert_are_parameters(dimension, points)
    places = dimension.places(points)
    assert len(np.unique(places)) == len(points)
    assert places[0] >= 0
    assert places[-1] < dimension.size


@every_kind
def test_decoding_inverts_encoding(dimension: Dimension) -> None:
    parameters = parameters_of(dimension)
    assert_are_parameters(dimension, parameters)
    if not dimension.is_continuous:
        np.testing.assert_array_equal(there_and_back(dimension, parameters), parameters)


@every_kind
def test_neighbours_are_parameters(dimension: Dimension) -> None:
    around = neighbours(ParameterGrid.of([dimension]), parameters_of(dimension)[:, None])
    assert around.shape[1:] == (2 if dimension.is_ordered else 0, 1)
    if dimension.is_ordered:
        assert_are_parameters(dimension, around.ravel())


@every_kind
def test_distribution_holds_every_value(dimension: Dimension) -> None:
    distribution = dimension.distribution()
    for parameter in parameters_of(dimension).tolist():
        assert distribution._contains(parameter)
        assert repr(distribution.to_external_repr(parameter)) == repr(dimension.value(parameter))


@pytest.mark.parametrize(
    ("dimension", "description", "stored"),
    [
        (
            IntDimension(KEY, 10, 250),
            "int[10, 250]",
            '"kind": "int", "low": 10.0, "high": 250.0, "step": null, "log": false, "choices": []',
        ),
        (
            IntDimension(KEY, 1, 9, step=2),
            "int[1, 9, step 2]",
            '"kind": "int", "low": 1.0, "high": 9.0, "step": 2.0, "log": false, "choices": []',
        ),
        (
            FloatDimension(KEY, 1e-5, 0.01, log=True),
            "float[1e-05, 0.01, log]",
            '"kind": "float", "low": 1e-05, "high": 0.01, "step": null, "log": true, "choices": []',
        ),
        (
            CategoricalDimension(KEY, ("a", 1, 2.0, True, None)),
            "choice(a, 1, 2.0, True, None)",
            '"kind": "categorical", "low": 0.0, "high": 0.0, "step": null, "log": false, '
            '"choices": ["a", 1, 2.0, true, null]',
        ),
    ],
)
def test_stored_form_stays(dimension: Dimension, description: str, stored: str) -> None:
    assert dimension.describe() == description
    assert json.dumps(dimension.to_json()) == f'{{"key": "strategy.x", {stored}}}'


def test_from_json_refuses_an_unknown_kind() -> None:
    with pytest.raises(ConfigError, match=r"`strategy.x` .* got 'ordinal'"):
        Dimension.from_json({**IntDimension(KEY, 1, 2).to_json(), "kind": "ordinal"})


@given(st.text(st.sampled_from("a'\"\\, ")))
def test_texts_are_quoted_as_hydra_quotes_them(text: str) -> None:
    expected = QuotedString(text, Quote.single).with_quotes()
    assert CategoricalDimension(KEY, (text,)).to_grammar() == f"choice({expected})"


@pytest.mark.parametrize(
    ("dimension", "types", "fits"),
    [
        (IntDimension(KEY, 1, 5), {int}, True),
        (IntDimension(KEY, 1, 5), {float}, True),
        (IntDimension(KEY, 1, 5), {bool}, False),
        (FloatDimension(KEY, 1, 5), {float}, True),
        (FloatDimension(KEY, 1, 5), {int}, False),
    ],
)
def test_fitted_is_none_where_numbers_are_of_no_such_type(dimension: Dimension, types: set[type], fits: bool) -> None:
    assert dimension.fitted(types, lambda choice: choice) is (dimension if fits else None)


LISTS = CategoricalDimension(KEY, ((5, 10, 20), (20, 60), "all", (("a", None),)))


def test_lists_are_choices() -> None:
    assert LISTS.parameter([20, 60]) == LISTS.parameter((20.0, 60)) == 1.0
    assert LISTS.parameter([True, 60]) is LISTS.parameter([20]) is None
    column = LISTS.column(np.array([1.0, 0.0, 2.0]))
    assert (column.shape, list(column)) == ((3,), [(20, 60), (5, 10, 20), "all"])
    assert LISTS.describe() == "choice([5, 10, 20], [20, 60], all, [[a, None]])"
    assert Dimension.from_json(json.loads(json.dumps(LISTS.to_json()))) == LISTS


def test_lists_are_texts_to_optuna() -> None:
    distribution = LISTS.distribution()
    assert [distribution.to_external_repr(place) for place in range(3)] == ["[5, 10, 20]", "[20, 60]", "all"]
