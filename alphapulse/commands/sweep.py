"""One study from configuration to verdict: `python -m alphapulse.sweep`."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
from rich.console import Console

from alphapulse.backtesting.metrics import METRICS
from alphapulse.commands.interruption import Interruption
from alphapulse.config.assembly import disassemble
from alphapulse.config.command import run_directory
from alphapulse.config.schema import SweepConfig
from alphapulse.data_pipeline.database import Database, open_database
from alphapulse.errors import AlphaPulseError, StudyError
from alphapulse.reports.progress import SweepProgress
from alphapulse.reports.summary import N_BEST, StudySummary, describe_data, print_summary, summarise
from alphapulse.reports.tear_sheet_process import draw_tear_sheet
from alphapulse.reports.weighing import benchmark_metrics, weigh
from alphapulse.search.choosing import Sampler, make_sampler
from alphapulse.study.optuna_mirror import mirror
from alphapulse.study.records import Generation, Study, TrialRecord
from alphapulse.study.store import Store
from alphapulse.sweep.cluster import Cluster
from alphapulse.sweep.duplicates import Duplicates
from alphapulse.sweep.generations import Generations
from alphapulse.sweep.inputs import (
    Preparation,
    changes_since,
    code_version,
    compile_for,
    load,
    package_versions,
    pass_gate,
)
from alphapulse.sweep.study_state import Streaming
from alphapulse.typing import Float64Array1D

TEAR_SHEET = "tear_sheet.html"

Result = TypeVar("Result")


@dataclass
class Clock:
    """Seconds by phase, in the order in which they were first entered."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block to the phase `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def run_sweep(config: SweepConfig) -> None:
    """Run a study up to `config.n_trials` trials, weigh it, and print its summary.

    Ctrl-C ends it cleanly: what is done is stored, the summary says how to continue, and KeyboardInterrupt is raised.

    Raises
    ------
    AlphaPulseError
        Whatever a user can cause, in one line.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    workers = config.cluster

    def start() -> Cluster:
        return Cluster(workers.address, workers.num_cpus, dashboard=workers.dashboard)

    # Ray and strategies print when they like; stdout is for the results alone.
    with redirect_stdout(sys.stderr):
        summary = run_study(start, config, console, run_directory())
    print_summary(summary, config.output)
    if summary.status == "INTERRUPTED":
        raise KeyboardInterrupt


def run_study(start: Callable[[], Cluster], config: SweepConfig, console: Console, directory: Path) -> StudySummary:
    """Run a study and leave its files in `directory`.

    Parameters
    ----------
    start : callable
        Begins to start a cluster and returns it; called when nothing that a user may have got wrong is left
        to find out quickly, and not at all if no trial is missing.
    config : SweepConfig
        With a name in `study`.
    console : Console
        For progress and warnings.
    directory : Path

    Returns
    -------
    StudySummary
        Its status is INTERRUPTED after Ctrl-C.
    """
    clock = Clock()
    with clock.phase("load"):
        database = open_database(config.db)
        store = Store(database)
        make_study_sampler(config)
        loaded = load(config, database)
    opening = _Opening(store, config, loaded)
    if not config.quiet:
        for line in loaded.warnings:
            console.print(f"warning: {line}")
    cluster: Cluster | None = None
    try:
        # A study that exists is checked before Ray starts; a new one is made when nothing can stop it any more.
        if opening.exists:
            opening.open()
        if opening.study is None or opening.study.n_done < config.n_trials:
            cluster = start()
        with clock.phase("gate"):
            preparation = pass_gate(loaded, config)
        with clock.phase("compile"):
            compile_for(preparation)
        if cluster is not None:
            with clock.phase("ray"):
                cluster.wait_until_started()
        study, sampler = opening.study or opening.open(), opening.sampler
        assert sampler is not None
        run = _Run(config, database, store, study, preparation, console, directory, clock)
        interrupted = cluster is not None and run.search(cluster, sampler)
        if cluster is not None:
            cluster.close_early()
        summary = run.conclude(interrupted)
        store.finish(study, "INTERRUPTED" if interrupted else "COMPLETE")
    except BaseException:
        opening.abandon()
        raise
    finally:
        if cluster is not None:
            cluster.close()
    return summary


def make_study_sampler(config: SweepConfig, name: str | None = None) -> Sampler:
    """Return the sampler of a study, under another name than the configuration's where one is given."""
    return make_sampler(
        name or config.search.sampler,
        config.space,
        seed=config.seed,
        n_objectives=len(config.objective),
        directions=config.directions,
        n_trials=config.n_trials,
        options=config.search.options,
    )


