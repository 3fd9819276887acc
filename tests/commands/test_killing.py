"""Sweeps that are killed, interrupted or robbed of their workers end with the table of one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import psutil
import pytest
from sqlalchemy import text

from alphapulse.study.optuna.tables import ensure_optuna_tables
from alphapulse.study.store import Store
from alphapulse.sweep.opening import stored_config

pytestmark = [pytest.mark.ray, pytest.mark.postgres]

ROOT = Path(__file__).parents[2]
SWEEP = [
    "data.start=2000-01-01",
    "data.end=2014-01-01",
    "search=tpe",
    "search.generation_size=50",
    "seed=3",
    "validation.n_bootstrap=50",
    "validation.lookahead=off",
    "optuna.mirror_limit=0",
    "cluster.dashboard=false",
    "output=json",
    "quiet=true",
]

WORKERS = ("ray::evaluate_shipment", "ray::IDLE")


def command(name, n_trials, *more):
    return [sys.executable, "-m", "alphapulse.sweep", f"study={name}", f"n_trials={n_trials}", *SWEEP, *more]


def start(arguments, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        arguments, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(arguments, folder):
    process = start(arguments, folder)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return json.loads(out)


def n_done(database, name):
    with database.sync_engine.connect() as connection:
        return connection.scalar(text("SELECT n_done FROM sweep WHERE name = :name"), {"name": name}) or 0


def wait_for(database, name, n_trials, process):
    """Wait until a study has so many trials; return whether its driver still runs."""
    while process.poll() is None:
        if n_done(database, name) >= n_trials:
            return True
        time.sleep(0.02)
    return False


def rob(process):
    """Kill one of a driver's workers; return how many were killed."""
    try:
        descendants = psutil.Process(process.pid).children(recursive=True)
        # Ray's agents have such names too, and their death is the death of the node.
        workers = [child for child in descendants if child.cmdline() and child.cmdline()[0] in WORKERS]
        for worker in workers[:1]:
            worker.kill()
    except psutil.NoSuchProcess:
        return 0
    return len(workers[:1])


def kill_in_between(arguments, database, folder, n_trials):
    """Kill a driver of the study "killed" once so many trials are stored; return how many then are."""
    process = start(arguments, folder)
    was_running = wait_for(database, "killed", n_trials, process)
    process.kill()
    _, err = process.communicate()
    assert was_running, err
    return n_done(database, "killed")


@pytest.mark.timeout(600)
def test_killed_driver_continues_to_the_same_table(database, table, tmp_path, run, in_process, small_study):
    arguments = command("killed", 700, "cluster.num_cpus=2")
    assert 100 <= kill_in_between(arguments, database, tmp_path, 100) < 700
    assert finish(arguments, tmp_path)["n_trials"] == 700
    run(replace(stored_config(Store(database).find_study("killed")), study="straight"), in_process())
    assert table("killed") == table("straight")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_driver_continues_where_a_part_is_stored(database, table, tmp_path):
    kept = [argument for argument in SWEEP if not argument.startswith("search")]
    more = ["n_trials=160000", "search=random", "store=best", "validation.null_sweeps=0", "cluster.num_cpus=2"]
    arguments = {
        name: [sys.executable, "-m", "alphapulse.sweep", f"study={name}", *kept, *more]
        for name in ("killed", "straight")
    }
    assert 20_000 <= kill_in_between(arguments["killed"], database, tmp_path, 20_000) < 160_000
    continued = finish(arguments["killed"], tmp_path)
    assert continued["n_trials"] == 160_000
    straight = finish(arguments["straight"], tmp_path)
    assert straight["stored"] == continued["stored"]
    assert straight["best"] == continued["best"]
    assert table("killed") == table("straight")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_driver_of_an_account_continues_to_the_same_table(database, table, tmp_path, run, in_process):
    arguments = command("killed", 700, "cluster.num_cpus=2", "strategy=rotation", "validation.null_sweeps=0")
    assert 100 <= kill_in_between(arguments, database, tmp_path, 100) < 700
    assert finish(arguments, tmp_path)["n_trials"] == 700
    run(replace(stored_config(Store(database).find_study("killed")), study="straight"), in_process())
    assert table("killed") == table("straight")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sampler", ["TPESampler", "CmaEsSampler", "NSGAIISampler"])
def test_killed_driver_repeats_optunas_sampler(database, table, tmp_path, run, in_process, sampler):
    kept = [argument for argument in SWEEP if not argument.startswith("search")]
    arguments = [sys.executable, "-m", "alphapulse.sweep", "study=killed", "n_trials=1500", "cluster.num_cpus=2", *kept]
    arguments += ["search=optuna", f"search.optuna={sampler}"]
    n_kept = kill_in_between(arguments, database, tmp_path, 20)
    assert 20 <= n_kept < 1500
    # As far again, so that what was proposed before the kill is told after it.
    n_trials = n_kept + 100
    arguments[4] = f"n_trials={n_trials}"
    assert finish(arguments, tmp_path)["n_trials"] == n_trials
    run(replace(stored_config(Store(database).find_study("killed")), study="straight"), in_process())
    assert table("killed") == table("straight")


