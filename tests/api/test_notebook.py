"""The page about notebooks is one, run from top to bottom in a kernel of its own."""

import re
from pathlib import Path

import pandas as pd
import pytest
from random_bars import random_bars

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "notebook.md"
FEW = 'n_trials=40, validation={"null_sweeps": 1, "n_bootstrap": 20}, cluster={"num_cpus": 1, "dashboard": False}'


def cells():
    """Return the blocks of the page, its sweep made small."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r"n_trials=\d+", FEW, block).strip() for block in blocks]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.postgres
def test_notebook_runs_from_top_to_bottom(database, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install -e '.[test]' brings it")
    pytest.importorskip("ipykernel", reason="pip install -e '.[test]' brings it")
    from nbformat import v4

    bars = random_bars()
    index = pd.DatetimeIndex(pd.bdate_range("2015-01-01", periods=len(bars)), name="Date")
    prices = {name.capitalize(): getattr(bars, name) for name in ("open", "high", "low", "close")}
    pd.DataFrame(prices, index=index).to_csv(tmp_path / "mine.csv")
    book = v4.new_notebook(cells=[v4.new_code_cell(text) for text in cells()])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    nbclient.NotebookClient(
        book, kernel_name="python3", timeout=240, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert (tmp_path / "report.html").stat().st_size > 1_000_000
    shown = {cell.source: [output.get("data", {}) for output in cell.outputs] for cell in book.cells}
    # One output that changed in place, then what the study shows of itself.
    progress, banner, equity = next(outputs for cell, outputs in shown.items() if "run_sweep" in cell)
    assert "40 trials in" in progress["text/plain"]
    assert "<progress" not in progress["text/html"]
    assert re.search("SURVIVES|INCONCLUSIVE|LIKELY LUCK", banner["text/html"])
    assert "application/vnd.plotly.v1+json" in equity
    (best,) = shown["study.best"]
    assert re.fullmatch(r"<trial \d+: sharpe_ratio .*; strategy.size=.*, strategy.window=\d+>", best["text/plain"])
    assert "\x1b" not in str(book)
