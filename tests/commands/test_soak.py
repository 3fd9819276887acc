"""A sweep under faults at random moments, its command repeated until it is complete: the table of one left alone.

    ALPHAPULSE_SOAK_FAULTS=100 ALPHAPULSE_SOAK_SEED=7 pytest -s -m slow tests/commands/test_soak.py

takes about half an hour; without the variables there are few faults. Each is told as it happens (`-s`). What is swept
is changed by ALPHAPULSE_SOAK_KEYS="search=random n_trials=40000 search.generation_size=2000 store=best".
"""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from alphapulse.data_pipeline.embedded import ensure_server, stop_server

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.postgres]

ROOT = Path(__file__).parents[2]
N_FAULTS = int(os.environ.get("ALPHAPULSE_SOAK_FAULTS", "12"))
SEED = int(os.environ.get("ALPHAPULSE_SOAK_SEED", "1"))
LONGEST_SILENCE = 240.0
"""After its last fault a command has to end within this time [s]."""

KEYS = {
    "n_trials": "1500",
    "search": "tpe",
    "search.generation_size": "50",
    "seed": "3",
    "data.start": "2000-01-01",
    "data.end": "2010-01-01",
    "validation.n_bootstrap": "50",
    "validation.lookahead": "off",
    "validation.null_sweeps": "19",
    "validation.null_seconds": "100000",
    "optuna.mirror_limit": "0",
    "tear_sheet": "false",
    "cluster.dashboard": "false",
    "output": "json",
} | dict(key.split("=", 1) for key in os.environ.get("ALPHAPULSE_SOAK_KEYS", "").split())
COMMAND = [sys.executable, "-m", "alphapulse.sweep", *(f"{key}={value}" for key, value in KEYS.items())]


def title(process):
    try:
        return (process.cmdline() or [""])[0]
    except psutil.NoSuchProcess:
        # A zombie is one.
        return ""


def is_worker(process):
    return title(process).startswith("ray::") and not is_agent(process)


def is_agent(process):
    # It has its title as soon as it runs; whose death is the death of the node.
    return title(process) in ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


KILLED = {
    "worker": is_worker,
    "agent": is_agent,
    "raylet": lambda process: process.name() == "raylet",
    "gcs": lambda process: process.name() == "gcs_server",
}
KINDS = ("driver", *KILLED, "stopped worker", "database restarted", "database killed", "backends cut", "read-only")


class Soak:
    """A command under faults, and what became of it.

    Parameters
    ----------
    database : Database
    home : Path
        Of its embedded server.
    folder : Path
        Where the command runs.
    """

    def __init__(self, database, home, folder):
        self.database, self.home, self.folder = database, home, folder
        self.chance = random.Random(SEED)
        self.kinds = (kind for _ in itertools.count() for kind in self.chance.sample(KINDS, len(KINDS)))
        self.counts = Counter()
        self.errors = Counter()
        self.left = []
        self.numbers = itertools.count()

    def start(self, study):
        """Start the command; what it prints goes to files, which outlive it."""
        out, err = (self.folder / f"{name}{next(self.numbers)}" for name in ("out", "err"))
        n_cpus = self.chance.choice([1, 2])
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with out.open("w") as out_file, err.open("w") as err_file:
            process = subprocess.Popen(
                [*COMMAND, f"study={study}", f"cluster.num_cpus={n_cpus}"],
                cwd=self.folder, env=environment, stdout=out_file, stderr=err_file, start_new_session=True,
            )  # fmt: skip
        return process, out, err

    def run(self, study, n_faults):
        """Run the command until it is complete, under up to `n_faults`; return its summary."""
        while True:
            process, out, err = self.start(study)
            while process.poll() is None and self.counts.total() < n_faults:
                try:
                    process.wait(self.chance.expovariate(1 / 6))
                except subprocess.TimeoutExpired:
                    self.strike(process)
            code = process.wait(LONGEST_SILENCE)
            print(f"  exit code {code}", flush=True)
            if code == 0:
                return json.loads(out.read_text())
            said = err.read_text()
            assert "Traceback" not in said, said
            if code != -signal.SIGKILL:
                # What Ray's library logs itself comes between.
                last = next((line for line in said.splitlines()[::-1] if line.startswith("error: ")), said)
                assert code == 1, said
                assert last.startswith("error: "), said
                self.errors[last] += 1
                print(f"  {last}", flush=True)

    def strike(self, process):
        """Do the next fault to a command that runs."""
        kind = next(self.kinds)
        try:
            is_done = self.do(kind, process)
        except psutil.NoSuchProcess:
            is_done = False
        if is_done:
            self.counts[kind] += 1
            print(f"{self.counts.total()}: {kind}", flush=True)

    def do(self, kind, process):
        """Do a fault; return whether there was what it is done to."""
        descendants = psutil.Process(process.pid).children(recursive=True)
        match kind:
            case "driver":
                self.left += descendants
                process.kill()
            case "database restarted":
                stop_server(self.home)
                time.sleep(self.chance.random() * 3)
                ensure_server(self.home)
            case "database killed":
                stop_server(self.home, mode="immediate")
                ensure_server(self.home)
            case "backends cut":
                others = "datname = current_database() AND pid <> pg_backend_pid()"
                self.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            case "read-only":
                self.ask("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
                time.sleep(self.chance.random() * 5)
                self.ask("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
            case "stopped worker":
                workers = [child for child in descendants if is_worker(child)]
                for worker in workers[:1]:
                    worker.suspend()
                    time.sleep(self.chance.random() * 5)
                    worker.resume()
                return bool(workers)
            case _:
                found = [child for child in descendants if KILLED[kind](child)]
                for child in found[:1]:
                    child.kill()
                return bool(found)
        return True

    def ask(self, *statements):
        """Run statements that stand in no transaction."""
        with self.database.sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            for statement in statements:
                connection.execute(text(statement))


def null_values(database, study):
    query = "SELECT surrogate, value::text FROM null_sweep JOIN sweep ON id = sweep_id WHERE name = :name"
    with database.sync_engine.connect() as connection:
        return dict(tuple(row) for row in connection.execute(text(query), {"name": study}))


@pytest.mark.timeout(60 * N_FAULTS + 900)
def test_sweeps_under_faults_come_to_the_table_of_one_left_alone(database, home, table, tmp_path):
    soak = Soak(database, home, tmp_path)
    straight = soak.run("straight", 0)
    expected, nulls = table("straight"), null_values(database, "straight")
    for n in itertools.count():
        study = f"struck{n}"
        summary = soak.run(study, N_FAULTS)
        assert table(study) == expected
        # How many there are depends on what else was tried on the bars, and on the workers.
        for surrogate, value in null_values(database, study).items():
            assert nulls.setdefault(surrogate, value) == value
        assert summary["verdict"]["holdout"]["p"] == straight["verdict"]["holdout"]["p"]
        print(f"{study} is the same; {dict(soak.counts)}", flush=True)
        if soak.counts.total() >= N_FAULTS:
            break
    print(*(f"{number} x {line}" for line, number in soak.errors.most_common()), sep="\n", flush=True)
    deadline = time.monotonic() + 60
    while any(child.is_running() for child in soak.left) and time.monotonic() < deadline:
        time.sleep(1)
    assert [child.cmdline() for child in soak.left if child.is_running()] == []