def followed(database, name):
    """Return the numbers of the trials that Optuna reads, in its own order, and the status that it reads."""
    try:
        study = optuna.load_study(study_name=name, storage=database.optuna_url)
    except KeyError:
        return [], None
    return [trial.number for trial in study.trials], study.user_attrs.get("alphapulse:status")


def wait_until_followed(database, name, n_trials, process):
    """Wait until Optuna's tables have so many trials of a study that runs."""
    ensure_optuna_tables(database)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if len(followed(database, name)[0]) >= n_trials:
            return True
        time.sleep(1)
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_optunas_tables_stand_after_a_kill_and_after_an_interrupt(database, tmp_path):
    arguments = command("watched", 1_000_000, "cluster.num_cpus=1", "optuna.mirror_limit=200000")
    process = start(arguments, tmp_path)
    assert wait_until_followed(database, "watched", 1, process), process.communicate()
    process.kill()
    process.communicate()
    numbers, status = followed(database, "watched")
    assert numbers == list(range(len(numbers)))
    assert status == "RUNNING"
    process = start(arguments, tmp_path)
    assert wait_until_followed(database, "watched", len(numbers) + 1, process), process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    numbers, status = followed(database, "watched")
    assert numbers == list(range(json.loads(out)["n_trials"]))
    assert status == "INTERRUPTED"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(8))
def test_driver_killed_at_random_moments_continues_to_the_same_table(database, table, tmp_path, seed):
    finish(command("straight", 3000, "cluster.num_cpus=1"), tmp_path)
    chance = random.Random(seed)
    n_killed = 0
    while n_done(database, "killed") < 3000 and n_killed < 6:
        process = start(command("killed", 3000, f"cluster.num_cpus={chance.choice([1, 2, 8])}"), tmp_path)
        wait_for(database, "killed", n_done(database, "killed") + chance.randint(1, 900), process)
        time.sleep(chance.random() * 0.2)
        if chance.random() < 0.5:
            rob(process)
            time.sleep(chance.random() * 0.2)
        process.kill()
        process.communicate()
        n_killed += 1
    finish(command("killed", 3000, "cluster.num_cpus=2"), tmp_path)
    assert table("killed") == table("straight")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_workers_do_not_change_the_table(database, table, tmp_path):
    finish(command("straight", 3000, "cluster.num_cpus=1"), tmp_path)
    process = start(command("robbed", 3000, "cluster.num_cpus=2"), tmp_path)
    n_robbed = 0
    for n_trials in (100, 300, 600):
        if wait_for(database, "robbed", n_trials, process):
            n_robbed += rob(process)
    assert n_robbed
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert json.loads(out)["n_trials"] == 3000
    assert table("robbed") == table("straight")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("n_cpus", [1, 2, 8])
def test_table_does_not_depend_on_the_number_of_workers(database, table, tmp_path, n_cpus):
    finish(command("one", 2000, "cluster.num_cpus=1"), tmp_path)
    finish(command("many", 2000, f"cluster.num_cpus={n_cpus}"), tmp_path)
    assert table("many") == table("one")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_interrupt_keeps_what_is_done(database, tmp_path, number, code):
    process = start(command("cut", 1_000_000), tmp_path)
    assert wait_for(database, "cut", 100, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    summary = json.loads(out)
    assert summary["status"] == "INTERRUPTED"
    assert summary["n_trials"] == n_done(database, "cut")
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM sweep")) == "INTERRUPTED"
        assert connection.scalar(text("SELECT count(*) FROM trial")) == summary["n_trials"]


@pytest.mark.timeout(600)
def test_lost_node_ends_in_one_line_and_keeps_what_is_done(database, tmp_path):
    process = start(command("lost", 1_000_000), tmp_path)
    assert wait_for(database, "lost", 100, process)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name() == "raylet":
            child.kill()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "error: Ray lost its workers" in err
    assert "Traceback" not in err
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM sweep")) == "INTERRUPTED"
        assert connection.scalar(text("SELECT count(*) FROM trial")) == n_done(database, "lost")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_lost_head_ends_in_one_line_within_its_timeout(database, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    start_head = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--port=0",
        "--num-cpus=1",
        "--include-dashboard=false",
        "--block",
    ]
    with subprocess.Popen(start_head, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as head:
        try:
            address = next(line.split("'")[1] for line in head.stdout if "ray start --address=" in line)
            process = start(
                command("headless", 1_000_000, f"cluster.address={address}", "cluster.head_timeout=3"), tmp_path
            )
            assert wait_for(database, "headless", 100, process), process.communicate()
            gcs = [child for child in psutil.Process(head.pid).children(recursive=True) if child.name() == "gcs_server"]
            gcs[0].kill()
            began = time.monotonic()
            _, err = process.communicate(timeout=60)
            assert time.monotonic() - began < 25
            assert process.returncode == 1
            assert "error: Ray lost its workers" in err
            assert "Traceback" not in err
        finally:
            os.killpg(head.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_driver_killed_at_its_verdict_leaves_no_process(database, tmp_path):
    process = start(command("end", 50), tmp_path)
    assert wait_for(database, "end", 50, process)
    process.kill()
    # It ends when all who hold its pipes have ended, Ray's processes among them.
    process.communicate(timeout=120)
    summary = finish(command("end", 50), tmp_path)
    assert summary["verdict"]["n_trials"] == 50
    assert Path(summary["places"]["trials"]).stat().st_size > 10_000
