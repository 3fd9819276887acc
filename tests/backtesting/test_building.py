"""The machine code of a first sweep, made beside a process that needs it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_build_is_what_a_study_loads(tmp_path):
    code = (
        "from alphapulse.backtesting.building import Build, compile_engine_and_surrogates, compile_sampler\n"
        "from alphapulse.backtesting.kernel.loop import run_tile\n"
        "from alphapulse.compiling import is_on_disk\n"
        "from alphapulse.market.surrogates import _rebuild_prices\n"
        "from alphapulse.search.samplers._candidates import propose_points\n"
        "assert not is_on_disk(run_tile)\n"
        "build = Build('tpe')\n"
        "build.wait('engine')\n"
        "build.wait('sampler')\n"
        "assert is_on_disk(run_tile)\n"
        "assert is_on_disk(propose_points)\n"
        "build._processes['engine'].wait()\n"
        "assert not Build('tpe').is_needed\n"
        "compile_engine_and_surrogates()\n"
        "compile_sampler('tpe', 1)\n"
        "for one in (run_tile, propose_points, _rebuild_prices):\n"
        "    print(sum(one.stats.cache_hits.values()), sum(one.stats.cache_misses.values()))\n"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"] * 3
