"""Named schedules of costs, `engine/costs=NAME`: what each says, and where it is from."""

import re

import pytest
import yaml

from alphapulse.backtesting.params import EngineParams
from alphapulse.config.conf import read_yaml
from alphapulse.config.found import resource_dir

FOLDER = resource_dir("conf") / "engine" / "costs"
SCHEDULES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def test_schedules_that_are_promised_are_there():
    promised = {"ibkr_fixed", "ibkr_tiered", "us_zero", "crypto_taker", "crypto_maker", "forex_spread"}
    assert promised == set(SCHEDULES) - {"default"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_costs_of_the_engine_with_source_and_date(name):
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    values = read_yaml(path)
    assert text.startswith("# @package engine\n")
    EngineParams(**values)
    assert all(key.startswith(("commission", "slippage", "stop_slippage")) for key in values)
    if name != "default":
        assert re.search(r"https://\S+", text)
        assert re.search(r"\b20\d\d\b", text)


def test_a_schedule_is_chosen_by_name_and_gives_way_to_what_is_typed(run, capsys):
    def engine(*arguments):
        assert run("backtest", *arguments, "--cfg", "job") is None
        return yaml.safe_load(capsys.readouterr().out)["engine"]

    chosen = engine("engine/costs=ibkr_fixed")
    assert (chosen["commission"], chosen["commission_per_unit"], chosen["commission_minimum"]) == (0, 0.005, 1.0)
    assert engine("engine/costs=ibkr_fixed", "engine.commission_minimum=2")["commission_minimum"] == 2
    assert engine()["commission"] == EngineParams().commission


def test_a_schedule_that_is_not_there_is_refused_in_one_line(refuse):
    assert "`engine/costs` must be one of its options, but got 'ibkr_fixd'" in refuse("sweep", "engine/costs=ibkr_fixd")
