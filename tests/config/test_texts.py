"""Names stay as they are typed."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.config.grammar import parse
from alphapulse.config.texts import quote_texts, quote_yaml, split_items, text_keys
from alphapulse.plain import command_line, in_quotes

Run = Callable[..., Any]

NUMBERS = ["1.1", "1.10", "2e3", "TRUE", "NAN", "1_0", "NULL", "Null", "None", "~", "inf", "on", "007", "0x1f", "1:30"]
NASTY = [
    "rates & oil", "a'b", 'a"b', "a\\b", "a\\", "$HOME", "a${b}", "x=y", "ü", "a,b", "[a]", "{a:b}", "#1", "a(b)",
    "`ls`", "a;b", "~x", "a*", "-1", "?",
]  # fmt: skip


def test_text_keys_are_those_of_all_commands() -> None:
    assert {"study", "data.symbols", "data.volatility_symbol", "data.start", "db.password", "search.enqueue"} <= (
        text_keys()
    )
    assert {"provider.path", "hydra.run.dir", "trial", "n_trials"} & text_keys() == {"provider.path", "trial"}


@pytest.mark.parametrize("name", [*NUMBERS, "null"])
@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"'])
def test_study_is_a_text(run: Run, name: str, form: str) -> None:
    assert run("report", f"study={form.format(name)}").study == name
    assert run("sweep", f"study={form.format(name)}").study == name


@pytest.mark.parametrize("symbol", [*NUMBERS, "^GSPC", "GC=F", "BTC-USD", "BRK.B", "NO"])
def test_symbols_are_texts(run: Run, symbol: str) -> None:
    config = run("backtest", f"data.symbols=[{symbol}, 'B C',{symbol}x]", f"data.volatility_symbol={symbol}")
    assert config.data.symbols == (symbol, "B C", f"{symbol}x")
    assert config.data.volatility_symbol == symbol


def test_null_takes_a_text_away(run: Run) -> None:
    config = run("backtest", "data.volatility_symbol=null", "data.start=null", "db.name=null")
    assert (config.data.volatility_symbol, config.data.start, config.db.name) == (None, None, None)


def test_password_and_names_of_the_database_are_texts(run: Run) -> None:
    db = run("report", "study=x", "db.password=007", "db.user=1e3", "db.name=true").db
    assert (db.password, db.user, db.name) == ("007", "1e3", "true")


def test_dates_are_texts(run: Run) -> None:
    for command in ("backtest", "download"):
        data = run(command, "data.start=20150101", "data.end=2016-01-01").data
        assert (data.start, data.end) == ("20150101", "2016-01-01")


def test_experiment_is_found_by_its_name(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "sweeps").mkdir(parents=True)
    (own / "sweeps" / "1.10.yaml").write_text(
        "overrides: ['data.symbols=[TRUE]']\nspace: {strategy.ma_window: '10,20'}\n"
    )
    config = run("sweep", "--config-dir", "own", "sweeps=1.10")
    assert (config.sweeps, config.data.symbols) == ("1.10", ("TRUE",))


def test_own_files_keep_names(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "data").mkdir(parents=True)
    (own / "data" / "mine.yaml").write_text(
        "source: database\nsymbols: [TRUE, 1.10, NO, 'Q', NULL]\nvolatility_symbol: 2e3 # a name\nstart: 2015-01-01\n"
        "end: null\n"
    )
    (own / "mine.yaml").write_text(
        "defaults: [defaults, {data: mine}, {strategy: long_short}, {engine: default}, {search: tpe}, {cluster: local},"
        " {db: default}, {validation: default}, _self_]\nstudy: 1.10\nn_trials: 7\nobjective: sharpe_ratio\n"
    )
    config = run("sweep", "--config-dir", "own", "--config-name", "mine", "sweeps=none", "strategy.ma_window=10,20")
    assert (config.study, config.n_trials, config.objective) == ("1.10", 7, ("sharpe_ratio",))
    assert config.data.symbols == ("TRUE", "1.10", "NO", "Q", "NULL")
    assert (config.data.volatility_symbol, config.data.start, config.data.end) == ("2e3", "2015-01-01", None)
    (own / "data" / "mine.yaml").write_text("# @package _global_\ndata: {symbols: [1_0]}\nseed: 1_0\n")
    config = run("sweep", "--config-dir", "own", "data=mine", "sweeps=none", "strategy.ma_window=10,20")
    assert (config.data.symbols, config.seed) == (("1_0",), 10)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sharpe_ratio", "sharpe_ratio"),
        ("sharpe_ratio - 2*abs(max_drawdown)", "sharpe_ratio - 2*abs(max_drawdown)"),
        ("-max_drawdown", "-max_drawdown"),
        ("max(a, b) if", "max(a, b) if"),
        ("'a >= 3'", "a >= 3"),
        ("\"a == 'b, c'\"", "a == 'b, c'"),
        ("a == 'b, c'", "a == 'b, c'"),
        ("[n_trades >= 30, max_drawdown >= -0.25]", ["n_trades >= 30", "max_drawdown >= -0.25"]),
        ('["n_trades >= 30",max(a, b) < 1]', ["n_trades >= 30", "max(a, b) < 1"]),
        ("[min(a, max(b, c)) > 1, 'x' == y]", ["min(a, max(b, c)) > 1", "'x' == y"]),
        ("[1e3]", ["1e3"]),
        ("[]", []),
        ("null", None),
        ("${x}", "${x}"),
    ],
)
def test_expressions_are_texts(written: str, expected: Any) -> None:
    value = parse(f"objective={written}").value()
    assert ([str(item) for item in value] if isinstance(value, list) else value and str(value)) == expected
    # A line is parsed more than once on its way.
    line = quote_texts(f"objective={written}")
    assert quote_texts(line) == line


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["C"], exclude_characters="$"), min_size=1))
def test_list_of_expressions_is_read_back(text: str) -> None:
    line = quote_texts(f"objective=[{in_quotes(text)},a > 1]")
    assert [str(item) for item in parse(line).value()] == [text, "a > 1"]
    assert quote_texts(line) == line


def test_split_items_looks_for_commas_outside_of_brackets_and_quotes() -> None:
    assert split_items("a, max(b, [c, d]), 'e, f'") == ["a", "max(b, [c, d])", "'e, f'"]
    assert split_items(" ") == []


def test_quote_yaml_changes_nothing_else() -> None:
    text = "study: ${oc.env:X,1}\nseed: 1.0\ndata:\n  symbols: &a\n  - it's\n  - 1\nstrategy: {symbols: [1.10]}\n"
    expected = text.replace("it's", "'it''s'").replace("- 1\n", "- '1'\n")
    assert quote_yaml(text) == expected
    assert quote_yaml("") == ""


@pytest.mark.parametrize("name", [*NUMBERS, *NASTY, "null"])
def test_printed_line_names_the_same_study(run: Run, name: str) -> None:
    line = command_line("report", study=name)
    program, _, module, *arguments = shlex.split(line)
    assert (program, module) == ("python", "alphapulse.report")
    assert run("report", *arguments).study == name


def test_printed_line_is_plain_where_it_can_be() -> None:
    assert command_line("report", study="rates & oil") == """python -m alphapulse.report 'study="rates & oil"'"""
    assert command_line("weigh", study="a-1.10", validation__null_sweeps=999) == (
        "python -m alphapulse.weigh study=a-1.10 validation.null_sweeps=999"
    )
    assert command_line("download", data__symbols=["^GSPC", "A B"]) == (
        """python -m alphapulse.download 'data.symbols=[^GSPC,"A B"]'"""
    )


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["C"]), min_size=1))
def test_printed_line_is_read_back(name: str) -> None:
    *_, argument = shlex.split(command_line("report", study=name))
    assert str(parse(argument).value()).replace("\\${", "${") == name


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("where=n_trades > 30", "n_trades > 30"),
        ("where=abs(beta) < -.1 and a == 'b, c'", "abs(beta) < -.1 and a == 'b, c'"),
        ("trial=1,737", "1,737"),
        ("trial=best", "best"),
        ("where='beta > 0'", "beta > 0"),
    ],
)
def test_text_of_another_language_stays_as_it_is_typed(line, value):
    assert parse(line).value() == value
