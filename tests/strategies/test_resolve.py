import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alphapulse.errors import StrategyError
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.strategies.breakout import Breakout
from alphapulse.strategies.indicators import atr
from alphapulse.strategies.long_short import LongShort
from alphapulse.strategies.resolve import resolve
from alphapulse.strategies.sma_cross import SmaCross
from alphapulse.validation.lookahead import check_lookahead, gate_points

README = (Path(__file__).parents[2] / "README.md").read_text()
# The strategies that the README shows are the ones that are tested.
MOMENTUM, REVERSAL = (block.partition("```")[0] for block in README.split("```python\n")[1:3])

FORMS = """
from dataclasses import dataclass, field
from typing import Literal, Optional

import numpy as np
from numba import njit

from alphapulse.strategies.base import Bars


def plain(close, volume, window=20, *, size: float = 1):
    return np.where(close > np.roll(close, window), size, 0.0)


@dataclass(frozen=True)
class Params:
    window: int = 20
    side: Literal["long", "short"] = "long"


def bundled(bars: Bars, params: Params):
    return np.full(len(bars), params.window * (1.0 if params.side == "long" else -1.0))


@njit
def compiled(close, window=20, size=1.0):
    out = np.zeros(len(close))
    for t in range(window, len(close)):
        out[t] = size if close[t] > close[t - window] else -size
    return out


class Plain:
    def __init__(self, window: int = 7, limit: Optional[float] = None, flag: bool = False):
        self.window, self.limit = window, limit

    def target(self, bars):
        return bars.close > bars.open

    def lookback(self):
        return self.window * 3

    def atr(self, bars):
        return bars.high - bars.low


@dataclass
class Listed:
    weights: list = field(default_factory=lambda: [1.0, 2.0])
    atr_window: int = 5

    def target(self, bars):
        return np.ones(len(bars))


class Bare:
    window: int = 20

    def target(self, bars):
        return np.ones(len(bars))


class NoTarget:
    pass


def needs(close, window):
    return close


def contradicts(close, window: int = 2.5):
    return close


def misbehaves(close, kind="shape"):
    if kind == "shape":
        return close[1:]
    if kind == "raise":
        return 1 / 0
    if kind == "writes":
        close[0] = 1.0
    if kind == "text":
        return "up"
    out = np.ones(len(close))
    out[700] = {"nan": np.nan, "inf": np.inf}.get(kind, 1.0)
    return out


number = 5
"""


@pytest.fixture
def forms(write_module):
    return write_module(FORMS, "forms")


@pytest.mark.parametrize(("name", "cls"), [("long_short", LongShort), ("sma_cross", SmaCross), ("breakout", Breakout)])
def test_resolve_knows_built_in_by_short_name_and_path(name, cls):
    definition = resolve(name)
    assert definition.subject is cls
    assert definition.name == cls.__name__
    assert definition.build({}) == cls()
    assert resolve(definition.target).source_hash == definition.source_hash
    assert len(definition.source_hash) == 64


def test_resolve_takes_a_strategy_of_thirty_lines(write_module, bars):
    definition = resolve("momentum.Momentum", write_module(MOMENTUM, "momentum"))
    assert {n: (p.type, p.default) for n, p in definition.parameters.items()} == {
        "fast_window": (int, 20),
        "slow_window": (int, 120),
        "volatility_window": (int, 20),
        "calm": (float, 30.0),
    }
    check_lookahead(definition, bars, gate_points({}, {"slow_window": [20, 60, 250], "calm": [10.0, 50.0]}))
    columns = {"slow_window": np.array([20, 60, 60, 120, 120]), "calm": np.array([20.0, 15, 25, 30, 40])}
    cache = IndicatorCache()
    block = definition.block(bars, columns, 5, cache)
    assert not block.failures
    out = np.empty((5, len(bars)))
    block.fill(0, len(bars), np.arange(len(out)), out)
    for trial in range(5):
        values = {name: column[trial] for name, column in columns.items()}
        strategy = definition.build(values)
        assert np.array_equal(np.nan_to_num(strategy.target(bars)), out[trial])
        assert definition.lookback(values) == columns["slow_window"][trial]
    assert set(np.unique(out)) == {-1.0, 0.0, 1.0}
    # Three averages, one volatility and one average true range are all that was computed.
    assert cache.n_bytes == 3 * 4 * 8 * len(bars)


