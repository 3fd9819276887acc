"""The report of a stored sweep, drawn from the database: `python -m alphapulse.report`."""

from pathlib import Path

from alphapulse.config.schema import ReportConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import AlphaPulseError
from alphapulse.plain import command_line
from alphapulse.reports.formatting import print_warnings
from alphapulse.reports.page.page import REPORT, write_report
from alphapulse.reports.page.subject import Subject
from alphapulse.reports.summary import N_BEST, N_OF_FRONT, Account, summarise
from alphapulse.reports.summary_table import print_ending, print_summary
from alphapulse.search.settings import count_settings
from alphapulse.study.picking import rank_trials
from alphapulse.study.records import Study
from alphapulse.study.store import Store
from alphapulse.sweep.opening import stored_config


def run_report(config: ReportConfig, directory: Path) -> None:
    """Print the summary and the verdict of a study as they are stored, and draw its report into `directory`.

    Nothing is opened, and nothing is searched: only the chosen setting runs again, for its curves.

    Raises
    ------
    StudyError
        If there is no such study.
    """
    database = open_database(config.db)
    store = Store(database)
    assert config.study is not None
    study = store.find_study(config.study)
    verdict = study.current_verdict
    said = verdict or {}
    traded = study.config.get("data", {})
    account = Account(
        status=study.status,
        n_wanted=study.n_trials,
        n_settings=_n_settings(study),
        data=said.get("data", f"{', '.join(traded.get('symbols', ()))} {traded.get('timeframe', '')}"),
        benchmark=said.get("benchmark", {}),
        verdict=verdict,
        ended=said.get("ended"),
        places={
            "report": str(directory / REPORT),
            "database": database.url(),
            "optuna_dashboard": command_line("dashboard"),
            "replay": command_line("replay", study=study.name, trial="NUMBER"),
        },
        warnings=tuple(said.get("warnings", ())),
    )
    if not config.quiet:
        print_warnings(account.warnings)
    summary = summarise(store, study, rank_trials(store, study, N_BEST, N_OF_FRONT), account)
    print_summary(summary, config.output, details=config.details)
    write_report(Subject.of(store, study, verdict), directory / REPORT)
    print_ending(summary, config.output, details=config.details)


def _n_settings(study: Study) -> int | None:
    """Return how many settings a study has under its rules; None where they are too many, or its strategy is gone."""
    try:
        return count_settings(stored_config(study).space)
    except AlphaPulseError:
        return None
