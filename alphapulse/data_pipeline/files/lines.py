"""Text in blocks of whole lines, UTF-8 whatever the file is in, so that memory does not grow with the file."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from alphapulse.errors import DataError

BLOCK_BYTES = 1 << 22
LONGEST_LINE = 1 << 20
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Block:
    """Some lines of a file.

    Attributes
    ----------
    text : bytes
        Whole lines in UTF-8, each ended by a line feed.
    line : int
        Number of the first one in the file, from 1.
    """

    text: bytes
    line: int

    def ends(self) -> np.ndarray:
        """Return where each line ends (n_lines,): the places of the line feeds."""
        return np.flatnonzero(np.frombuffer(self.text, dtype=np.uint8) == 10)


def find_encoding(begin: bytes) -> tuple[str, int]:
    """Return the encoding of a file by its first bytes, and the length of the mark that says so.

    Without a mark: UTF-16 where every other byte is zero, UTF-8 where that can be read, else Windows' western one.
    """
    for mark, name in BOMS:
        if begin.startswith(mark):
            return name, len(mark)
    zeros = np.frombuffer(begin[:2000], dtype=np.uint8) == 0
    if len(zeros) >= 4:
        if zeros[1::2].mean() > 0.7 and not zeros[::2].any():
            return "utf-16-le", 0
        if zeros[::2].mean() > 0.7 and not zeros[1::2].any():
            return "utf-16-be", 0
    try:
        codecs.getincrementaldecoder("utf-8")().decode(begin)
    except UnicodeDecodeError:
        return "cp1252", 0
    return "utf-8", 0


def read_blocks(file: IO[bytes], name: str) -> Iterator[Block]:
    """Yield the lines of a file in blocks of some megabytes.

    Raises
    ------
    DataError
        If a line is longer than any line of bars.
    """
    begin = _read(file)
    encoding, n_mark = find_encoding(begin)
    # A byte that is no text costs its row.
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)(errors="replace")
    line, rest = 1, b""
    piece = begin[n_mark:]
    while piece:
        text = piece if decoder is None else decoder.decode(piece).encode()
        rest += text
        piece = _read(file)
        if b"\r" in rest:
            # A pair may be cut between the two.
            held = rest[-1:] if rest.endswith(b"\r") and piece else b""
            rest = rest[: len(rest) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        end = rest.rfind(b"\n") + 1
        if not piece and end < len(rest):
            rest += b"\n"
            end = len(rest)
        if len(rest) - end > LONGEST_LINE:
            raise DataError(
                f"{name} has a line of over {LONGEST_LINE >> 20} MB after line {line + rest.count(10)}, which is no "
                "CSV of bars; check provider.path."
            )
        if end:
            yield Block(rest[:end], line)
            line += rest.count(b"\n", 0, end)
            rest = rest[end:]


def _read(file: IO[bytes]) -> bytes:
    """Return the next bytes; a decompressor gives them in small pieces."""
    pieces, n_bytes = [], 0
    while n_bytes < BLOCK_BYTES:
        piece = file.read(BLOCK_BYTES - n_bytes)
        if not piece:
            break
        pieces.append(piece)
        n_bytes += len(piece)
    return b"".join(pieces)
