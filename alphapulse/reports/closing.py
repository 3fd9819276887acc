"""The end of a sweep: verdict, copy in Optuna's tables and tear sheet side by side, then the summary."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from alphapulse.errors import StudyError
from alphapulse.plain import command_line
from alphapulse.reports.summary import N_BEST, Account, StudySummary, describe_bars, describe_data, summarise
from alphapulse.reports.tear_sheet_process import draw_tear_sheet
from alphapulse.reports.weighing import (
    Weighing,
    WeighingInterruptedError,
    benchmark_metrics,
    compare_with_market,
    weigh,
)
from alphapulse.study.optuna.mirror import describe_study, mirror
from alphapulse.study.records import Status, TrialRecord
from alphapulse.sweep.clock import Clock, seconds_since_start
from alphapulse.sweep.opening import OpenStudy

TEAR_SHEET = "tear_sheet.html"

Result = TypeVar("Result")


def is_weighed(opened: OpenStudy) -> bool:
    """Return whether the stored verdict speaks of all trials that there are, or no trial has anything to weigh."""
    store, study = opened.store, opened.study
    if study.verdict is not None and study.verdict.get("n_trials") == store.n_done(study):
        return True
    return not store.best(study, 1)


def conclude(
    opened: OpenStudy, directory: Path, clock: Clock, weighing: Weighing | None, *, interrupted: bool
) -> StudySummary:
    """Return the summary of a study; unless it was interrupted, with verdict and tear sheet; Optuna's tables follow.

    Parameters
    ----------
    opened : OpenStudy
    directory : Path
        Where the tear sheet goes.
    clock : Clock
    weighing : Weighing, optional
        How the study is weighed; None where it was weighed before and nothing is new.
    interrupted : bool
        Whether the search was ended early; the null sweeps may be as well.
    """
    store, study, inputs = opened.store, opened.study, opened.inputs
    places = {
        "database": store.database.url(),
        "study": study.name,
        "run directory": str(directory),
    }
    best = store.best(study, N_BEST)
    verdict = study.verdict if weighing is None else None
    facts = {"data": describe_data(inputs.market, inputs.holdout), "run directory": str(directory)}
    refusal: str | None = None
    if best and not interrupted:
        sheet = directory / TEAR_SHEET
        parameters = best[0]["parameters"]

        def timed(name: str, work: Callable[[], Result]) -> Result:
            with clock.phase(name):
                return work()

        with ThreadPoolExecutor(2, thread_name_prefix="closing") as pool:
            copying = pool.submit(timed, "mirror", lambda: _mirror(opened, facts))
            drawing = pool.submit(
                timed, "tear_sheet", lambda: draw_tear_sheet(inputs.market, inputs.experiment, parameters, sheet)
            )
            if weighing is not None:
                try:
                    verdict = _verdict(opened, best[0], weighing)
                except WeighingInterruptedError:
                    interrupted = True
            refusal = copying.result()
            failure = drawing.result()
        places["tear sheet"] = str(sheet) if failure is None else f"not drawn, {failure}"
    elif opened.config.optuna.mirror_limit:
        with clock.phase("mirror"):
            refusal = _mirror(opened, facts)
    places["optuna dashboard"] = command_line("dashboard") if refusal is None else f"not copied, {refusal}"
    places["report"] = command_line("report", study=study.name)
    status: Status = "INTERRUPTED" if interrupted else "COMPLETE"
    if refusal is None and opened.config.optuna.mirror_limit:
        told = {name: places[name] for name in ("tear sheet", "report") if name in places}
        describe_study(store.database, study.id, status=status, facts=facts | told)
    clock.seconds["total"] = seconds_since_start()
    account = Account(
        status=status,
        n_wanted=opened.config.n_trials,
        data=facts["data"],
        benchmark=benchmark_metrics(inputs.experiment, inputs.market),
        verdict=verdict,
        places=places,
        warnings=inputs.warnings,
        seconds=clock.seconds,
    )
    return summarise(store, study, best, account)


def _mirror(opened: OpenStudy, facts: Mapping[str, str]) -> str | None:
    """Copy the study to Optuna's tables; return why not, which costs no verdict."""
    try:
        mirror(opened.store.database, opened.study.id, limit=opened.config.optuna.mirror_limit, facts=facts)
    except StudyError as refusal:
        return str(refusal)
    return None


def _verdict(opened: OpenStudy, best: TrialRecord, weighing: Weighing) -> dict[str, Any]:
    """Weigh a study and return the verdict as stored."""
    inputs, study = opened.inputs, opened.study
    verdict = weigh(opened, best, weighing)
    market = compare_with_market(inputs, best["parameters"])
    stored = verdict.to_dict() | {
        "lines": verdict.lines(),
        "chosen": best["number"],
        "chosen_holdout": market.chosen_holdout,
        "benchmark": market.benchmark,
        "benchmark_holdout": market.benchmark_holdout,
        "bars": describe_bars(inputs.bars, inputs.market, inputs.holdout),
        "data": describe_data(inputs.market, inputs.holdout),
        "warnings": inputs.warnings,
    }
    opened.store.save_verdict(study, stored)
    return stored
