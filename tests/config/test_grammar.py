from typing import Any, Literal

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from alphapulse.config.grammar import fit, parse, read_space, write_space
from alphapulse.errors import ConfigError
from alphapulse.search.dimensions import CategoricalDimension

KEY = "strategy.x"

TABLE = [
    ("int(interval(10,250))", IntDistribution(10, 250)),
    ("int(interval(1.5,4.5))", IntDistribution(2, 4)),
    ("interval(15,40)", FloatDistribution(15, 40)),
    ("float(interval(15,40))", FloatDistribution(15, 40)),
    ("interval(-1.5,2)", FloatDistribution(-1.5, 2)),
    ("interval(3,3)", FloatDistribution(3, 3)),
    ("int(interval(3,3))", IntDistribution(3, 3)),
    ("range(1.0,5.0,0.5)", FloatDistribution(1.0, 4.5, step=0.5)),
    ("range(0,1,0.1)", FloatDistribution(0.0, 0.9, step=0.1)),
    ("range(1,10,2)", IntDistribution(1, 9, step=2)),
    ("range(1,10)", IntDistribution(1, 9)),
    ("range(10)", IntDistribution(0, 9)),
    ("range(start=1,stop=4)", IntDistribution(1, 3)),
    ("range(5,1,-1)", IntDistribution(2, 5)),
    ("int(range(1.0,5.0))", IntDistribution(1, 4)),
    ("float(range(1,5))", FloatDistribution(1.0, 4.0, step=1.0)),
    ("range(1,2)", IntDistribution(1, 1)),
    ("tag(log,interval(1e-5,1e-2))", FloatDistribution(1e-5, 1e-2, log=True)),
    ("int(tag(log,interval(1,100)))", IntDistribution(1, 100, log=True)),
    ("tag(log,int(interval(1,100)))", IntDistribution(1, 100, log=True)),
    ("a,b", CategoricalDistribution(("a", "b"))),
    ("choice(a,b)", CategoricalDistribution(("a", "b"))),
    ("choice(a)", CategoricalDistribution(("a",))),
    ("1,2,3", CategoricalDistribution((1, 2, 3))),
    ("0.5,1.5", CategoricalDistribution((0.5, 1.5))),
    ("true,false", CategoricalDistribution((True, False))),
    ("a,null", CategoricalDistribution(("a", None))),
    ("choice(a,null,2.5)", CategoricalDistribution(("a", None, 2.5))),
    ("'a, b',\"c'd\"", CategoricalDistribution(("a, b", "c'd"))),
    ("'1',1", CategoricalDistribution(("1", 1))),
    ("int(choice(1.0,2.0))", CategoricalDistribution((1, 2))),
    ("str(1,2)", CategoricalDistribution(("1", "2"))),
]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_read_space_gives_optunas_distribution(text: str, expected: Any) -> None:
    space = read_space({KEY: text})
    assert space.distributions() == {KEY: expected}
    choices = getattr(space.dimensions[0], "choices", ())
    assert [type(c) for c in choices] == [type(c) for c in getattr(expected, "choices", ())]


