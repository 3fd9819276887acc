"""The engine's machine code, made beside a process that needs it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_build_is_what_a_study_loads(tmp_path):
    code = (
        "from alphapulse.backtesting.building import EngineBuild, compile_engine\n"
        "from alphapulse.backtesting.kernel.loop import run_tile\n"
        "from alphapulse.compiling import is_on_disk\n"
        "assert not is_on_disk(run_tile)\n"
        "EngineBuild().wait()\n"
        "assert is_on_disk(run_tile)\n"
        "compile_engine()\n"
        "print(sum(run_tile.stats.cache_hits.values()), sum(run_tile.stats.cache_misses.values()))\n"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]
