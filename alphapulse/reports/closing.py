"""The end of a sweep: the verdict and the summary; then the copy in Optuna's tables and the files of the run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from alphapulse.errors import StudyError
from alphapulse.plain import command_line, plain
from alphapulse.reports.formatting import format_parameter
from alphapulse.reports.page.page import REPORT, write_report
from alphapulse.reports.page.subject import Subject
from alphapulse.reports.page.universe import describe_score, describe_survey, survey_symbols
from alphapulse.reports.run_files import write_study_files
from alphapulse.reports.sensitivity import sensitivity
from alphapulse.reports.summary import (
    N_BEST,
    N_OF_FRONT,
    Account,
    StudySummary,
    describe_bars,
    describe_data,
    summarise,
)
from alphapulse.reports.tear_sheet_process import draw_tear_sheet
from alphapulse.reports.weighing import (
    Weighing,
    WeighingInterruptedError,
    benchmark_metrics,
    weigh,
)
from alphapulse.search.settings import count_settings
from alphapulse.study.picking import rank_trials
from alphapulse.study.records import Status, TrialRecord
from alphapulse.sweep.clock import Clock, seconds_since_start
from alphapulse.sweep.opening import OpenStudy
from alphapulse.sweep.searching import SearchEnd, patience_of

TEAR_SHEET = "tear_sheet.html"


def describe_end(opened: OpenStudy, end: SearchEnd | None = None) -> str | None:
    """Return why the search of a study ended before all trials that were wanted, in a sentence; None where it did not.

    Without `end` the search was not run by this command.
    """
    config, n_done = opened.config, opened.store.n_done(opened.study)
    if end is None and not patience_of(opened).ended:
        verdict = opened.study.verdict or {}
        return verdict.get("ended") if verdict.get("n_trials") == n_done else None
    reason = "patience" if end is None else end.reason
    why = {
        "patience": f"{config.patience} generations brought no better value (patience={config.patience})",
        "stopped": f"its time was over (timeout={config.timeout}), which is another trial on another machine; the same "
        "command goes on",
    }
    if n_done >= config.n_trials or reason not in why:
        return None
    return f"The search ended after {n_done:,} of {config.n_trials:,} trials: {why[reason]}."


def conclude(
    opened: OpenStudy,
    directory: Path | None,
    clock: Clock,
    weighing: Weighing | None,
    *,
    interrupted: bool,
    ended: str | None = None,
) -> StudySummary:
    """Return the summary of a study; unless it was interrupted, with its verdict. What takes longer is `follow_up`.

    Parameters
    ----------
    opened : OpenStudy
    directory : Path, optional
        Where the files of the run go; None leaves none.
    clock : Clock
    weighing : Weighing, optional
        How the study is weighed; None where it was weighed before and nothing is new.
    interrupted : bool
        Whether the search was ended early; the null sweeps may be as well.
    ended : str, optional
        Why the search ended before all trials, in a sentence.
    """
    store, study, inputs = opened.store, opened.study, opened.inputs
    ranking = rank_trials(store, study, N_BEST, N_OF_FRONT)
    verdict = study.verdict if weighing is None else None
    if ranking.chosen is not None and not interrupted and weighing is not None:
        try:
            verdict = _verdict(opened, ranking.chosen, weighing, ended)
        except WeighingInterruptedError:
            interrupted = True
    clock.seconds["to_verdict"] = seconds_since_start()
    account = Account(
        status="INTERRUPTED" if interrupted else "COMPLETE",
        n_wanted=opened.config.n_trials,
        n_settings=count_settings(opened.config.space),
        data=describe_data(inputs.market, inputs.holdout),
        benchmark=benchmark_metrics(inputs.experiment, inputs.market),
        verdict=verdict,
        ended=ended,
        places={
            "database": store.database.url(),
            "study": study.name,
            **({} if directory is None else {"run_directory": str(directory)}),
            "optuna_dashboard": command_line("dashboard"),
            "report": command_line("report", study=study.name),
        },
        warnings=inputs.warnings,
        seconds=clock.seconds,
    )
    return summarise(store, study, ranking, account)


def follow_up(opened: OpenStudy, summary: StudySummary, directory: Path | None, clock: Clock) -> StudySummary:
    """Leave a study's copy in Optuna's tables and the files of its run; return the summary with where they are.

    The verdict needs none of it, so that it is said before.
    """
    study = opened.study
    places = dict(summary.places)
    facts = {"data": summary.data}
    if directory is not None:
        facts["run directory"] = str(directory)
        try:
            places |= _leave_files(opened, summary, directory, clock)
        except OSError as error:
            # A disk that is full must not cost a sweep its verdict.
            places["report"] = f"not written, {error.strerror or error}: {error.filename or directory}"
            places["report_again"] = command_line("report", study=study.name)
    if opened.config.optuna.mirror_limit:
        # SQLAlchemy comes along, which nothing before this needs.
        from alphapulse.study.optuna.mirror import describe_study

        with clock.phase("mirror"):
            refusal = _mirror(opened, facts)
        if refusal is not None:
            places["optuna_dashboard"] = f"not copied, {refusal}"
        else:
            status: Status = "INTERRUPTED" if summary.status == "INTERRUPTED" else "COMPLETE"
            told = {name: places[name] for name in ("tear_sheet", "report") if name in places}
            describe_study(opened.store.database, study.id, status=status, facts=facts | told)
    clock.seconds["total"] = seconds_since_start()
    return replace(summary, places=places, seconds=dict(clock.seconds))


def _leave_files(opened: OpenStudy, summary: StudySummary, directory: Path, clock: Clock) -> dict[str, str]:
    """Write the files of a run and its report; return where they are, by what they are."""
    study, inputs = opened.study, opened.inputs
    with clock.phase("files"):
        places = write_study_files(opened, summary, directory)
    with clock.phase("report"):
        # What was stored since the study was opened, its number of trials among it.
        stored = opened.store.find_study(study.name)
        write_report(Subject(opened.store, stored, summary.verdict or {}, inputs), directory / REPORT)
        places |= {"report": str(directory / REPORT), "report_again": command_line("report", study=study.name)}
    if summary.best and summary.best[0].feasible and opened.config.tear_sheet:
        sheet = directory / TEAR_SHEET
        chosen = opened.store.trial(study, (summary.chosen or summary.best[0]).number)
        with clock.phase("tear_sheet"):
            failure = draw_tear_sheet(
                inputs.market, inputs.experiment, chosen["parameters"], sheet, tear_sheet_head(summary)
            )
        places["tear_sheet"] = str(sheet) if failure is None else f"not drawn, {failure}"
    return places


def tear_sheet_head(summary: StudySummary) -> list[str]:
    """Return what stands above the tear sheet of a study's chosen trial, which alone would look like a result."""
    shown = summary.chosen or summary.best[0]
    setting = ", ".join(f"{key}={format_parameter(value)}" for key, value in shown.params.items())
    verdict = summary.verdict or {}
    held = (summary.bars or {}).get("holdout_start")
    return [
        f"{verdict['word']}: {verdict['sentence']}" if verdict else "No verdict yet.",
        f"Study {summary.study}, trial {shown.number:,}, the best of {summary.n_trials:,}: {setting}.",
        f"{summary.data}." if held is None else f"{summary.data}; the hold-out from {held[:10]} on is not in it.",
    ]


