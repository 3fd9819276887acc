"""A study of a universe from the command to its verdict, continued, replayed and shown."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.commands.backtest import run_backtest
from alphapulse.commands.replay import run_replay
from alphapulse.commands.report import run_report
from alphapulse.commands.trials import run_trials
from alphapulse.config.groups import DataConfig, SearchConfig, ValidationConfig
from alphapulse.config.schema import BacktestConfig, ReplayConfig, ReportConfig, TrialsConfig, UniverseConfig
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.errors import ConfigError, DataError
from alphapulse.search.dimensions import IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.ledger import read_ledger
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import load_inputs

pytestmark = pytest.mark.postgres

SYMBOLS = ("LONG", "LATE", "DEAD", "TINY")


@pytest.fixture
def config(database, small_study):
    rng = np.random.default_rng(1)
    days = pd.bdate_range("2015-01-01", periods=700, tz="UTC")
    for symbol, part in zip(SYMBOLS, (slice(None), slice(250, None), slice(0, 420), slice(650, None)), strict=True):
        index = days[part]
        close = 100 * np.exp(np.cumsum(rng.normal(0.0005, 0.01, len(index))))
        rows = {"timestamp": index, "open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
        write_bars(database, [checked(symbol, "1d", pd.DataFrame(rows | {"volume": 5.0}))])
    return small_study(
        data=DataConfig(source="database", symbols=SYMBOLS),
        universe=UniverseConfig(kind="each", min_bars=100),
        strategy={"_target_": "sma_cross"},
        n_trials=40,
        search=SearchConfig(sampler="optuna", optuna="RandomSampler", generation_size=10),
        validation=ValidationConfig(null_sweeps=3, n_bootstrap=20, holdout=0.2, pbo_blocks=4),
        space=SearchSpace((IntDimension("strategy.fast", 2, 6), IntDimension("strategy.slow", 10, 16))),
    )


def on_symbols(database, study):
    query = (
        f"SELECT number, symbol, {', '.join(METRICS)} FROM trial_symbol JOIN sweep ON id = sweep_id "
        "WHERE name = :name ORDER BY number, symbol"
    )
    with database.sync_engine.connect() as connection:
        return connection.execute(text(query), {"name": study}).all()


def test_a_study_of_a_universe(config, run, in_process, database, table, tmp_path, capsys):
    summary = run(config, in_process())
    assert summary.data.startswith("3 symbols 1d, ")
    lines = " ".join(summary.warnings)
    assert "1 of 4 symbols have fewer than universe.min_bars=100" in lines
    assert "are left out: TINY" in lines
    assert "where they have bars: LATE" in lines
    assert "valued at their last close: DEAD" in lines
    survey = summary.verdict["universe"]
    assert (survey["n_symbols"], list(survey["symbols"])) == (3, ["LONG", "LATE", "DEAD"])
    # Every trial has its symbols, those that equal an earlier one too; whatever cut it into pieces.
    rows = on_symbols(database, "small")
    assert len(rows) == 3 * 40
    assert summary.n_distinct < 40
    run(replace(config, study="pieces", n_trials=13), in_process(2))
    run(replace(config, study="pieces"), in_process(2))
    assert on_symbols(database, "pieces") == rows
    assert table("pieces")["trials"] == table("small")["trials"]
    run_replay(ReplayConfig(study="small", trial=str(summary.chosen.number)))
    assert f"All {4 * len(METRICS) + 1} numbers are reproduced" in capsys.readouterr().out
    run_backtest(BacktestConfig(study="small", trial="chosen"), tmp_path)
    assert "Symbol by symbol" in capsys.readouterr().out
    on_late = [row for row in rows if row.symbol == "LATE"]
    run_trials(TrialsConfig(study="small", symbol="LATE", format="csv"))
    shown = pd.read_csv(io.StringIO(capsys.readouterr().out))
    np.testing.assert_allclose(shown["sharpe_ratio"], [row.sharpe_ratio for row in on_late], rtol=1e-14)
    assert shown["value"].tolist() == shown["sharpe_ratio"].tolist()
    run_trials(TrialsConfig(study="small", symbol="LATE", top=1, format="json"))
    assert json.loads(capsys.readouterr().out)[0]["value"] == max(row.sharpe_ratio for row in on_late)
    with pytest.raises(ConfigError, match="must be one of study 'small', but got 'LAT'; did you mean 'LATE'"):
        run_trials(TrialsConfig(study="small", symbol="LAT"))
    run_report(ReportConfig(study="small"), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Without each symbol" in page
    # What was tried on the universe counts for each of its symbols, and once.
    store = Store(database)
    study = store.find_study("pieces")
    assert study.bars.traded == ("LONG", "LATE", "DEAD")
    ledger = read_ledger(database, study, study.bars, 1)
    assert [line.name for line in ledger.tried] == ["small"]


def test_the_score_of_a_universe_is_what_the_search_sees(config, run, in_process, database):
    config = replace(config, universe=replace(config.universe, score="worst"), n_trials=12, study="worst")
    summary = run(config, in_process())
    store = Store(database)
    study = store.find_study("worst")
    seen = summary.verdict["universe"]["lines"][0]
    assert seen.startswith(f"The search saw {summary.chosen.values['sharpe_ratio']:.3f}, of sharpe_ratio the worst of")
    for trial in store.trials(study, range(12)):
        worst = min(one["sharpe_ratio"] for one in store.on_symbols(study, trial["number"]).values())
        assert trial["values"] == [worst]


def test_a_symbol_without_bars_is_refused_in_one_line(config, database, tmp_path):
    with pytest.raises(DataError, match="No bars for 'NOWHERE' 1d") as caught:
        load_inputs(replace(config, data=replace(config.data, symbols=("LONG", "NOWHERE"))), database)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"No symbol has 5000 scored bars, as `universe.min_bars` wants"):
        load_inputs(replace(config, universe=UniverseConfig(kind="each", min_bars=5000)), database)
    (tmp_path / "some.txt").write_text("LONG  # the first\n\n# none\nLATE\nLONG\n")
    assert DataConfig(source="database", symbols=(str(tmp_path / "some.txt"),)).symbols == ("LONG", "LATE")
    with pytest.raises(ConfigError, match=r"must name a file with a symbol a line, but .*none.txt: No such file"):
        DataConfig(source="database", symbols=(str(tmp_path / "none.txt"),))
    survivors = load_inputs(replace(config, data=replace(config.data, symbols=("LONG", "LATE"))), database)
    assert "universe: all 2 symbols still trade: results are those of survivors." in survivors.warnings
