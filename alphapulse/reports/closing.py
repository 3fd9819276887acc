"""The end of a sweep: verdict, copy in Optuna's tables and tear sheet side by side, then the summary."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from alphapulse.errors import StudyError
from alphapulse.reports.summary import N_BEST, Account, StudySummary, describe_data, summarise
from alphapulse.reports.tear_sheet_process import draw_tear_sheet
from alphapulse.reports.weighing import benchmark_metrics, weigh
from alphapulse.study.optuna_mirror import mirror
from alphapulse.study.records import TrialRecord
from alphapulse.sweep.clock import Clock, seconds_since_start
from alphapulse.sweep.opening import OpenStudy

TEAR_SHEET = "tear_sheet.html"

Result = TypeVar("Result")


def conclude(opened: OpenStudy, directory: Path, clock: Clock, *, interrupted: bool) -> StudySummary:
    """Return the summary of a study; unless it was interrupted, with verdict, copy in Optuna's tables and tear sheet.

    Parameters
    ----------
    opened : OpenStudy
    directory : Path
        Where the tear sheet goes.
    clock : Clock
    interrupted : bool
        Whether the search was ended early.
    """
    store, study, inputs = opened.store, opened.study, opened.inputs
    places = {
        "database": store.database.url(),
        "study": study.name,
        "run directory": str(directory),
    }
    best = store.best(study, N_BEST)
    verdict = None
    if best and not interrupted:
        sheet = directory / TEAR_SHEET
        parameters = best[0]["parameters"]

        def timed(name: str, work: Callable[[], Result]) -> Result:
            with clock.phase(name):
                return work()

        with ThreadPoolExecutor(2, thread_name_prefix="closing") as pool:
            copying = pool.submit(timed, "mirror", lambda: _mirror(opened))
            drawing = pool.submit(
                timed, "tear_sheet", lambda: draw_tear_sheet(inputs.market, inputs.experiment, parameters, sheet)
            )
            with clock.phase("verdict"):
                verdict = _verdict(opened, best[0])
            refusal = copying.result()
            failure = drawing.result()
        places["tear sheet"] = str(sheet) if failure is None else f"not drawn, {failure}"
        dashboard = "python -m alphapulse.dashboard"
        places["optuna dashboard"] = dashboard if refusal is None else f"not copied, {refusal}"
    places["report"] = f"python -m alphapulse.report study={study.name}"
    clock.seconds["total"] = seconds_since_start()
    account = Account(
        status="INTERRUPTED" if interrupted else "COMPLETE",
        n_wanted=opened.config.n_trials,
        data=describe_data(inputs.market, inputs.holdout),
        benchmark=benchmark_metrics(inputs.experiment, inputs.market),
        verdict=verdict,
        places=places,
        warnings=inputs.warnings,
        seconds=clock.seconds,
    )
    return summarise(store, study, best, account)


def _mirror(opened: OpenStudy) -> str | None:
    """Copy the study to Optuna's tables; return why not, which costs no verdict."""
    try:
        mirror(opened.store.database, opened.study.id, limit=opened.config.optuna.mirror_limit)
    except StudyError as refusal:
        return str(refusal)
    return None


def _verdict(opened: OpenStudy, best: TrialRecord) -> dict[str, Any]:
    """Return the verdict as stored; the stored one if no trial came after it."""
    inputs, study = opened.inputs, opened.study
    if study.verdict is not None and study.verdict.get("n_trials") == opened.store.n_done(study):
        return study.verdict
    verdict = weigh(opened, best)
    stored = verdict.to_dict() | {
        "lines": verdict.lines(),
        "chosen": best["number"],
        "benchmark": benchmark_metrics(inputs.experiment, inputs.market),
        "data": describe_data(inputs.market, inputs.holdout),
        "warnings": inputs.warnings,
    }
    opened.store.save_verdict(study, stored)
    return stored
