"""What is said of a process that is ended without a word of its own, and of one that does not hear of Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

MAKE = "from alphapulse.sweep.workers.last_word import LastWord; word = LastWord('gone 100%'); import os, signal; "


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("os._exit(1)", 1, "gone 100%\n"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, "gone 100%\n"),
        ("word.keep(); word.keep(); os._exit(1)", 1, ""),
        ("raise SystemExit(3)", 3, ""),
    ],
)
def test_last_word_is_said_where_nobody_else_can(end, code, said):
    done = subprocess.run([sys.executable, "-c", MAKE + end], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, said)


STRATEGY = """
import numba, os, time

@numba.njit
def spin(n):
    while n > 0:
        n = n + 1 if n < 1000 else 1
    return n

def spinning(close):
    print("begun", flush=True)
    spin(1)

def stubborn(close):
    print("begun", flush=True)
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass

def sleeping(close):
    print("begun", flush=True)
    time.sleep(1e6)

def ending(close):
    os._exit(3)
"""


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("sleeping", 130, "interrupted\n"),
        ("stubborn", -9, "interrupted; stubborn heard nothing of it"),
        pytest.param("spinning", -9, "interrupted; spinning heard nothing of it", marks=pytest.mark.slow),
        ("ending", 3, "error: ending ended this process: os._exit"),
    ],
)
def test_strategy_that_never_returns_can_be_interrupted(tmp_path, name, code, said):
    (tmp_path / "stuck.py").write_text(STRATEGY)
    command = [sys.executable, "-m", "alphapulse.backtest", f"strategy._target_=stuck.{name}", "quiet=true"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if name != "ending":
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert said in err
    assert "Traceback" not in err
