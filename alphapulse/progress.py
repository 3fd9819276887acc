"""What is seen on stderr while a command works: a bar or line that goes away on a terminal, lines or JSON elsewhere.

In a notebook it is an output of the cell.
"""

import datetime
import json
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from html import escape
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from alphapulse.plain import plain

LINE_SECONDS = 5.0
CELL_SECONDS = 0.2
FIRST_SECONDS = 1.0
"""After which a line says what takes its time: nothing is said of what takes less."""


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


class NotebookConsole(Console):
    """A console in a notebook: one output of the cell, with the lines so far and below them what is being done.

    Lines stay; what is being done changes in place and goes away, which a terminal does with codes that no notebook
    reads.
    """

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False)
        self._lines: list[str] = []
        self._output: Any = None
        self._shown_at = 0.0

    def print(self, *objects: Any, **how: Any) -> None:
        """Add a line."""
        self._lines.append(" ".join(map(str, objects)).rstrip())
        self._show("")

    def show(self, text: str, n_done: int = 0, n_total: int | None = None) -> None:
        """Show what is being done, and how much of it is; an empty text shows nothing."""
        if text and time.monotonic() - self._shown_at < CELL_SECONDS:
            return
        bar = "" if n_total is None else f"<progress value='{n_done}' max='{n_total}'></progress> "
        self._show(f"<div>{bar}{escape(text)}</div>" if text else "")

    def _show(self, below: str) -> None:
        from IPython.display import display

        self._shown_at = time.monotonic()
        lines = "\n".join(self._lines)
        page = f"<pre style='white-space:pre-wrap;margin:0'>{escape(lines)}</pre>{below}" if lines else below
        content = {"text/html": page, "text/plain": lines}
        if self._output is None:
            self._output = display(content, raw=True, display_id=True)
        else:
            self._output.update(content, raw=True)


class Line:
    """What a command is at, while entered; it may be told from any thread.

    Parameters
    ----------
    console : Console
        Console of stderr, since stdout belongs to results.
    text : str
        What is said first; empty says nothing before `say` does.
    quiet : bool
        Whether nothing is shown.
    n_total : int, optional
        How many there are to be done: a terminal has a bar then.
    n_done : int
        How many are done at the start.
    unit : str
        What is counted.
    """

    def __init__(
        self,
        console: Console,
        text: str = "",
        *,
        quiet: bool,
        n_total: int | None = None,
        n_done: int = 0,
        unit: str = "",
    ) -> None:
        self._console = console
        self._text = text
        self._counts = "" if n_total is None else f"/{n_total:,} {unit}, "
        self._quiet = quiet
        self._is_plain = not quiet and not console.is_terminal
        self._line_at, self._line = time.monotonic(), ""
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._bar: Progress | None = None
        self._status: Any = None
        self._cell = console if isinstance(console, NotebookConsole) and not quiet else None
        self._n_total = n_total
        if quiet or self._is_plain:
            return
        if n_total is None:
            self._status = console.status(text)
        else:
            self._bar = Progress(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
                BarColumn(bar_width=None if console.width > 100 else 10),
                TextColumn("{task.fields[said]}", markup=False),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=n_total, completed=n_done, said=text)

    @property
    def _shown(self) -> AbstractContextManager[Any] | None:
        return self._bar or self._status

    def __enter__(self) -> Self:
        if self._shown is not None:
            self._shown.__enter__()
        elif self._cell is not None:
            self._cell.show(self._text)
        elif self._is_plain and self._text:
            self._timer = threading.Timer(FIRST_SECONDS, self._say_first)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._shown is not None:
            self._shown.__exit__(kind, error, trace)
        if self._cell is not None:
            self._cell.show("")

    def say(self, text: str, n_done: int = 0, *, event: str = "", fields: Mapping[str, Any] | None = None) -> None:
        """Show another text, and how many are done; where lines are JSON, an `event` with its fields."""
        if self._bar is not None:
            self._bar.update(self._task, completed=n_done, said=text)
        elif self._status is not None:
            self._status.update(text)
        elif self._cell is not None:
            self._cell.show(f"{n_done:,}{self._counts}{text}" if self._counts else text, n_done, self._n_total)
        elif self._is_plain:
            with self._lock:
                counted = f"{n_done:,}{self._counts}" if self._counts else ""
                if time.monotonic() - self._line_at < LINE_SECONDS or counted + text == self._line:
                    return
                self._line_at, self._line = time.monotonic(), counted + text
                if fields is not None and isinstance(self._console, JsonConsole):
                    self._console.event(event, **fields)
                else:
                    self._print(f"{counted}{text}")

    def _say_first(self) -> None:
        with self._lock:
            self._print(f"{self._text} ...")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)