class _Opening:
    """The study between its name and its first trial."""

    def __init__(self, store: Store, config: SweepConfig, loaded: Preparation) -> None:
        self.study: Study | None = None
        self.sampler: Sampler | None = None
        self._store, self._config, self._loaded = store, config, loaded

    @property
    def exists(self) -> bool:
        """Whether the study is stored already."""
        assert self._config.study is not None
        try:
            self._store.find_study(self._config.study)
        except StudyError:
            return False
        return True

    def open(self) -> Study:
        """Make or continue the study; a continued one keeps the sampler that "auto" chose for it."""
        config, experiment = self._config, self._loaded.experiment
        sampler = make_study_sampler(config)
        assert config.study is not None
        self.study = self._store.open_study(
            config.study,
            config=disassemble(config) | {"sampler": sampler.name},
            seed=config.seed,
            fingerprint=self._loaded.market.fingerprint,
            code_version=code_version(experiment.definition),
            packages=package_versions(),
            space=config.space,
            objectives=config.objective,
            directions=config.directions,
            n_trials=config.n_trials,
        )
        chosen = self.study.config.get("sampler", sampler.name)
        self.sampler = sampler if chosen == sampler.name else make_study_sampler(config, chosen)
        return self.study

    def abandon(self) -> None:
        """Let other drivers in after an error, with what is stored."""
        if self.study is not None:
            with suppress(AlphaPulseError, KeyError):
                self._store.finish(self.study, "INTERRUPTED")