def test_resolve_takes_the_compiled_function_of_the_readme(write_module, bars):
    definition = resolve("reversal.reversal", write_module(REVERSAL, "reversal"))
    check_lookahead(definition, bars, gate_points({}, {"window": [5, 10, 40]}))
    assert set(np.unique(definition.build({"window": 5, "size": 0.5}).target(bars))) == {-0.5, 0.0, 0.5}


def test_resolve_reads_parameters_of_every_form(forms):
    def read(name):
        return {n: (p.type, p.default) for n, p in resolve(f"forms.{name}", forms).parameters.items()}

    assert read("plain") == {"window": (int, 20), "size": (float, 1.0)}
    assert read("bundled") == {"window": (int, 20), "side": (str, "long")}
    assert read("compiled") == {"window": (int, 20), "size": (float, 1.0)}
    assert read("Plain") == {"window": (int, 7), "limit": (float, None), "flag": (bool, False)}
    assert read("Listed") == {"weights": (object, [1.0, 2.0]), "atr_window": (int, 5)}
    assert resolve("forms.bundled", forms).parameters["side"].choices == ("long", "short")


def test_build_runs_every_form(forms, bars):
    def run(name, **values):
        return resolve(f"forms.{name}", forms).build(values).target(bars)

    assert set(np.unique(run("plain", window=5, size=0.5))) == {0.0, 0.5}
    assert (run("bundled", window=3, side="short") == -3.0).all()
    assert set(np.unique(run("compiled", window=np.int64(9), size=2))) <= {-2.0, 0.0, 2.0}
    assert run("Plain").dtype == bool
    assert resolve("forms.Plain", forms).lookback({"window": 4}) == 12
    assert resolve("forms.compiled", forms).lookback({"window": 33}) == 33


def test_block_of_a_compiled_function_rides_the_lanes(forms, bars):
    definition = resolve("forms.compiled", forms)
    windows = np.array([2, 5, 9, 9])
    block = definition.block(bars, {"window": windows}, 4, IndicatorCache())
    out = np.empty((4, len(bars)))
    block.fill(0, len(bars), np.arange(len(out)), out)
    for trial, window in enumerate(windows):
        assert np.array_equal(out[trial], definition.subject.py_func(bars.close, window))
    expected = atr(bars.high, bars.low, bars.close, 14)
    assert np.array_equal(block.atr[block.atr_row[2]], expected, equal_nan=True)


def test_block_uses_the_strategys_own_atr(forms, bars):
    block = resolve("forms.Plain", forms).block(bars, {}, 3, IndicatorCache())
    assert np.array_equal(block.atr[block.atr_row[1]], bars.high - bars.low)
    block = resolve("forms.Listed", forms).block(bars, {"atr_window": np.array([5, 9, 5])}, 3, IndicatorCache())
    assert block.atr.shape == (2, len(bars))
    assert np.array_equal(block.atr[block.atr_row[1]], atr(bars.high, bars.low, bars.close, 9), equal_nan=True)


def test_block_calls_target_once_for_equal_parameters(bars, write_module):
    text = "calls = []\n\n\ndef f(close, window=3):\n    calls.append(window)\n    return close * 0.0\n"
    definition = resolve("counting.f", write_module(text, "counting"))
    definition.block(bars, {"window": np.array([3, 4, 3, 4])}, 4, IndicatorCache())
    assert sys.modules["counting"].calls == [3, 4]


