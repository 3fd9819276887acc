"""Clusters of several nodes, each with its own Ray: one with other code, one that joins, one that is killed."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

ROOT = Path(__file__).parents[3]
HELPER = """
import numpy as np

def momentum(close, n):
    out = np.zeros(len(close))
    out[n:] = np.sign(close[n:] - close[:-n])
    return out
"""
pytestmark = [pytest.mark.ray, pytest.mark.postgres]


@contextlib.contextmanager
def node(folder, *arguments, code=ROOT):
    """A node of its own, head or not, until the block is left; yields the process and what it printed first."""
    # Where it names a running cluster, a node refuses to start.
    environment = {**os.environ, "PYTHONPATH": str(code), "RAY_AUTH_MODE": "token", "RAY_ADDRESS": ""}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--include-dashboard=false", *arguments]
    if "--head" not in arguments:
        command.remove("--include-dashboard=false")
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if ("ray start --address=" if "--head" in arguments else "Ray runtime started") in line:
                break
        yield process, "".join(lines)
    finally:
        kill(process)


def kill(process):
    """Kill a node with all of its processes, some of which have sessions of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            one.kill()


def head(folder, *, n_cpus=1):
    return node(folder, "--head", "--port=0", f"--num-cpus={n_cpus}")


def address_of(text):
    return next(line.split("'")[1] for line in text.splitlines() if "ray start --address=" in line)


def sweep(folder, address, *more, code=0, study="nodes"):
    command = [
        sys.executable, "-m", "alphapulse.sweep", f"study={study}", f"cluster.address={address}", "n_trials=600",
        "search=random", "search.generation_size=100", "data.start=2010-01-01", "validation.null_sweeps=0",
        "validation.n_bootstrap=50", "validation.lookahead=off", "optuna.mirror_limit=0", "output=json", "quiet=true",
        *more,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else None, done.stderr


def n_done(database, study):
    with database.sync_engine.connect() as connection:
        return connection.scalar(text("SELECT n_done FROM sweep WHERE name = :name"), {"name": study}) or 0


@pytest.fixture
def changed_code(tmp_path):
    """A copy of the package whose engine computes something else."""
    copy = tmp_path / "changed"
    shutil.copytree(ROOT / "alphapulse", copy / "alphapulse", ignore=shutil.ignore_patterns("__pycache__"))
    worker = copy / "alphapulse" / "sweep" / "worker.py"
    worker.write_text(worker.read_text() + "\nCHANGED = True\n")
    return copy


@pytest.fixture
def other_numba(tmp_path):
    """A folder that makes a node believe that its numba is another one."""
    folder = tmp_path / "numba"
    shutil.copytree(ROOT / "alphapulse", folder / "alphapulse", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "numba-9.9.dist-info").mkdir()
    (folder / "numba-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numba\nVersion: 9.9\n")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("fixture", "what"), [("changed_code", "alphapulse "), ("other_numba", "numba 9.9 instead of ")]
)
def test_node_with_other_code_is_named_and_left_out(database, tmp_path, request, fixture, what):
    with head(tmp_path) as (_, said):
        address = address_of(said)
        with node(tmp_path, f"--address={address}", "--num-cpus=1", code=request.getfixturevalue(fixture)):
            summary, err = sweep(tmp_path, address)
    assert summary["n_trials"] == 600
    lines = [line for line in err.splitlines() if f"is left out: {what}" in line]
    assert len(lines) == 1, err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sweep_by_rays_client_has_the_table_of_a_local_one(database, table, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "mine.py").write_text(
        "from helper import momentum\n\ndef strat(close, n=5, k=1.0):\n    return k * momentum(close, n)\n"
    )
    (tmp_path / "helper.py").write_text(HELPER)
    own = ["strategy._target_=mine.strat", "strategy.n=int(interval(2,50))", "strategy.k=interval(0.1,1)"]
    with node(tmp_path, "--head", "--port=0", "--num-cpus=1", f"--ray-client-server-port={port}") as (_, said):
        summary, err = sweep(tmp_path, f"ray://127.0.0.1:{port}", *own)
        assert summary["n_trials"] == 600, err
        sweep(tmp_path, address_of(said), *own, study="straight")
    assert table("nodes") == table("straight")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cluster_without_processors_waits_for_a_node_that_joins_with_what_is_asked_for(database, tmp_path):
    with head(tmp_path, n_cpus=0) as (_, said):
        address = address_of(said)
        joined = contextlib.ExitStack()

        def join():
            joined.enter_context(node(tmp_path, f"--address={address}", "--num-cpus=1", "--labels=zone=a"))

        timer = threading.Timer(30, join)
        timer.start()
        try:
            summary, err = sweep(tmp_path, address, "cluster.resources.labels.zone=a")
        finally:
            timer.join()
            joined.close()
    assert summary["n_trials"] == 600
    assert err.count("No node has what a task asks for (1 CPU, label zone=a); waiting for one that joins.") == 1
    assert " joined; 1 CPU." in err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_node_that_is_killed_costs_its_batches(database, table, tmp_path):
    long = ["n_trials=20000", "search.generation_size=2000"]
    with head(tmp_path) as (_, said):
        address = address_of(said)
        with node(tmp_path, f"--address={address}", "--num-cpus=1") as (other, _):
            killed = threading.Event()

            def kill_other():
                while not n_done(database, "nodes"):
                    time.sleep(0.05)
                kill(other)
                killed.set()

            killer = threading.Thread(target=kill_other, daemon=True)
            killer.start()
            summary, err = sweep(tmp_path, address, *long)
        assert killed.is_set()
        assert summary["n_trials"] == 20_000
        assert err.count(" was lost; 1 CPU") == 1, err
        sweep(tmp_path, address, *long, study="straight")
    assert table("nodes") == table("straight")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_node_with_the_same_code_ends_the_sweep_in_one_line(database, tmp_path, changed_code):
    with node(tmp_path, "--head", "--port=0", "--num-cpus=1", code=changed_code) as (_, said):
        _, err = sweep(tmp_path, address_of(said), code=1)
    assert "error: No node runs the code of this command: " in err
    assert "Traceback" not in err
