"""What a command says on stderr as one JSON object a line, for programs that follow it."""

import datetime
import json
from typing import Any

from rich.console import Console

from alphapulse.plain import plain


class JsonConsole(Console):
    """A console whose lines are JSON objects: `time` (UTC), `study`, `event`, and what belongs to the event.

    Parameters
    ----------
    study : str
        Name of the study.
    """

    def __init__(self, study: str) -> None:
        super().__init__(stderr=True, force_terminal=False, color_system=None)
        self._study = study

    def print(self, *objects: Any, **how: Any) -> None:
        """Say a text as the event "message"."""
        self.event("message", text=" ".join(map(str, objects)).strip())

    def event(self, kind: str, **fields: Any) -> None:
        """Say that something has happened; what is no finite number is null."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps(plain({"time": now, "study": self._study, "event": kind, **fields}), allow_nan=False)
        self.file.write(line + "\n")
        self.file.flush()
