"""Where what is printed goes while a command computes."""

import io
from typing import TextIO

RAYLET = "(raylet)"


class WithoutRaylet(io.TextIOBase):
    """A stream that lets all through but what Ray's raylets say of workers that have died, a thousand characters each.

    What became of their trials is told by the study: lost batches run again, and a trial that ends its worker fails.

    Parameters
    ----------
    stream : file
        Where the rest goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drops = False

    def write(self, text: str) -> int:
        """Write a text, as `print` does the line and then its end."""
        if RAYLET in text[: 2 * len(RAYLET)]:
            self._drops = not text.endswith("\n")
        elif self._drops and text == "\n":
            self._drops = False
        else:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush where it goes."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether that is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._stream.fileno()