def test_block_tells_a_list_that_all_share_from_one_for_each(bars, write_module):
    text = "import numpy as np\n\ndef f(close, windows=(1, 2)):\n    return np.full(len(close), float(sum(windows)))\n"
    definition = resolve("ladder.f", write_module(text, "ladder"))
    column = np.empty(3, dtype=object)
    for place, windows in enumerate([(5, 10, 20), (1,), (2, 3)]):
        column[place] = windows
    for values, sums in (([5, 10, 20], [35, 35, 35]), (column, [35, 1, 5]), ([(5,), (1, 2), (4, 4, 4)], [5, 3, 12])):
        block = definition.block(bars, {"windows": values}, 3)
        out = np.empty((3, len(bars)))
        block.fill(0, len(bars), np.arange(3), out)
        assert out[:, -1].tolist() == sums


def test_block_keeps_failures_to_their_trials(forms, bars):
    kinds = ["nan", "shape", "raise", "inf", "writes", "text", "fine"]
    block = resolve("forms.misbehaves", forms).block(bars, {"kind": kinds}, 7, IndicatorCache())
    out = np.full((7, len(bars)), np.nan)
    block.fill(0, len(bars), np.arange(len(out)), out)
    assert sorted(block.failures) == [0, 1, 2, 3, 4, 5]
    assert (out[:6] == 0).all()
    assert (out[6] == 1).all()
    assert block.failures[0].startswith("ValueError: `target` must be finite, but got nan at 1971-12-02; ")
    assert block.failures[1].startswith(
        "ValueError: `target` must be one number a bar, shape (1200,), but got shape (1199,)"
    )
    # The rule bites in a file of ours, what breaks it is in the user's.
    assert all(re.search(r"\(forms\.py, line \d+\)\.$", block.failures[place]) for place in (0, 1, 3))
    assert block.failures[2].startswith("ZeroDivisionError: division by zero (forms.py, line ")
    assert "got inf at 1971-12-02" in block.failures[3]
    assert "read-only" in block.failures[4]
    assert "must be one number a bar" in block.failures[5]


def test_block_fails_trials_whose_values_do_not_fit(bars):
    block = resolve("long_short").block(bars, {"ma_window": np.array([20.0, 20.5]), "atr_window": 10}, 2)
    assert list(block.failures) == [1]
    assert "`strategy.ma_window` must be a whole number, but got 20.5" in block.failures[1]
    out = np.empty((2, len(bars)))
    block.fill(0, len(bars), np.arange(len(out)), out)
    assert np.array_equal(out[0], LongShort(ma_window=20, atr_window=10).target(bars))
    assert (out[1] == 0).all()


