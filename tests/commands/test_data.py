import json

import pandas as pd
import pytest

from alphapulse.commands.data import run_data
from alphapulse.config.schema import DataCommandConfig, DownloadDataConfig
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.errors import ConfigError

pytestmark = pytest.mark.postgres


def store(database, symbol, timeframe, index, close=1.5):
    rows = pd.DataFrame({"timestamp": index, "open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": 10.0})
    write_bars(database, [checked(symbol, timeframe, rows)])


def shown(capsys, action, output="json", **data):
    run_data(DataCommandConfig(action, DownloadDataConfig(**data), output=output))
    text = capsys.readouterr().out
    return json.loads(text) if output == "json" else text


def test_list_names_every_series(database, capsys):
    store(database, "[red]", "1d", pd.date_range("2020-01-01", periods=10, tz="UTC"))
    store(database, "B", "1h", pd.date_range("2020-01-02T14:30", periods=3, freq="h", tz="UTC"))
    rows = shown(capsys, "list")
    assert [(row["symbol"], row["n_bars"]) for row in rows] == [("B", 3), ("[red]", 10)]
    assert (rows[0]["first"], rows[0]["last"]) == ("2020-01-02T14:30Z", "2020-01-02T16:30Z")
    assert rows[1]["first"] == "2020-01-01"
    assert [row["symbol"] for row in shown(capsys, "list", symbols=("B", "C"))] == ["B"]
    assert [row["symbol"] for row in shown(capsys, "list", timeframe="1d")] == ["[red]"]
    assert "[red]" in shown(capsys, "list", output="table")


def test_list_of_nothing_says_what_to_do(database, capsys):
    assert shown(capsys, "list") == []
    assert "alphapulse.download" in shown(capsys, "list", output="table")


def test_an_action_is_needed():
    with pytest.raises(ConfigError, match="an action must be given"):
        DataCommandConfig()
