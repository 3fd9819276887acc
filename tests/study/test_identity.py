from types import SimpleNamespace
from typing import Any, cast

import pytest

from alphapulse.backtesting.metrics import DEFINITIONS
from alphapulse.errors import StudyError
from alphapulse.search.dimensions import CategoricalDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.study.identity import check_same_study
from alphapulse.study.records import Study, StudyPlan

CHOICE = CategoricalDimension("engine.execution", ("next_open", None))
SPACE = SearchSpace((IntDimension("strategy.window", 10, 250), CHOICE))
STORED: dict[str, Any] = {
    "config": {"strategy": {"_target_": "mine.First"}},
    "seed": 0,
    "fingerprint": "a" * 64,
    "space": SPACE,
    "objectives": ("sharpe_ratio",),
    "directions": ("maximize",),
}
STUDY = cast(Study, SimpleNamespace(name="stored", definitions=DEFINITIONS, **STORED))

OTHER_SPACE = SearchSpace((IntDimension("strategy.window", 10, 20), CHOICE))


def check(study: Study = STUDY, **given: Any) -> None:
    plan = StudyPlan(name="stored", bars=None, code_version="", packages={}, n_trials=1, **given)
    check_same_study(study, plan, plan.config)


def test_check_same_study_passes_the_same() -> None:
    check(**STORED)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": 7}, "seed 0, but got 7"),
        ({"objectives": ("cagr",)}, "objective sharpe_ratio, but got cagr"),
        ({"directions": ("minimize",)}, "direction maximize, but got minimize"),
        (
            {"fingerprint": "b" * 64},
            "data of fingerprint aaaaaaaaaaaa, but got bbbbbbbbbbbb .bars were added or changed",
        ),
        ({"space": OTHER_SPACE}, r"strategy.window = int\[10, 250\], but got int\[10, 20\]"),
        ({"space": SearchSpace(SPACE.dimensions[:1])}, r"engine.execution = choice\(.*\), but got \(fixed\)"),
        # Another strategy brings a space of its own; the strategy is what is named.
        ({"config": {"strategy": {"_target_": "mine.Second"}}, "space": OTHER_SPACE}, "strategy._target_ mine.First"),
    ],
)
def test_check_same_study_names_the_difference(given: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError, match=f"Study 'stored' was made with .*{words}.*; choose another name"):
        check(**STORED | given)


@pytest.mark.parametrize("definitions", [DEFINITIONS - 1, DEFINITIONS + 1])
def test_check_same_study_refuses_other_definitions(definitions: int) -> None:
    study = cast(Study, SimpleNamespace(name="stored", definitions=definitions, **STORED))
    with pytest.raises(
        StudyError, match=f"with definitions {definitions} .*has {DEFINITIONS}.*replayed, not continued"
    ):
        check(study, **STORED)