def test_nan_before_the_lookback_is_flat(bars, write_module):
    text = "import numpy as np\n\n\ndef f(close, window=30):\n    out = np.ones(len(close))\n"
    text += "    out[:{n}] = np.nan\n    return out\n"
    block = resolve("late.f", write_module(text.format(n="window"), "late")).block(bars, {}, 1)
    out = np.empty((1, len(bars)))
    block.fill(0, len(bars), np.arange(len(out)), out)
    assert out[0].tolist() == [0.0] * 30 + [1.0] * (len(bars) - 30)
    block = resolve("later.f", write_module(text.format(n="window + 1"), "later")).block(bars, {}, 1)
    assert "NaN is flat in the first 30 bars only" in block.failures[0]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("forms.plian", "forms has no 'plian'; did you mean 'plain'?"),
        ("form.plain", "did you mean 'forms'?"),
        ("nowhere.Strategy", "looked in {folder} and in the installed packages"),
        ("forms.number", "forms.number is of type int; a strategy is a class with `target` or a function."),
        ("forms.NoTarget", "forms.NoTarget has no method `target(self, bars)`"),
        ("forms.Bare", "forms.Bare has fields but is no dataclass; put `@dataclass(frozen=True)` above it."),
        ("forms.needs", "Parameter `window` of forms.needs has no default"),
        ("forms.contradicts", "The default of `window` in forms.contradicts contradicts its type"),
        ("long_shrt", "Unknown strategy 'long_shrt'; did you mean 'long_short'?"),
        ("momentum", "Unknown strategy 'momentum'"),
        ("a b.c", "Unknown strategy 'a b.c'"),
        ("", "Unknown strategy ''"),
        ("alphapulse.strategies.base.Strategy", "has no method `target(self, bars)`"),
        ("alphapulse.strategies.nothing.X", "No module 'alphapulse.strategies.nothing'"),
    ],
)
def test_resolve_refuses_in_one_line(forms, target, expected):
    with pytest.raises(StrategyError) as caught:
        resolve(target, forms)
    assert expected.format(folder=forms) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import nonexistent_package\n", "broken imports 'nonexistent_package', which is neither in"),
        ("def f(:\n", "Cannot import broken: invalid syntax"),
        ("raise RuntimeError('first\\nsecond')\n", "Cannot import broken: RuntimeError: first second ("),
        ("raise SystemExit(3)\n", "Cannot import broken: SystemExit: 3 ("),
        ("from forms import nothing\n", "Cannot import broken: ImportError"),
    ],
)
def test_resolve_names_what_breaks_an_import(write_module, forms, text, expected):
    folder = write_module(text, "broken")
    with pytest.raises(StrategyError) as caught:
        resolve("broken.f", folder)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resolve_refuses_a_name_that_is_taken(write_module):
    folder = write_module("def f(close):\n    return close\n", "random")
    with pytest.raises(StrategyError, match=r"random\.py is hidden by another module named 'random'"):
        resolve("random.f", folder)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ma_window": "abc"}, "`strategy.ma_window` must be a whole number, but got 'abc'"),
        ({"ma_window": 2.5}, "`strategy.ma_window` must be a whole number, but got 2.5"),
        ({"ma_window": True}, "`strategy.ma_window` must be a whole number, but got True"),
        ({"ma_window": None}, "`strategy.ma_window` must be a whole number, but got None"),
        ({"trend_weight": "1"}, "`strategy.trend_weight` must be a number, but got '1'"),
        ({"trend_weight": False}, "`strategy.trend_weight` must be a number, but got False"),
        (
            {"volatility_source": "realised"},
            "must be one of index, realized, but got 'realised'; did you mean 'realized'?",
        ),
        ({"ma_windw": 3}, "Unknown parameter `strategy.ma_windw` of LongShort; did you mean 'ma_window'?"),
        ({"ma_window": 0}, "LongShort refuses its parameters: `1 <= ma_window < inf` must hold, but got ma_window=0."),
    ],
)
def test_build_refuses_in_one_line(values, expected):
    with pytest.raises(StrategyError) as caught:
        resolve("long_short").build(values)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_build_takes_what_means_the_same():
    definition = resolve("long_short")
    assert definition.build({"ma_window": 30.0, "trend_weight": 1}) == LongShort(ma_window=30, trend_weight=1.0)
    assert definition.build({"ma_window": np.int64(30)}).ma_window == 30
    assert resolve("sma_cross").build({"allow_short": np.bool_(False)}) == SmaCross(allow_short=False)


def test_longest_lookback_sees_every_corner():
    assert resolve("long_short").longest_lookback({}, {"ma_window": [10, 250], "rsi_window": [5, 40]}) >= 250
    # Both at their highest is impossible; the longest average still counts.
    assert resolve("sma_cross").longest_lookback({}, {"fast": [5, 90], "slow": [20, 80]}) >= 90
    # The default of 100 lies outside: no trial has it.
    assert resolve("sma_cross").longest_lookback({}, {"fast": [2, 5], "slow": [8, 20]}) < 30
    realized = {"volatility_source": "realized", "ma_window": 5}
    assert resolve("long_short").longest_lookback(realized, {"realized_window": [10, 300]}) >= 301