@pytest.mark.parametrize("text", [text for text, _ in TABLE])
def test_write_space_is_read_back(text: str) -> None:
    space = read_space({KEY: text})
    assert read_space(write_space(space)) == space


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(40,15)", "lower bound first"),
        ("int(interval(250,10))", "write interval(10,250)"),
        ("int(interval(1.2,1.8))", "no whole number"),
        ("interval(0,inf)", "finite"),
        ("interval(nan,1)", "finite"),
        ("int(interval(0,inf))", "finite"),
        ("range(0,inf)", "finite"),
        ("range(5,1)", "empty"),
        ("range(1,1)", "empty"),
        ("range(1,5,0)", "step other than 0"),
        ("range(1,5,10)", "step within its range"),
        ("tag(log,interval(0,1))", "> 0"),
        ("tag(log,range(1,5))", "interval where it is tagged log"),
        ("tag(log,choice(1,5))", "interval where it is tagged log"),
        ("tag(lgo,interval(1,2))", "did you mean 'log'?"),
        ("shuffle(a,b)", "shuffle() has no meaning"),
        ("shuffle(range(1,5))", "shuffle() has no meaning"),
        ("sort(3,1)", "sort() has no meaning"),
        ("glob(*)", "glob() has no meaning"),
        ("a,a", "each choice once"),
        ("a,{b:1}", "lists of them"),
        ("[1,2],[1,nan]", "lists of them"),
        ("[1,2],[1,2]", "each choice once"),
        ("choice(nan,1)", "texts, numbers"),
        ("interval(1)", "missing a required argument"),
        ("interval(a,b)", "mismatch type"),
        ("intervall(1,2)", "Unknown function"),
        ("interval(1,", "Cannot read"),
        ("choice()", "empty choice"),
        ("3", "must be swept"),
    ],
)
def test_read_space_refuses_in_one_line(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_space({KEY: text})
    assert expected in str(refusal.value)
    assert KEY in str(refusal.value)
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_read_space_order_does_not_depend_on_the_keys_order() -> None:
    one, other = {"strategy.b": "1,2", "engine.a": "1,2"}, {"engine.a": "1,2", "strategy.b": "1,2"}
    assert read_space(one) == read_space(other)


def test_fit_converts_choices_to_the_fields_type() -> None:
    fitted = fit(CategoricalDimension(KEY, (1, 2)), float)
    assert [type(choice) for choice in fitted.choices] == [float, float]


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("interval(10,250)", int, "write int(interval(10.0,250.0))"),
        ("range(1.0,5.0,1.0)", int, "write int(range(1.0,5.0,1.0))"),
        ("interval(10,250)", int | None, "write int(interval(10.0,250.0))"),
        ("interval(0,1)", bool, "write strategy.x=true,false"),
        ("interval(0,1)", Literal["atr", "percent"], "write strategy.x=atr,percent"),
        ("interval(0,1)", str, "write strategy.x=a,b"),
        ("atr,percnt", Literal["atr", "percent"], "did you mean 'percent'?"),
        ("1,2.5", int, "an integer"),
        ("a,b", float, "a number"),
        ("1,null", int, "null"),
        ("1,1.0", float, "`strategy.x` must have each choice once, but got 1.0 twice in choice(1.0, 1.0)"),
        ("1,1.0", int, "each choice once"),
        ("1,1.0", Any, "each choice once"),
        ("choice([1,2],[1,true],[1.0,true])", Any, "each choice once"),
    ],
)
def test_fit_refuses_values_of_another_type(text: str, hint: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        fit(read_space({KEY: text}).dimensions[0], hint)
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("int(interval(1,5))", int),
        ("int(interval(1,5))", float),
        ("interval(1,5)", float | None),
        ("1,null", int | None),
    ],
)
def test_fit_accepts(text: str, hint: Any) -> None:
    fit(read_space({KEY: text}).dimensions[0], hint)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("data.symbols=[^GSPC,GC=F, BTC-USD]", ["^GSPC", "GC=F", "BTC-USD"]),
        ("data.symbols=['^GSPC',\"GC=F\"]", ["^GSPC", "GC=F"]),
        ("data.symbols=^GSPC", "^GSPC"),
        ("+data.symbols=[EURUSD=X]", ["EURUSD=X"]),
        ("data.volatility_symbol=^VIX", "^VIX"),
        ("data.volatility_symbol=null", None),
    ],
)
def test_parse_reads_symbols_without_quotes(line: str, value: Any) -> None:
    assert parse(line).value() == value


def test_choices_may_be_lists() -> None:
    space = read_space({KEY: "choice([5,10],[20],[[a,1.5],null])"})
    assert space.dimensions[0] == CategoricalDimension(KEY, ((5, 10), (20,), (("a", 1.5), None)))
    assert fit(space.dimensions[0], Any) == space.dimensions[0]
    assert read_space(write_space(space)) == space
