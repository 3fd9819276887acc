"""The report of a stored sweep, from the database alone: `python -m alphapulse.report`."""

from alphapulse.config.schema import ReportConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.plain import command_line
from alphapulse.reports.formatting import print_warnings
from alphapulse.reports.summary import N_BEST, Account, summarise
from alphapulse.reports.summary_table import print_summary
from alphapulse.study.store import Store


def run_report(config: ReportConfig) -> None:
    """Print the summary and the verdict of a study as they are stored.

    Raises
    ------
    StudyError
        If there is no such study.
    """
    database = open_database(config.db)
    store = Store(database)
    assert config.study is not None
    study = store.find_study(config.study)
    # A verdict speaks of the trials that there were; with more of them it is out of date.
    verdict = study.verdict if study.verdict is not None and study.verdict["n_trials"] == study.n_done else None
    said = verdict or {}
    traded = study.config.get("data", {})
    account = Account(
        status=study.status,
        n_wanted=study.n_trials,
        data=said.get("data", f"{', '.join(traded.get('symbols', ()))} {traded.get('timeframe', '')}"),
        benchmark=said.get("benchmark", {}),
        verdict=verdict,
        places={
            "database": database.url(),
            "optuna dashboard": command_line("dashboard"),
            "replay": command_line("replay", study=study.name, trial="NUMBER"),
        },
        warnings=tuple(said.get("warnings", ())),
    )
    if not config.quiet:
        print_warnings(account.warnings)
    print_summary(summarise(store, study, store.best(study, N_BEST), account), config.output)