def test_resolve_imports_an_edited_module_anew(write_module, bars):
    text = "import numpy as np\n\n\ndef f(close, window=3):\n    return np.full(len(close), {value})\n"
    first = resolve("edited.f", write_module(text.format(value=0.25), "edited"))
    again = resolve("edited.f", first.search_path)
    assert again.subject is first.subject
    second = resolve("edited.f", write_module(text.format(value=0.75), "edited"))
    assert first.source_hash != second.source_hash
    assert second.build({}).target(bars)[0] == 0.75


def test_source_hash_covers_modules_beside_it(write_module, bars):
    write_module("VALUE = 0.25\n", "beside")
    folder = write_module(
        "import numpy as np\nfrom beside import VALUE\n\n\ndef f(close):\n    return close * 0 + VALUE\n", "user"
    )
    first = resolve("user.f", folder)
    write_module("VALUE = 0.75\n", "beside")
    second = resolve("user.f", folder)
    assert first.source_hash != second.source_hash
    assert second.build({}).target(bars)[0] == 0.75


def test_resolve_takes_packages_with_relative_imports(write_module, bars):
    write_module("", "pack/__init__")
    write_module("VALUE = 0.5\n", "pack/values")
    folder = write_module("from .values import VALUE\n\n\ndef f(close):\n    return close * 0 + VALUE\n", "pack/inner")
    definition = resolve("pack.inner.f", folder)
    assert definition.build({}).target(bars)[0] == 0.5
    before = definition.source_hash
    write_module("VALUE = 0.6\n", "pack/values")
    assert resolve("pack.inner.f", folder).source_hash != before


def test_same_module_name_in_two_folders(tmp_path, bars):
    for value in (1, 2):
        (tmp_path / str(value)).mkdir()
        text = f"def f(close):\n    return close * 0 + 0.{value}\n"
        (tmp_path / str(value) / "twice.py").write_text(text)
    found = [resolve("twice.f", str(tmp_path / str(value))).build({}).target(bars)[0] for value in (1, 2, 1)]
    assert found == [0.1, 0.2, 0.1]
    sys.modules.pop("twice", None)


def test_resolve_leaves_no_bytecode_behind(write_module):
    folder = write_module(MOMENTUM, "momentum")
    resolve("momentum.Momentum", folder)
    assert [p.name for p in Path(folder).iterdir()] == ["momentum.py"]


def test_definition_is_rebuilt_in_another_process(write_module, tmp_path):
    definition = resolve("momentum.Momentum", write_module(MOMENTUM, "momentum"))
    file = tmp_path / "definition.pickle"
    file.write_bytes(pickle.dumps(definition))
    code = "import pickle, sys; d = pickle.load(open(sys.argv[1], 'rb'))\n"
    code += "print(d.build({'calm': 9.0}).calm, d.source_hash)"
    command = [sys.executable, "-c", code, str(file)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert answer.stdout.split() == ["9.0", definition.source_hash]
    # Edited or gone where it came from, it is still what it was: its source has travelled with it.
    folder = write_module(MOMENTUM + "\n# edited\n", "momentum")
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert answer.stdout.split() == ["9.0", definition.source_hash]
    (Path(folder) / "momentum.py").unlink()
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert answer.stdout.split() == ["9.0", definition.source_hash]


def test_built_in_definition_survives_pickling():
    definition = pickle.loads(pickle.dumps(resolve("breakout")))
    assert definition.build({}) == Breakout()


def test_strategy_reads_the_volatility_index_where_it_names_it(write_module):
    assert resolve("long_short").reads_volatility({})
    assert not resolve("long_short").reads_volatility({"volatility_source": "realized"})
    assert not resolve("sma_cross").reads_volatility({})
    calm = "def calm(close, volatility):\n    return (volatility < 20.0) * 1.0\n"
    assert resolve("calm.calm", write_module(calm, "calm")).reads_volatility({})
    blind = "def blind(close):\n    return close * 0.0\n"
    assert not resolve("blind.blind", write_module(blind, "blind")).reads_volatility({})
