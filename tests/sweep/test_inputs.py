"""What a study is made of before its first trial."""

import pickle
import sys

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from alphapulse.config.groups import SearchConfig
from alphapulse.sweep.inputs import compile_for, load_inputs
from alphapulse.sweep.null.search import SearchPlan, null_search
from alphapulse.sweep.opening import make_study_sampler
from alphapulse.sweep.worker import evaluate_batch

pytestmark = pytest.mark.postgres


def _signatures() -> dict[str, int]:
    """Return how often each compiled function of the package was compiled, or loaded, in this process."""
    return {
        f"{function.py_func.__module__}.{function.__name__}": len(function.signatures)
        for name, module in list(sys.modules.items())
        if name.startswith("alphapulse.")
        for function in vars(module).values()
        if isinstance(function, Dispatcher)
    }


def _as_ray_hands_it_over(value):
    """Return a copy whose arrays are read-only views of foreign memory."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[memoryview(bytes(buffer.raw())) for buffer in buffers])


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "cmaes"])
def test_compile_for_leaves_nothing_to_compile_to_a_worker(session_database, small_study, sampler):
    config = small_study(search=SearchConfig(sampler=sampler))
    inputs = load_inputs(config, session_database)
    compile_for(inputs, make_study_sampler(config))
    before = _signatures()
    market, experiment, parameters = _as_ray_hands_it_over(
        (inputs.market, inputs.experiment, make_study_sampler(config).propose(0))
    )
    evaluate_batch(market, experiment, parameters, keep=np.zeros(len(parameters), dtype=np.bool_))
    null_search(market, experiment, SearchPlan(sampler, 150, 0), 0)
    after = _signatures()
    assert {name: n for name, n in after.items() if n > before.get(name, 0)} == {}
