"""docs/definitions.md names every field of the engine with the default that the code has, and no formula twice."""

import re
from pathlib import Path

from alphapulse.backtesting.metrics import DEFINITIONS, METRICS, describe_metrics
from alphapulse.backtesting.models import EngineParams

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "definitions.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (4\.\d) .*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def table(section: str) -> dict[str, str]:
    """Return the second cell of each row of a section whose first cell is a name."""
    return dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*?) \|", SECTIONS[section], re.MULTILINE))


def shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_page_says_which_definitions_it_has():
    assert re.search(rf"^Definitions {DEFINITIONS}:", PAGE, re.MULTILINE)


def test_page_has_the_five_sections():
    assert list(SECTIONS) == ["4.1", "4.2", "4.3", "4.4", "4.5"]


def test_page_has_every_field_of_the_engine_with_its_default():
    assert table("4.3") == {name: shown(value) for name, value in EngineParams().values.items()}


def test_files_that_the_page_points_at_are_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (DOCS / target).exists(), target


def test_formulas_of_metrics_stand_in_their_records_alone():
    assert not set(table("4.4")) & set(METRICS)
    assert "metrics.py" in SECTIONS["4.4"]
    assert f"python -m {describe_metrics.__module__}" in SECTIONS["4.4"]
