"""Columns of a Parquet file as the text that every other file is, a slice at a time."""

import io
from pathlib import Path
from typing import Any

import polars as pl

SLICE = 100_000


class ParquetText(io.RawIOBase):
    """A Parquet file as CSV with a header: moments in ISO 8601, numbers to the last bit.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._table = pl.scan_parquet(path, glob=False)
        schema = self._table.collect_schema()
        # pandas keeps an index without a name under one of these.
        self._columns = [
            _as_text(name, kind) for name, kind in schema.items() if not isinstance(kind, pl.List | pl.Struct)
        ]
        self._columns.sort(key=lambda column: not column.meta.output_name().startswith("__index_level_"))
        self._offset = 0
        self._text = b""

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, none at the end."""
        while not self._text and self._offset >= 0:
            rows = self._table.slice(self._offset, SLICE).select(self._columns).collect()
            rows = rows.rename({name: "timestamp" for name in rows.columns if name.startswith("__index_level_0")})
            self._text = rows.write_csv(include_header=self._offset == 0, quote_style="never").encode()
            self._offset = self._offset + SLICE if len(rows) == SLICE else -1
        size = len(self._text) if size < 0 else size
        piece, self._text = self._text[:size], self._text[size:]
        return piece


def _as_text(name: str, kind: Any) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        if kind.time_zone is not None:
            return column.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S")
    return column
