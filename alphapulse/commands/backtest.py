"""One backtest with its files: `python -m alphapulse.backtest`."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alphapulse.backtesting.curve_metrics import UNITS
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.models import EngineParams
from alphapulse.config.assembly import assemble, disassemble
from alphapulse.config.given import Given
from alphapulse.config.schema import TARGET, BacktestConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.downloading.importing import import_first
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.universe import load_markets
from alphapulse.plain import plain
from alphapulse.reports.curves import backtest_trial, write_tear_sheet
from alphapulse.reports.formatting import (
    SHOWN_METRICS,
    fitted_table,
    format_metric,
    metrics_table,
    print_json,
    print_lines,
    print_places,
    print_warnings,
    stdout_console,
)
from alphapulse.reports.page.page import REPORT, write_report
from alphapulse.reports.page.subject import Subject
from alphapulse.reports.page.universe import describe_survey, survey_symbols
from alphapulse.reports.run_files import write_curves, write_setting
from alphapulse.reports.summary import describe_data
from alphapulse.reports.tomorrow import tomorrow
from alphapulse.reports.weighing import benchmark_metrics, metrics_of_trial
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.study.ledger import held_out_within, record_backtest
from alphapulse.study.records import Study, TrialRecord
from alphapulse.study.store import Store
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.gate import run_gate
from alphapulse.sweep.inputs import blind_filter, define_strategy, gate_markets, study_bars, swept_values, warn_of
from alphapulse.sweep.opening import SETTING_GROUPS, put_typed, setting_of, stored_config
from alphapulse.sweep.scale.again import pick_or_draw
from alphapulse.sweep.workers.last_word import outlasting

TEAR_SHEET = "tear_sheet.html"
SETTING = "setting.yaml"


@dataclass(frozen=True)
class _Subject:
    """What is run: a setting, of a stored trial or not.

    Attributes
    ----------
    config : BacktestConfig
    study : Study, optional
    trial : TrialRecord, optional
        The trial that the setting is of.
    is_changed : bool
        Whether something of the trial was changed, so that it is a setting of its own.
    """

    config: BacktestConfig
    study: Study | None = None
    trial: TrialRecord | None = None
    is_changed: bool = False

    @property
    def shows_holdout(self) -> bool:
        """Whether it is the trial for which the hold-out was opened already."""
        verdict = (self.study.verdict if self.study else None) or {}
        chosen = verdict.get("chosen")
        return self.trial is not None and not self.is_changed and self.trial["number"] == chosen

    def lookback(self, own: int) -> int:
        """Return the warm-up of the study that the trial is of, so that the same bars are scored [bars]."""
        if self.study is None:
            return own
        config = stored_config(self.study)
        definition, fixed = define_strategy(config.strategy)
        return max(own, definition.longest_lookback(fixed, swept_values(config.space)))

    @property
    def title(self) -> str:
        """What it is, for a heading."""
        if self.study is None or self.trial is None:
            return ""
        changed = ", changed" if self.is_changed else ""
        return f"trial {self.trial['number']:,} of study {self.study.name}{changed}"


def run_backtest(config: BacktestConfig, directory: Path, given: Given | None = None) -> None:
    """Run one backtest over the bars that a sweep would search; print its metrics, write its files to `directory`.

    With `config.study` it is a stored trial, and of `config` only what was typed (`given`) is taken beside it.

    Raises
    ------
    AlphaPulseError
        Whatever a user can cause, in one line.
    """
    database = open_database(config.db)
    chosen, imported = import_first(database, config.data)
    config = replace(config, data=chosen)
    if not config.quiet:
        print_lines(imported)
    subject = _Subject(config) if config.study is None else _stored(config, given or Given(), Store(database))
    config = subject.config
    definition, values = define_strategy(config.strategy)
    with outlasting(definition):
        _run(subject, definition, values, database, directory)


def _run(
    subject: _Subject, definition: StrategyDefinition, values: dict[str, Any], database: Database, directory: Path
) -> None:
    """Run a setting, print what comes of it and write its files."""
    config = subject.config
    markets = load_markets(
        database,
        config.data,
        config.universe,
        subject.lookback(definition.lookback(values)),
        config.engine.series,
        holdout=config.validation.holdout,
        needs_volatility=definition.reads_volatility(values),
    )
    market, holdout = markets.market, markets.holdout
    blind = blind_filter(market, definition, values, SearchSpace(()))
    warnings = (*warn_of(market, config.engine), *blind, *markets.warnings)
    if not config.quiet:
        print_warnings(warnings)
    gate, *_ = [run_gate(definition, one.bars, values, {}, config.validation) for one in gate_markets(market)]
    bars = study_bars(config.data, market, None)
    opened = [] if subject.shows_holdout else held_out_within(database, bars)
    if subject.trial is None or subject.is_changed:
        record_backtest(database, bars, _name_in_ledger(definition.name, values, config.engine))
    experiment = Experiment(SearchSpace(()), definition, values, config.engine)
    result, benchmark = backtest_trial(market, experiment, np.empty(0))
    places = write_curves(result, benchmark, directory)
    places |= {"setting": str(directory / SETTING), "tear_sheet": str(directory / TEAR_SHEET)}
    write_setting(directory / SETTING, disassemble(config), subject.title or f"a backtest of {definition.name}")
    head = [f"A {subject.title}, on the searched bars."] if subject.title else []
    write_tear_sheet(result, benchmark, experiment, market, directory / TEAR_SHEET, head)
    if subject.study is not None and subject.trial is not None and not subject.is_changed:
        about = Subject.of(Store(database), subject.study, subject.study.current_verdict, subject.trial["number"])
        write_report(about, directory / REPORT)
        places["report"] = str(directory / REPORT)
    rows = {definition.name: result.metrics, "buy & hold": benchmark_metrics(experiment, market)}
    if holdout is not None and subject.shows_holdout:
        rows["held out"] = metrics_of_trial(experiment, holdout, np.empty(0))
        rows["buy & hold, held out"] = benchmark_metrics(experiment, holdout)
    data = describe_data(market, holdout)
    survey = survey_symbols(market, experiment, np.empty(0))
    if config.output == "json":
        document: dict[str, Any] = {
            "schema": 1,
            "strategy": definition.target,
            "parameters": definition.convert(values),
            "study": None if subject.study is None else subject.study.name,
            "trial": None if subject.trial is None else subject.trial["number"],
            "data": data,
            "look_ahead_gate": gate,
            "opens_hold_out_of": opened,
            "metrics": result.metrics,
            "benchmark": rows["buy & hold"],
            "holdout": rows.get("held out"),
            "benchmark_holdout": rows.get("buy & hold, held out"),
            "ruined": result.ruined,
            "position": None if result.position is None else plain(asdict(result.position)),
            "next_target": result.target,
            "positions": plain([asdict(position) for position in result.positions]),
            "next_targets": dict(result.targets),
            "bars_touching_both": result.n_both,
            "places": places,
            "warnings": warnings,
        } | ({"universe": survey} if survey else {})
        print_json(document)
        return
    out = stdout_console()
    title = f"{definition.name} on {market.bars.symbol}" + (f": {subject.title}" if subject.title else "")
    out.print(title, soft_wrap=True)
    out.print(metrics_table(rows, (*METRICS, *UNITS)))
    for line in describe_survey(survey):
        out.print(line, soft_wrap=True)
    if survey:
        columns = {"": list(survey["symbols"])} | {
            name.replace("_", " "): [format_metric(name, one[name]) for one in survey["symbols"].values()]
            for name in SHOWN_METRICS
        }
        out.print(fitted_table("Symbol by symbol", columns, out.width, left=[""]))
    out.print(f"Data: {data}.", soft_wrap=True)
    if holdout is not None and not subject.shows_holdout:
        out.print("The hold-out is left alone, as in a sweep; validation.holdout=0 scores it too.", soft_wrap=True)
    out.print(f"Look-ahead gate: {gate}.")
    if opened:
        out.print(
            f"This shows bars that are held out in {', '.join(opened)}: it counts as an opening of their hold-out.",
            soft_wrap=True,
        )
    if result.ruined:
        out.print("Ruined: equity fell to 0.")
    for line in () if market.members else tomorrow(result, config.engine):
        out.print(line, soft_wrap=True)
    print_places(out, places)


def _stored(config: BacktestConfig, given: Given, store: Store) -> _Subject:
    """Return a stored trial, with what was typed in its setting."""
    assert config.study is not None
    study = store.find_study(config.study)
    trial = pick_or_draw(store, study, config.trial or "chosen")
    values = setting_of(study, trial)
    typed, keys = disassemble(config), {key for key in given.keys if key.partition(".")[0] in SETTING_GROUPS}
    if f"strategy.{TARGET}" in keys and typed["strategy"][TARGET] != values["strategy"][TARGET]:
        # Parameters of another strategy fit nothing that is stored.
        values["strategy"] = typed["strategy"]
    for key in keys:
        put_typed(values, typed, key)
    changed = assemble(BacktestConfig, values, os.getcwd())
    kept = {name: getattr(config, name) for name in ("study", "trial", "output", "quiet", "db")}
    return _Subject(replace(changed, **kept), study, trial, is_changed=bool(keys))


def _name_in_ledger(strategy: str, values: Mapping[str, Any], engine: EngineParams) -> str:
    """Return a name that the same setting has again: tried twice, it is one try."""
    setting = repr(sorted(values.items())) + repr(engine)
    return f"backtest {strategy} {hashlib.sha256(setting.encode()).hexdigest()[:8]}"
