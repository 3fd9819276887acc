"""A study of many symbols in one account from the command to its verdict, continued, replayed and shown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_accounts import cointegrated_closes

from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.params import EngineParams
from alphapulse.commands.backtest import run_backtest
from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.config.assembly import assemble
from alphapulse.config.groups import DataConfig, SearchConfig, ValidationConfig
from alphapulse.config.schema import BacktestConfig, ReplayConfig, ReportConfig, SweepConfig, UniverseConfig
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.errors import ConfigError, StrategyError
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.ledger import read_ledger
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import load_inputs

pytestmark = pytest.mark.postgres

SYMBOLS = ("LONG", "LATE", "DEAD", "TINY")


def store_closes(database, symbol, index, close):
    rows = {"timestamp": index, "open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    write_bars(database, [checked(symbol, "1d", pd.DataFrame(rows | {"volume": 5.0}))])


@pytest.fixture
def config(database, small_study):
    rng = np.random.default_rng(1)
    days = pd.bdate_range("2015-01-01", periods=700, tz="UTC")
    for symbol, part in zip(SYMBOLS, (slice(None), slice(250, None), slice(0, 420), slice(650, None)), strict=True):
        index = days[part]
        store_closes(database, symbol, index, 100 * np.exp(np.cumsum(rng.normal(0.0005, 0.01, len(index)))))
    return small_study(
        data=DataConfig(source="database", symbols=SYMBOLS, volatility_symbol=None),
        universe=UniverseConfig(kind="account", min_bars=100),
        strategy={"_target_": "rotation", "rising": False},
        engine=EngineParams(stop={"kind": "none"}, by_symbol={"LATE": {"commission": 0.002}}),
        n_trials=30,
        search=SearchConfig(sampler="tpe", generation_size=10),
        validation=ValidationConfig(null_sweeps=2, n_bootstrap=20, holdout=0.2, pbo_blocks=4, lookahead="off"),
        space=SearchSpace((IntDimension("strategy.momentum_window", 5, 40), IntDimension("strategy.top", 1, 2))),
    )


def test_a_study_of_an_account(config, run, in_process, database, table, tmp_path, capsys):
    config = replace(config, validation=replace(config.validation, lookahead="on"))
    summary = run(config, in_process())
    assert summary.data.startswith("LONG, LATE, DEAD 1d, ")
    lines = " ".join(summary.warnings)
    assert "1 of 4 symbols have fewer than universe.min_bars=100" in lines
    assert "sold at their last close: DEAD" in lines
    assert summary.verdict["look_ahead_clean"]
    # Whatever cut it into pieces, and however many workers there were.
    bare = replace(config, study="pieces", validation=replace(config.validation, lookahead="off", null_sweeps=0))
    run(replace(bare, n_trials=13), in_process(2))
    run(bare, in_process(2))
    assert table("pieces") == table("small")
    capsys.readouterr()
    run_replay(ReplayConfig(study="small", trial=str(summary.chosen.number)))
    assert f"All {len(METRICS) + 1} numbers are reproduced" in capsys.readouterr().out
    run_backtest(BacktestConfig(study="small", trial="chosen"), tmp_path)
    assert "Decided at the last close: target" in capsys.readouterr().out
    trades = pd.read_csv(tmp_path / "trades.csv")
    assert set(trades["symbol"]) <= {"LONG", "LATE", "DEAD"}
    weights = pd.read_csv(tmp_path / "weights.csv", index_col=0)
    assert list(weights.columns) == ["LONG", "LATE", "DEAD"]
    run_report(ReportConfig(study="small"), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "buy and hold LONG, LATE, DEAD" in page
    assert "What each symbol has brought in" in page
    # What was tried counts for each of the symbols, and once.
    store = Store(database)
    study = store.find_study("pieces")
    assert study.bars.traded == ("LONG", "LATE", "DEAD")
    assert [line.name for line in read_ledger(database, study, study.bars, 1).tried] == ["small"]


def test_the_hold_out_begins_at_one_date_and_has_the_same_columns(config, database):
    inputs = load_inputs(config, database)
    market, holdout = inputs.market, inputs.holdout
    assert market.bars.symbols == holdout.bars.symbols == ("LONG", "LATE", "DEAD")
    n = len(market.bars)
    np.testing.assert_array_equal(holdout.bars.timestamp[:n], market.bars.timestamp)
    np.testing.assert_array_equal(holdout.bars.matrix()[:n], market.bars.matrix())
    np.testing.assert_array_equal(holdout.bars.close[:n], market.bars.close)
    assert holdout.first == n
    assert holdout.fingerprint == market.fingerprint
    # What is only looked at stands beside, and is not traded.
    beside = load_inputs(
        replace(config, data=replace(config.data, symbols=("LONG", "LATE"), others=("DEAD",)), engine=EngineParams()),
        database,
    )
    bars = beside.market.bars
    assert bars.symbols == ("LONG", "LATE")
    assert np.isfinite(bars.of("DEAD").high[:400]).all()
    assert np.isnan(bars.of("DEAD").close[-50:]).all()
    assert (beside.bars.traded, beside.bars.symbols) == (("LONG", "LATE"), ("LONG", "LATE", "DEAD"))


def test_what_an_account_does_not_have_is_refused_in_one_line(config):
    def values(**changes):
        base = {
            "strategy": {"_target_": "rotation"},
            "universe": {"kind": "account"},
            "data": {"symbols": ["SAMPLE_SP500", "SAMPLE_NASDAQ"]},
        }
        return {name: base.get(name, {}) | change for name, change in (base | changes).items()}

    for changes, error, message in (
        ({"engine": {"sizing": {"kind": "risk"}}}, ConfigError, "`engine.sizing.kind` must be target"),
        ({"engine": {"funding": "FUNDING"}}, ConfigError, "`engine.funding` must be no joined series"),
        (
            {"engine": {"by_symbol": {"SPY": {"lot": 1}}}},
            ConfigError,
            "must name symbols of data.symbols.*SAMPLE_SP500",
        ),
        ({"engine": {"by_symbol": {"SAMPLE_SP500": {"lots": 1}}}}, ConfigError, "did you mean 'lot'"),
        ({"strategy": {"_target_": "sma_cross"}}, StrategyError, "SmaCross decides for one symbol"),
        ({"universe": {"kind": "none"}}, StrategyError, "Rotation decides for many symbols"),
        ({"universe": {"score": "worst"}}, ConfigError, "must go with universe=each"),
        (
            {"universe": {"kind": "each"}, "engine": {"max_net_leverage": 1}},
            ConfigError,
            "must go with universe=account",
        ),
    ):
        with pytest.raises(error, match=message) as caught:
            assemble(BacktestConfig, values(**changes))
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"`engine.sizing.kind` must be target"):
        assemble(SweepConfig, values(space={"engine.sizing.kind": "target,risk", "strategy.top": "1,2"}))
    with pytest.raises(ConfigError, match=r"engine.by_symbol"):
        assemble(SweepConfig, values(space={"engine.by_symbol.SAMPLE_SP500.lot": "1,2"}))
    config = assemble(BacktestConfig, values(engine={"by_symbol": {"SAMPLE_SP500": {"lot": 1}}}))
    assert config.engine.by_symbol == {"SAMPLE_SP500": {"lot": 1.0}}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_planted_pair_survives(database, small_study, run):
    days = pd.bdate_range("2010-01-01", periods=2600, tz="UTC")
    for symbol, close in zip("AB", cointegrated_closes(2600, reversion=0.15, spread=0.03), strict=True):
        store_closes(database, symbol, days, close)
    config = small_study(
        null_sweeps=99,
        data=DataConfig(source="database", symbols=("A", "B"), volatility_symbol=None),
        universe=UniverseConfig(kind="account"),
        strategy={"_target_": "pairs"},
        engine=EngineParams(stop={"kind": "none"}, execution="next_close"),
        n_trials=200,
        search=SearchConfig(sampler="tpe"),
        space=SearchSpace(
            (
                IntDimension("strategy.hedge_window", 40, 120),
                FloatDimension("strategy.entry", 1.0, 3.0),
                FloatDimension("strategy.exit", 0.0, 0.8),
            )
        ),
    )
    summary = run(replace(config, validation=replace(config.validation, lookahead="on")))
    assert summary.verdict["word"] == "SURVIVES", summary.verdict["sentence"]