@dataclass
class _Run:
    """A study that is open, with all that its search and its end need."""

    config: SweepConfig
    database: Database
    store: Store
    study: Study
    preparation: Preparation
    console: Console
    directory: Path
    clock: Clock

    def search(self, cluster: Cluster, sampler: Sampler) -> bool:
        """Run the missing trials; return whether the user ended it early."""
        config, study = self.config, self.study
        experiment = self.preparation.experiment
        cluster.ship(self.preparation.market, experiment)
        if not config.quiet:
            self._announce(cluster, sampler)
        pending: deque[Future[None]] = deque()

        def commit(generation: Generation) -> None:
            while pending and pending[0].done():
                pending.popleft().result()
            pending.append(self.store.append(study, generation))
            self.clock.seconds.setdefault("to_first_trial", seconds_since_start())

        progress = SweepProgress(
            self.console,
            n_trials=config.n_trials,
            n_done=study.n_done,
            objective=config.objective[0],
            quiet=config.quiet,
        )
        streaming = self._streaming()
        evaluated_before = streaming.seconds
        with Interruption() as interruption, progress, self.clock.phase("search"):
            generations = Generations(
                sampler,
                cluster,
                commit,
                streaming,
                Duplicates(config.space, len(METRICS), len(config.objective)),
                n_objectives=len(config.objective),
                n_trials=config.n_trials,
                keep_blocks=config.validation.keep_blocks,
                maximize=config.directions[0] == "maximize",
                watch=progress.update,
                stop=lambda: interruption.requested,
            )
            generations.continue_from(
                study.n_done,
                lambda start, stop: self.store.history(study, start, stop),
                needs_history=sampler.needs_history,
            )
            generations.run()
            for future in pending:
                future.result()
        # Both run beside the search: the workers' time, over all of them, and the time of the writing connection.
        self.clock.seconds["evaluate"] = streaming.seconds - evaluated_before
        self.clock.seconds["store"] = self.store.seconds_writing(study)
        return interruption.requested and generations.n_done < config.n_trials

    def _announce(self, cluster: Cluster, sampler: Sampler) -> None:
        if sampler.reason:
            self.console.print(sampler.reason)
        if self.study.n_done:
            self.console.print(f"continuing study {self.study.name} after {self.study.n_done:,} trials")
            for change in changes_since(self.study, self.preparation):
                self.console.print(f"warning: changed since the study began: {change}; later trials may differ.")
        if cluster.dashboard:
            self.console.print(
                f"Ray dashboard: http://{cluster.dashboard} (if it asks for a token: `ray get-auth-token` prints it)"
            )

    def _streaming(self) -> Streaming:
        state = self.store.state(self.study)
        return Streaming.start(self.config.validation.n_bootstrap) if state is None else Streaming.from_bytes(state)

    def conclude(self, interrupted: bool) -> StudySummary:
        """Return the summary; unless `interrupted`, with verdict, copy in Optuna's tables and tear sheet."""
        places = {
            "database": self.database.url(),
            "study": self.study.name,
            "run directory": str(self.directory),
        }
        best = self.store.best(self.study, N_BEST)
        verdict = None
        if best and not interrupted:
            sheet = self.directory / TEAR_SHEET
            with ThreadPoolExecutor(2, thread_name_prefix="closing") as pool:
                copying = pool.submit(self._timed, "mirror", self._mirror)
                drawing = pool.submit(self._timed, "tear_sheet", lambda: self._draw(best[0]["parameters"], sheet))
                with self.clock.phase("verdict"):
                    verdict = self._verdict(best[0])
                refusal = copying.result()
                failure = drawing.result()
            places["tear sheet"] = str(sheet) if failure is None else f"not drawn, {failure}"
            dashboard = "python -m alphapulse.dashboard"
            places["optuna dashboard"] = dashboard if refusal is None else f"not copied, {refusal}"
        places["report"] = f"python -m alphapulse.report study={self.study.name}"
        self.clock.seconds["total"] = seconds_since_start()
        return summarise(
            self.store,
            self.study,
            n_wanted=self.config.n_trials,
            status="INTERRUPTED" if interrupted else "COMPLETE",
            data=self._data,
            best=best,
            benchmark=benchmark_metrics(self.preparation.experiment, self.preparation.market),
            verdict=verdict,
            places=places,
            warnings=self.preparation.warnings,
            seconds=self.clock.seconds,
        )

    @property
    def _data(self) -> str:
        return describe_data(self.preparation.market, self.preparation.holdout)

    def _timed(self, name: str, work: Callable[[], Result]) -> Result:
        with self.clock.phase(name):
            return work()

    def _mirror(self) -> str | None:
        """Copy the study to Optuna's tables; return why not, which costs no verdict."""
        try:
            mirror(self.database, self.study.id, limit=self.config.optuna.mirror_limit)
        except StudyError as refusal:
            return str(refusal)
        return None

    def _draw(self, parameters: Float64Array1D, path: Path) -> str | None:
        return draw_tear_sheet(self.preparation.market, self.preparation.experiment, parameters, path)

    def _verdict(self, best: TrialRecord) -> dict[str, Any]:
        """Return the verdict as stored; the stored one if no trial came after it."""
        store, study = self.store, self.study
        n_done = store.n_trials_done(study)
        if study.verdict is not None and study.verdict.get("n_trials") == n_done:
            return study.verdict
        preparation = self.preparation
        n_openings = 0
        if preparation.holdout is not None:
            n_openings = store.record_opening(study.fingerprint, study, best["number"])
        verdict = weigh(
            self.config,
            preparation.experiment,
            preparation.market,
            preparation.holdout,
            self._streaming(),
            store,
            study,
            best=best,
            n_trials=n_done,
            n_trials_on_data=store.count_trials(study.fingerprint),
            n_openings=n_openings,
            gate=preparation.gate,
        )
        stored = verdict.to_dict() | {
            "lines": verdict.lines(),
            "chosen": best["number"],
            "benchmark": benchmark_metrics(preparation.experiment, preparation.market),
            "data": self._data,
            "warnings": preparation.warnings,
        }
        store.save_verdict(study, stored)
        return stored


def seconds_since_start() -> float:
    """Return the age of this process [s]."""
    return time.time() - float(psutil.Process().create_time())