def _mirror(opened: OpenStudy, facts: Mapping[str, str]) -> str | None:
    """Copy the study to Optuna's tables; return why not, which costs no verdict."""
    from alphapulse.study.optuna.mirror import mirror

    try:
        mirror(opened.store.database, opened.study.id, limit=opened.config.optuna.mirror_limit, facts=facts)
    except StudyError as refusal:
        return str(refusal)
    return None


def _verdict(opened: OpenStudy, chosen: TrialRecord, weighing: Weighing, ended: str | None) -> dict[str, Any]:
    """Weigh a study and return the verdict as stored."""
    inputs, study = opened.inputs, opened.study
    verdict, market = weigh(opened, chosen, weighing)
    stored = verdict.to_dict() | {
        "n_trials": opened.store.n_done(study),
        "n_distinct": verdict.n_trials,
        "lines": verdict.lines(),
        "chosen": chosen["number"],
        "chosen_holdout": market.chosen_holdout,
        "benchmark": market.benchmark,
        "benchmark_holdout": market.benchmark_holdout,
        "bars": describe_bars(inputs.bars, inputs.market, inputs.holdout),
        "data": describe_data(inputs.market, inputs.holdout),
        "sensitivity": sensitivity(inputs.experiment, inputs.market, chosen["parameters"]),
        "warnings": inputs.warnings,
        "ended": ended,
    }
    survey = survey_symbols(inputs.market, inputs.experiment, chosen["parameters"])
    if survey:
        seen = describe_score(inputs.experiment, chosen["values"][0])
        stored["universe"] = plain(survey | {"lines": [*seen, *describe_survey(survey)]})
    opened.store.save_verdict(study, stored)
    return stored
