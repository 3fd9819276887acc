"""The verdict of what is stored, and null sweeps still to run: `python -m alphapulse.weigh`."""

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alphapulse.commands.interruption import Interruption, interrupted
from alphapulse.config.schema import SweepConfig, WeighConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import StudyError
from alphapulse.reports.closing import conclude, describe_end, follow_up
from alphapulse.reports.progress import LOOKING, NullProgress, Phases, look_ahead
from alphapulse.reports.summary import StudySummary
from alphapulse.reports.summary_table import print_ending, print_summary
from alphapulse.reports.weighing import Weighing
from alphapulse.study.records import Status, Study
from alphapulse.study.store import Store
from alphapulse.sweep.clock import Clock
from alphapulse.sweep.inputs import compile_for, load_inputs, pass_gate
from alphapulse.sweep.opening import make_study_sampler, reopen_study, stored_config
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.streams import WithoutRaylet


def run_weigh(config: WeighConfig, directory: Path) -> None:
    """Weigh a study as it is stored, an interrupted one too, and print its summary; this counts as an opening.

    Raises
    ------
    StudyError
        If there is no such study, it has no trials, or another command is running it.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    results = sys.stdout
    with redirect_stdout(WithoutRaylet(sys.stderr)):
        summary = weigh_study(config, console, directory)
        print_summary(summary, config.output, details=config.details, file=results)
        print_ending(summary, config.output, details=config.details, file=results)
    if summary.status == "INTERRUPTED" and summary.verdict is None:
        raise interrupted()


def weigh_study(config: WeighConfig, console: Console, directory: Path) -> StudySummary:
    """Weigh a stored study and leave its files in `directory`."""
    clock, say = Clock(), Phases(console, quiet=config.quiet)
    with clock.phase("load"), say("opening the database and loading the bars"):
        store = Store(open_database(config.db))
        assert config.study is not None
        study = store.find_study(config.study)
        if study.n_done == 0:
            raise StudyError(f"Study {study.name!r} has no trials to weigh; run `python -m alphapulse.sweep` first.")
        configured = configuration_of(study, config)
        inputs = load_inputs(configured, store.database)
    opened = reopen_study(study, configured, store, inputs)
    status: Status = "COMPLETE" if study.status == "COMPLETE" else "INTERRUPTED"
    try:
        cluster = Cluster.of(config.cluster, study.name)
        try:
            is_risky = not inputs.experiment.definition.is_built_in
            if not is_risky:
                with clock.phase("gate"), say(LOOKING) as looking:
                    opened = replace(opened, inputs=pass_gate(inputs, configured, watch=look_ahead(looking)))
            with clock.phase("compile"), say("compiling"):
                compile_for(opened.inputs, make_study_sampler(configured, opened.sampler.name))
            with clock.phase("ray"), say("starting Ray"):
                cluster.wait_until_started()
            if is_risky:
                with clock.phase("gate"), say(LOOKING) as looking:
                    opened = replace(opened, inputs=pass_gate(inputs, configured, cluster, look_ahead(looking)))
            with Interruption() as interruption, NullProgress(console, quiet=config.quiet) as progress:
                weighing = Weighing(
                    cluster, clock, progress.update, lambda: interruption.requested, progress.update_holdout
                )
                summary = conclude(opened, directory, clock, weighing, interrupted=False, ended=describe_end(opened))
            with say("drawing the report"):
                return follow_up(opened, summary, directory, clock)
        finally:
            cluster.close()
    finally:
        store.finish(opened.study, status)


def configuration_of(study: Study, config: WeighConfig) -> SweepConfig:
    """Return the configuration of a stored study, with what the command says of its null sweeps."""
    stored = stored_config(study)
    given = {name: value for name, value in vars(config.validation).items() if value is not None}
    return replace(stored, db=config.db, cluster=config.cluster, validation=replace(stored.validation, **given))
