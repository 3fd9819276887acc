"""What a command refuses before it does anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Refuse = Callable[..., str]


BAD = [
    ("sweep", "n_trials=0", "`n_trials` must be >= 1, but got 0"),
    ("sweep", "n_trials=3000000000", "`n_trials` must be below 2**31, but got 3000000000"),
    ("sweep", "store=some", "`store` must be one of all, best, but got 'some'"),
    ("sweep", "n_trials=many", "`n_trials` must be an integer, but got 'many'"),
    ("sweep", "n_trials=2.5", "`n_trials` must be an integer, but got 2.5"),
    ("sweep", "n_trials=true", "`n_trials` must be an integer, but got True"),
    ("sweep", "n_trials=null", "`n_trials` must be an integer, but got null"),
    ("sweep", "n_trials=1,2", "`n_trials` must have one value"),
    ("sweep", "seed=-1", "`seed` must be in"),
    ("sweep", "output=xml", "`output` must be one of table, json, but got 'xml'"),
    ("sweep", "quiet=maybe", "`quiet` must be true or false"),
    ("sweep", "objective=sharp", "did you mean 'sharpe_ratio'?"),
    ("sweep", "objective=[]", "at least one metric"),
    ("sweep", "objective=[cagr,cagr]", "twice"),
    ("sweep", "objective=cagr,max_drawdown", "a list is objective=[cagr,max_drawdown]"),
    ("sweep", "patience=0", "`patience` must be >= 1"),
    ("sweep", "timeout=soon", "`timeout` must be a time such as 90s, 10m or 1.5h, but got 'soon'"),
    ("sweep", "timeout=0", "`timeout` must be a time such as 90s, 10m or 1.5h, but got '0'"),
    ("sweep", "choose=knee", "`choose=knee` must go with several objectives, but got one"),
    ("sweep", "choose=cagr - volatility", "search for it with objective=cagr - volatility"),
    ("sweep", "objective=sharp - 2", "`objective` must be made of known names, but got 'sharp'"),
    ("sweep", "objective=cagr > 3", "`objective` must be a number made of metrics, but got 'cagr > 3'"),
    ("sweep", "objective=3", "`objective` must be a number made of metrics, but got '3'"),
    ("sweep", "feasible=[n_trade >= 30]", "`feasible` must be made of known names, but got 'n_trade'"),
    ("sweep", "feasible=[n_trade >= 30]", "did you mean 'n_trades'?"),
    ("sweep", "feasible=n_trades", "`feasible` must compare something, as in 'a < b', but got 'n_trades'"),
    ("sweep", "feasible=n_trades >", "`feasible` must be an expression, but got 'n_trades >'"),
    ("sweep", "feasible=open('x') > 3", "open() is no function here"),
    ("sweep", "constraints=[strategy.ma_windw < 9]", "but got 'strategy.ma_windw' in 'strategy.ma_windw < 9'; did you"),
    ("sweep", "constraints=strategy.ma_window", "`constraints` must compare something, as in 'a < b', but got"),
    ("sweep", "constraints=ma_window < 9", "did you mean 'strategy.ma_window'?"),
    ("sweep", "direction=up", "one of maximize, minimize"),
    ("sweep", "direction=[maximize,minimize]", "one entry an objective"),
    ("sweep", "search=tpee", "did you mean 'tpe'?"),
    ("sweep", "search=tpe,random", "`search` must have one value"),
    ("sweep", "strategy=long_shrt", "did you mean 'long_short'?"),
    ("sweep", "strategy=long_short,sma_cross", "`strategy` must have one value"),
    ("sweep", "sweeps=long_short", "did you mean 'long_short_daily'?"),
    ("sweep", "searh=tpe", "did you mean 'search'?"),
    ("sweep", "n_trails=10", "did you mean 'n_trials'?"),
    ("sweep", "strategy.ma_windw=int(interval(10,250))", "did you mean 'strategy.ma_window'?"),
    ("sweep", "strategy.ma_windw=10", "did you mean 'strategy.ma_window'?"),
    ("sweep", "engine.slipage=0.1", "did you mean 'engine.slippage'?"),
    ("sweep", "engine.stop.multiplyer=interval(1,5)", "did you mean 'engine.stop.multiplier'?"),
    ("sweep", "engine.stop.kind=atr,percnt", "did you mean 'percent'?"),
    ("sweep", "engine.execution=next_opn", "did you mean 'next_open'?"),
    ("sweep", "engine.execution=interval(1,2)", "write engine.execution=next_open,next_close,same_close"),
    ("sweep", "engine.max_leverage=interval(-1,2)", "`engine.max_leverage` must be >= 0, but got -1.0"),
    ("sweep", "engine.commission=interval(0,0.01)", "`engine.commission` must have one value: it is a fact of the"),
    ("sweep", "engine.cash_rate=0.01,0.04", "`engine.cash_rate` must have one value: it is a fact of the world"),
    ("sweep", "engine.initial_capital=interval(1e3,1e6)", "a search would pick the cheapest one"),
    ("sweep", "engine.commission=2", "`engine.commission` must be in [-0.5, 0.5], but got 2.0"),
    ("sweep", "engine.commission=cheap", "`engine.commission` must be a number, but got 'cheap'"),
    ("sweep", "strategy.ma_window=interval(10,250)", "write int(interval(10.0,250.0))"),
    ("sweep", "strategy.ma_window=int(interval(250,10))", "write interval(10,250)"),
    ("sweep", "strategy.ma_window=0", "ma_window"),
    ("sweep", "strategy.volatility_source=vix", "must be one of"),
    ("sweep", "strategy._target_=1,2", "run once for each strategy"),
    ("sweep", "data.timeframe=1q", "`data.timeframe` must be a whole number of m, h, d, wk or mo such as 5m"),
    ("sweep", "data.timeframe=daily", "but got 'daily'"),
    ("sweep", "data.periods_per_year=0", "`data.periods_per_year` must be > 0"),
    ("sweep", "data.symbols=[]", "at least one symbol"),
    ("sweep", "data.symbols=A,B", "a list is data.symbols=[A,B]"),
    ("sweep", "data.symbols=choice([A],[B])", "only strategy.* and engine.* are searched"),
    ("sweep", "data.symbols=[A,A]", "'A' twice"),
    ("sweep", "data.symbls=[A]", "did you mean 'data.symbols'?"),
    ("sweep", "data.start=yesterday", "ISO date"),
    ("sweep", "data.max_staleness=week", "a duration such as 7d"),
    ("sweep", "validation.holdout=1.5", "`validation.holdout` must be in [0, 1), but got 1.5"),
    ("sweep", "validation.lookahead=of", "did you mean 'off'?"),
    ("sweep", "validation.pbo_blocks=15", "an even number"),
    ("sweep", "validation.priors=[1.5]", "(0, 1)"),
    ("sweep", "cluster.num_cpus=0", "`cluster.num_cpus` must be >= 1"),
    ("sweep", "db.port=99999", "`db.port` must be in [1, 65535]"),
    ("sweep", "study=''", "`study` must not be blank"),
    ("sweep", "strategy.ma_window", "Arguments must be key=value"),
    ("sweep", "strategy.ma_window=int(interval(10,", "Cannot read"),
    ("sweep", "~strategy.ma_windw", "did you mean 'strategy.ma_window'?"),
    ("sweep", "--multirun", "must be left out"),
    ("sweep", "--unknown", "unrecognized arguments: --unknown"),
    ("sweep", "hydra.run.dri=x", "hydra.run"),
    ("sweep", "study=${nowhere}", "nowhere"),
    ("backtest", "strategy.ma_window=10,20", "`python -m alphapulse.sweep` searches"),
    ("backtest", "strategy.ma_windw=10", "did you mean 'strategy.ma_window'?"),
    ("backtest", "strategy.ma_window=ten", "`strategy.ma_window` must be an integer"),
    ("sweep", "sweeps=a,b", "`sweeps` must have one value"),
    ("backtest", "n_trials=10", "Unknown key 'n_trials'"),
    ("download", "provider=yahoo", "`provider` must be one of its options, but got 'yahoo'"),
    ("download", "provider.name=yahoo", "`provider.name` must be one of csv, sample, yfinance, but got 'yahoo'"),
    ("download", "provider=sampel", "did you mean 'sample'?"),
    ("sweep", "search.sampler=tpee", "did you mean 'tpe'?"),
    ("sweep", "search.sampler=null", "`search.sampler` must be a text"),
    ("download", "data=database", "`data` must be a group of keys"),
    ("download", "data.volatility_symbol=X", "Unknown key 'data.volatility_symbol'"),
    ("replay", "study=x", "study=NAME trial=NUMBER"),
    ("report", "output=json", "study=NAME"),
    ("dashboard", "port=http", "`port` must be an integer"),
    ("db", "url=x", "Unknown key 'url'"),
    ("db", "updgrade", "did you mean 'upgrade'?"),
]


@pytest.mark.parametrize(("name", "argument", "expected"), BAD)
def test_bad_argument_is_refused_in_one_line(refuse: Refuse, name: str, argument: str, expected: str) -> None:
    assert expected in refuse(name, argument)


def test_start_after_end_is_refused(refuse: Refuse) -> None:
    line = refuse("sweep", "data.start=2015-01-01", "data.end=2010-01-01")
    assert "`data.start` must not be after `data.end`, but got 2015-01-01 and 2010-01-01" in line


def test_group_given_twice_is_refused(refuse: Refuse) -> None:
    assert "`search` must be given once, but got tpe and random" in refuse("sweep", "search=tpe", "search=random")


def test_nothing_is_written_when_arguments_are_refused(refuse: Refuse, tmp_path: Path) -> None:
    refuse("sweep", "n_trails=3")
    assert list(tmp_path.iterdir()) == []
