"""One study from configuration to verdict: `python -m alphapulse.sweep`."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from alphapulse.backtesting.building import Build
from alphapulse.commands.interruption import interrupted
from alphapulse.config.assembly import require_space, with_rules
from alphapulse.config.given import Given
from alphapulse.config.schema import SweepConfig
from alphapulse.data_pipeline.downloading.importing import import_first
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import StudyError
from alphapulse.progress import JsonConsole
from alphapulse.reports.progress import LOOKING, Phases, look_ahead
from alphapulse.study.store import Store
from alphapulse.sweep.clock import Clock, seconds_since_start
from alphapulse.sweep.inputs import compile_for, load_inputs, pass_gate
from alphapulse.sweep.opening import OpenStudy, abandon, continued_config, make_study_sampler, open_study
from alphapulse.sweep.searching import is_searched, is_weighed
from alphapulse.sweep.starting import start_points
from alphapulse.sweep.workers.cluster import Cluster
from alphapulse.sweep.workers.streams import WithoutRaylet

if TYPE_CHECKING:
    from alphapulse.reports.summary import StudySummary


def run_sweep(config: SweepConfig, directory: Path, given: Given | None = None) -> None:
    """Run a study up to `config.n_trials` trials, weigh it, print its summary, and leave its files in `directory`.

    With `given` a study that is stored has its own configuration, and of `config` only what was typed. Ctrl-C ends it
    cleanly: what is done is stored, the summary says how to continue, and KeyboardInterrupt is raised. StudyError is
    raised where every trial has failed.

    Raises
    ------
    AlphaPulseError
        For whatever a user can cause, in one line.
    """
    study = config.study or ""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if config.log == "json":
        console = JsonConsole(study)
    results = sys.stdout

    def tell(summary: "StudySummary") -> None:
        from alphapulse.reports.summary_table import print_summary

        print_summary(summary, config.output, details=config.details, file=results)

    # Ray and strategies print when they like, from threads of theirs too; stdout is for the results alone.
    with redirect_stdout(WithoutRaylet(sys.stderr)):
        summary = run_study(
            lambda: Cluster.of(config.cluster, study, console.print), config, console, directory, given, tell
        )
        from alphapulse.reports.summary_table import print_ending

        print_ending(summary, config.output, details=config.details, file=results)
    if summary.status == "INTERRUPTED":
        raise interrupted()
    if summary.n_trials and summary.n_failed == summary.n_trials:
        reason = next(iter(summary.failures), "").rstrip(".")
        raise StudyError(f"All {summary.n_trials:,} trials of study {summary.study!r} failed, most of them: {reason}.")


def run_study(
    start: Callable[[], Cluster],
    config: SweepConfig,
    console: Console,
    directory: Path | None,
    given: Given | None = None,
    tell: "Callable[[StudySummary], None]" = lambda summary: None,
) -> "StudySummary":
    """Run a study and leave its files in `directory`.

    Parameters
    ----------
    start : callable
        Begins to start a cluster and returns it; called when nothing that a user may have got wrong is left
        to find out quickly, and not at all if no trial is missing.
    config : SweepConfig
        A configuration with a name in `study`.
    console : Console
        Where progress and warnings go.
    directory : Path, optional
        None leaves no files.
    given : Given, optional
        The keys of `config` that count where the study is stored; None is all of them.
    tell : callable
        Called with the summary as soon as there is one; files follow.

    Returns
    -------
    StudySummary
        Its status is INTERRUPTED after Ctrl-C.
    """
    clock, say = Clock(), Phases(console, quiet=config.quiet)
    with clock.phase("load"), say("opening the database and loading the bars"):
        store = Store(open_database(config.db))
        data, imported = import_first(store.database, config.data)
        config = replace(config, data=data)
        assert config.study is not None
        exists = store.exists(config.study)
        if exists and given is not None:
            config = continued_config(store.find_study(config.study), config, given)
        config = with_rules(config)
        require_space(config)
        spare = make_study_sampler(config)
        inputs = load_inputs(config, store.database)
        begin = None if exists else start_points(config, inputs.experiment, store)
    if not config.quiet:
        for line in imported:
            console.print(line)
    cluster: Cluster | None = None
    opened: OpenStudy | None = None
    build: Build | None = None
    try:
        try:
            # A study that exists is checked before Ray starts; a new one is made when nothing can stop it any more.
            if exists:
                opened = open_study(config, store, inputs)
            if opened is None or not is_searched(opened) or not is_weighed(opened):
                clock.seconds["to_ray"] = seconds_since_start()
                cluster = start()
            build = Build(spare.name, len(config.objective))
            if not config.quiet:
                for line in (*inputs.warnings, *(begin.notes if begin else ())):
                    console.print(f"warning: {line}")
            # A strategy of the user's may end the process that it runs in; ours are checked while Ray starts.
            is_risky = cluster is not None and not inputs.experiment.definition.is_built_in
            if not is_risky:
                with clock.phase("gate"), say(LOOKING) as looking:
                    inputs = pass_gate(inputs, config, watch=look_ahead(looking))
            first = "compiling, which the first sweep on a machine does for some seconds"
            with clock.phase("compile"), say(first if build.is_needed else "loading compiled code"):
                compile_for(inputs, spare, build)
            # What the rest needs takes half a second to import, in which Ray starts.
            from alphapulse.commands import running

            if cluster is not None:
                with clock.phase("ray"), say("starting Ray"):
                    cluster.wait_until_started()
            if is_risky:
                with clock.phase("gate"), say(LOOKING) as looking:
                    inputs = pass_gate(inputs, config, cluster, look_ahead(looking))
            opened = replace(opened, inputs=inputs) if opened is not None else open_study(config, store, inputs, begin)
            summary = running.run_opened(opened, cluster, console, directory, clock)
            store.finish(opened.study, "INTERRUPTED" if summary.status == "INTERRUPTED" else "COMPLETE")
        except BaseException:
            if opened is not None:
                abandon(opened)
            raise
        if cluster is not None:
            cluster.close_early()
        tell(summary)
        with say("drawing the report" if directory else "copying to Optuna's tables"):
            return running.follow_up(opened, summary, directory, clock)
    finally:
        if build is not None:
            build.stop()
        if cluster is not None:
            cluster.close()
