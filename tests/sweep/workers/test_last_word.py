"""What is said of a process that is ended without a word of its own."""

import subprocess
import sys

import pytest

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
