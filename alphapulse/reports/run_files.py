"""The files of a run: curves, trades and setting of a backtest; trials, verdict and chosen setting of a study."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from alphapulse.backtesting.models import BacktestResult
from alphapulse.plain import override_lines

EQUITY = "equity.csv"
TRADES = "trades.csv"
SETTING_GROUPS = ("data", "strategy", "engine")


def write_curves(result: BacktestResult, benchmark: pd.Series, directory: Path) -> dict[str, str]:
    """Write the equity and the trades of a backtest; return where they are, by what they are.

    Parameters
    ----------
    result : BacktestResult
    benchmark : Series
        Returns of buy and hold on the same bars [1].
    directory : Path
    """
    result.trades.to_csv(directory / TRADES, index=False)
    bought = (1.0 + benchmark).cumprod() * (result.equity.iloc[0] / (1.0 + result.returns.iloc[0]))
    curves = {
        "equity": result.equity,
        "returns": result.returns,
        "allocation": result.allocation,
        "buy_and_hold": bought,
    }
    pd.DataFrame(curves).to_csv(directory / EQUITY)
    return {"trades": str(directory / TRADES), "equity": str(directory / EQUITY)}


def write_setting(path: Path, setting: Mapping[str, Any], remark: str, space: Mapping[str, str] | None = None) -> None:
    """Write a setting as an experiment that `backtest sweeps=PATH` and `sweep sweeps=PATH` take as it is.

    Parameters
    ----------
    path : Path
    setting : mapping
        Plain values of a configuration; data, strategy, engine and the hold-out's share of it are written.
    remark : str
        What it is, in one line.
    space : mapping of str to str, optional
        What a sweep that starts from it searches.
    """
    kept: dict[str, Any] = {name: setting[name] for name in SETTING_GROUPS}
    kept["validation"] = {"holdout": setting["validation"]["holdout"]}
    content = {"overrides": override_lines(kept)} | ({"space": dict(space)} if space else {})
    text = yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True)
    path.write_text(f"# {remark}\n{text}", encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write plain values as indented JSON."""
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
