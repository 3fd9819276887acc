"""A stored study goes on, or is shown again, by its name alone."""

import io

import optuna
import pytest
from rich.console import Console

from alphapulse.commands import sweep
from alphapulse.config.given import Given
from alphapulse.config.groups import OptunaConfig
from alphapulse.config.schema import SweepConfig

pytestmark = pytest.mark.postgres


def test_name_and_number_continue_a_study(run, in_process, small_study, table, tmp_path, database):
    config = small_study(n_trials=40, optuna=OptunaConfig(mirror_limit=1_000))
    first = run(config, in_process())
    run(small_study(study="straight", n_trials=60), in_process())

    def again(workers, **typed):
        return sweep.run_study(
            lambda: workers, SweepConfig(study="small", quiet=True, **typed), Console(file=io.StringIO()), tmp_path,
            Given(frozenset({"study", "quiet", *typed})),
        )  # fmt: skip

    # Nothing is left to run, so nobody is asked to.
    shown = again(None)
    assert shown.verdict["lines"] == first.verdict["lines"]
    continued = again(in_process(), n_trials=60)
    assert (continued.n_trials, continued.n_wanted, continued.status) == (60, 60, "COMPLETE")
    assert table("small") == table("straight")
    loaded = optuna.load_study(study_name="small", storage=database.optuna_url)
    assert len(loaded.trials) == 60
    assert loaded.user_attrs["alphapulse:status"] == "COMPLETE"
    assert loaded.user_attrs["alphapulse:verdict"] == continued.verdict["word"]
    assert loaded.user_attrs["alphapulse:holdout"]["n_trades"] == continued.chosen.holdout["n_trades"]
