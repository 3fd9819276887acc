"""Where the time of a large sweep goes: seconds of its search beside the processor time of the backtests alone."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from alphapulse.data_pipeline.opening import open_database
from alphapulse.study.managing import delete_study
from alphapulse.study.store import Store
from alphapulse.sweep.inputs import load_inputs
from alphapulse.sweep.opening import make_study_sampler, stored_config
from alphapulse.sweep.scale.drawing import Drawing
from alphapulse.sweep.starting import StartPoints
from alphapulse.sweep.worker import evaluate_batch

PARTS = ("worker", "driver", "postgres", "ray", "other")
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class ScaleRun:
    """A large random sweep.

    Attributes
    ----------
    n_trials, n_cpus : int
    seconds : float
        Of the search [s].
    alone : float
        Processor time of `evaluate_batch` for the same trials in a process without anything else, after the sweep [s].
    inside : float
        The same in the workers of the sweep [s].
    parts : dict of str to float
        Processor time of the search by kind of process [s].
    """

    n_trials: int
    n_cpus: int
    seconds: float
    alone: float
    inside: float
    parts: dict[str, float]

    @property
    def ratio(self) -> float:
        """Seconds of the search times processors over the processor time of the backtests alone [1]."""
        return self.seconds * self.n_cpus / self.alone

    @property
    def busy_ratio(self) -> float:
        """Processor time of all processes over that of the backtests in them [1]; others do not count."""
        return sum(self.parts.values()) / self.inside


def run(n_trials: int, store: str, *, n_cpus: int = 2, overrides: tuple[str, ...] = ()) -> ScaleRun:
    """Run a random sweep of the default strategy as a user does, without null sweeps, and measure it."""
    name = f"scale-{time.time_ns()}"
    command = [
        sys.executable, "-m", "benchmarks.inside", f"study={name}", f"n_trials={n_trials}", "search=random",
        f"store={store}", f"cluster.num_cpus={n_cpus}", "validation.null_sweeps=0", "output=json", "quiet=true",
        *overrides,
    ]  # fmt: skip
    file = Path(tempfile.mkdtemp()) / "inside"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SCALE_FILE": str(file)})
    samples = list(_watch(process))
    assert process.stdout is not None
    seconds = json.loads(process.stdout.read())["seconds"]
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    end = seconds["to_best"]
    first, last = (
        min(samples, key=lambda sample: abs(sample[0] - moment))[1] for moment in (end - seconds["search"], end)
    )
    parts = {part: last.get(part, 0.0) - first.get(part, 0.0) for part in PARTS}
    with _kept(name) as alone:
        return ScaleRun(n_trials, n_cpus, seconds["search"], n_trials * alone, float(file.read_text()), parts)


def _watch(process: subprocess.Popen[str]) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield the age of a driver [s] and the processor time of all processes so far by kind [s], until it ends."""
    driver = psutil.Process(process.pid)
    born = driver.create_time()
    spent: dict[tuple[int, float], tuple[str, float]] = {}
    while process.poll() is None:
        with suppress(psutil.Error):
            for one in [driver, *driver.children(recursive=True), *_servers()]:
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    spent[one.pid, one.create_time()] = (_kind(one, driver), times.user + times.system)
        parts: dict[str, float] = defaultdict(float)
        for kind, seconds in spent.values():
            parts[kind] += seconds
        yield time.time() - born, dict(parts)
        time.sleep(SAMPLE_SECONDS)


def _servers() -> list[psutil.Process]:
    """Return the processes of the embedded database."""
    home = os.environ.get("ALPHAPULSE_HOME", "")
    found = [p for p in psutil.process_iter(["name", "cmdline"]) if p.info["name"] == "postgres"]
    mothers = [
        p for p in found if p.info["cmdline"] and home in " ".join(p.info["cmdline"]) and "-D" in p.info["cmdline"]
    ]
    return [*mothers, *(child for mother in mothers for child in mother.children(recursive=True))]


def _kind(one: psutil.Process, driver: psutil.Process) -> str:
    if one.pid == driver.pid:
        return "driver"
    name = " ".join(one.cmdline()[:1]) or one.name()
    if "postgres" in name:
        return "postgres"
    if name.startswith("ray::"):
        return "worker"
    return "ray" if one.name() in ("raylet", "gcs_server") else "other"


@contextmanager
def _kept(name: str, n_trials: int = 40_960) -> Iterator[float]:
    """Yield the processor time of a trial of a stored study, drawn and evaluated here [s]; then delete the study."""
    store = Store(open_database())
    study = store.find_study(name)
    config = stored_config(study)
    inputs = load_inputs(config, store.database)
    drawing = Drawing(make_study_sampler(config, study.config["sampler"], StartPoints.of(study).points))
    size = 4096
    # The first one compiles and fills the cache of indicators.
    parameters = [drawing.between(first, first + size) for first in range(0, n_trials + size, size)]
    evaluate_batch(inputs.market, inputs.experiment, parameters[0], keep=np.zeros(size, dtype=np.bool_))
    before = time.process_time()
    for batch in parameters[1:]:
        evaluate_batch(inputs.market, inputs.experiment, batch, keep=np.zeros(len(batch), dtype=np.bool_))
    yield (time.process_time() - before) / n_trials
    delete_study(store.database, study)


def main() -> None:
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for store in sys.argv[2:] or ("best", "all"):
        result = run(n_trials, store)
        parts = ", ".join(f"{part} {seconds / result.inside:.3f}" for part, seconds in result.parts.items())
        print(
            f"store={store}: {result.seconds:.1f} s, {result.n_trials / result.seconds:,.0f} trials/s; seconds x cores "
            f"over the backtests alone {result.ratio:.3f}; processor time over that of the backtests inside "
            f"{result.busy_ratio:.3f} ({parts}); a trial {1e6 * result.alone / result.n_trials:.1f} us alone, "
            f"{1e6 * result.inside / result.n_trials:.1f} us inside",
            flush=True,
        )


if __name__ == "__main__":
    main()
