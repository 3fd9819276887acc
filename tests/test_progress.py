import io
import json

from alphapulse import progress
from alphapulse.progress import JsonConsole
from alphapulse.reports.progress import SweepProgress


def test_every_line_is_an_object(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    console = JsonConsole("mine")
    console.file = io.StringIO()
    console.print("warning: [red]two\nlines[/red]", soft_wrap=True)
    with SweepProgress(console, n_trials=20, n_done=0, objective="sharpe_ratio", quiet=False) as shown:
        shown.update(10, float("nan"))
    said, shown = map(json.loads, console.file.getvalue().splitlines())
    assert (said["study"], said["event"], said["text"]) == ("mine", "message", "warning: [red]two\nlines[/red]")
    assert shown.pop("time").endswith("+00:00")
    assert shown == {
        "study": "mine", "event": "progress", "n_done": 10, "n_trials": 20, "per_second": 0.0, "best": None,
        "seconds_left": None,
    }  # fmt: skip
