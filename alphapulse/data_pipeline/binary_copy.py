"""PostgreSQL's binary COPY format to and from whole numpy arrays.

Rows whose fields all have one width are one structured array: encoding is an assignment per column and
decoding one `np.frombuffer`, where row-by-row codecs spend microseconds a value.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

import struct
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg
import numpy as np

Column: TypeAlias = "np.ndarray | np.generic | str | Sequence[bytes | None] | None"
"""One column: an array with a row a value ((n,) float64, int16, int32, int64, bool, datetime64; (n, m) float64 is
float8[], (n, m) uint8 is bytea), a numpy scalar or a text or None for all rows, or texts of any length."""

Kind: TypeAlias = "np.dtype | type | tuple[type, int]"
"""How a column is decoded: a dtype, or (np.float64, m) for a float8[] of m elements, or (np.uint8, m) for a bytea."""

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
NULL = -1
FLOAT8_OID = 701
ARRAY_HEADER = [("n_axes", ">i4"), ("flags", ">i4"), ("oid", ">i4"), ("size", ">i4"), ("start", ">i4")]
POSTGRES_EPOCH = np.datetime64("2000-01-01", "us")
# Large enough to cost no calls, small enough to stay out of the driver's memory.
CHUNK_BYTES = 1 << 20
# A server sends some 10 kB at a time, which take longer to decode one by one than to send. Fits into a core's cache.
DECODED_BYTES = 1 << 18
ROWS_PAST_NULL = 16


def encode(columns: Mapping[str, Column], *, nan_is_null: Collection[str] = ()) -> bytes:
    """Return the columns as one binary COPY, header and trailer included.

    Parameters
    ----------
    columns : mapping of str to Column
        They stand in the order of the COPY's column list. Texts of any length come last; at least one column is an
        array or such a sequence, and all of them have the same number of rows.
    nan_is_null : collection of str
        Names of (n,) float64 columns whose NaN become NULL; elsewhere NaN stays NaN.

    Raises
    ------
    ValueError
        If the columns have different numbers of rows or are in an order that cannot be encoded.
    TypeError
        If a column is of no type listed above.
    """
    n_rows = _count_rows(columns)
    fixed = {name: column for name, column in columns.items() if not _is_variable(column)}
    variable = [column for column in columns.values() if _is_variable(column)]
    if list(columns)[: len(fixed)] != list(fixed):
        raise ValueError(f"Columns of texts must come after all others, but got the order {list(columns)}.")

    prepared = {name: _prepare(name, column) for name, column in fixed.items()}
    layout: list[Any] = [("n_fields", ">i2")]
    for name, (kind, _) in prepared.items():
        layout += [(f"{name} length", ">i4")] + ([(name, kind)] if kind is not None else [])
    rows = np.empty(n_rows, dtype=np.dtype(layout))
    rows["n_fields"] = len(columns)
    for name, (kind, values) in prepared.items():
        if kind is None:
            rows[f"{name} length"] = NULL
            continue
        rows[f"{name} length"] = rows.dtype[name].itemsize
        _fill(rows[name], values)

    kept, starts = _drop_nan(rows, {name: fixed[name] for name in nan_is_null})
    if not variable:
        return b"".join((SIGNATURE, kept, TRAILER))
    pieces = [SIGNATURE]
    for i, texts in enumerate(zip(*variable, strict=True)):
        pieces.append(kept[starts[i] : starts[i + 1]])
        for text in texts:
            pieces += [struct.pack(">i", NULL)] if text is None else [struct.pack(">i", len(text)), text]
    return b"".join([*pieces, TRAILER])


def _is_variable(column: Column) -> bool:
    return not (column is None or isinstance(column, str | np.ndarray | np.generic))


def _count_rows(columns: Mapping[str, Column]) -> int:
    counts = {
        name: len(column)  # type: ignore[arg-type]
        for name, column in columns.items()
        if _is_variable(column) or (isinstance(column, np.ndarray) and column.ndim > 0)
    }
    if len(set(counts.values())) != 1:
        raise ValueError(f"Columns must have one number of rows, but got {counts}.")
    return next(iter(counts.values()))


def _prepare(name: str, column: Column) -> tuple[Any, Any]:
    """Return the column's dtype on the wire (None: NULL throughout) and its values."""
    if column is None:
        return None, None
    if isinstance(column, str):
        text = np.frombuffer(column.encode(), dtype=np.uint8)
        return ("u1", (len(text),)), text
    values = np.asarray(column)
    if values.dtype.kind == "M":
        return ">i8", (values.astype("datetime64[us]") - POSTGRES_EPOCH).astype(np.int64)
    if values.ndim == 2 and values.dtype == np.float64:
        return _array_layout(values.shape[1]), values
    if values.ndim == 2 and values.dtype == np.uint8:
        return ("u1", (values.shape[1],)), values
    if values.ndim <= 1 and values.dtype in (np.float64, np.int16, np.int32, np.int64, np.bool_):
        return values.dtype.newbyteorder(">"), values
    raise TypeError(f"Column {name!r} must be float64, int, bool, datetime64 or uint8 (n, m), but is {values.dtype}.")


def _array_layout(size: int) -> Any:
    # An array without elements has no axes.
    header = ARRAY_HEADER if size else ARRAY_HEADER[:3]
    return [*header, *([("elements", [("length", ">i4"), ("value", ">f8")], (size,))] if size else [])]


def _fill(target: np.ndarray, values: np.ndarray) -> None:
    if target.dtype.names is None:
        target[...] = values
        return
    size = values.shape[1]
    for key, value in {"n_axes": min(size, 1), "flags": 0, "oid": FLOAT8_OID, "size": size, "start": 1}.items():
        if key in target.dtype.names:
            target[key] = value
    if size:
        target["elements"]["length"] = 8
        target["elements"]["value"] = values


def _drop_nan(rows: np.ndarray, columns: Mapping[str, Any]) -> tuple[bytes, np.ndarray]:
    """Return the rows as bytes, fields that are NaN in `columns` made NULL, and where each row starts."""
    width = rows.dtype.itemsize
    missing = {name: np.isnan(np.broadcast_to(column, len(rows))) for name, column in columns.items()}
    missing = {name: mask for name, mask in missing.items() if mask.any()}
    if not missing:
        return rows.tobytes(), np.arange(len(rows) + 1) * width
    lengths = np.full(len(rows), width)
    keep = np.ones((len(rows), width), dtype=bool)
    for name, mask in missing.items():
        rows[f"{name} length"][mask] = NULL
        offset = rows.dtype.fields[name][1]  # type: ignore[index]
        keep[mask, offset : offset + 8] = False
        lengths[mask] -= 8
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return rows.view(np.uint8).reshape(len(rows), width)[keep].tobytes(), starts


@dataclass
class Decoder:
    """Turns the pieces of a binary COPY into arrays as they come.

    Attributes
    ----------
    kinds : mapping of str to Kind
        Every column of the COPY in its order. A NULL is NaN in a float column and an error elsewhere.
    capacity : int
        Rows to make room for. Where it is right, memory never holds more than the arrays and one piece.
    """

    kinds: Mapping[str, Kind]
    capacity: int = 0
    n_rows: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        layout: list[Any] = [("n_fields", ">i2")]
        for name, kind in self.kinds.items():
            layout += [(f"{name} length", ">i4"), (name, _wire_kind(kind))]
        self._layout = np.dtype(layout)
        self._arrays = {name: _empty(kind, self.capacity) for name, kind in self.kinds.items()}
        self._waiting: list[bytes] = []
        self._n_waiting = 0
        self._is_begun = self._is_ended = False

    def feed(self, piece: bytes) -> None:
        """Take in the next bytes, cut anywhere; what is not decoded at once is so later."""
        self._waiting.append(piece)
        self._n_waiting += len(piece)
        if self._n_waiting >= DECODED_BYTES:
            self._decode()

    def _decode(self) -> None:
        data = b"".join(self._waiting)
        if not self._is_begun and len(data) >= len(SIGNATURE):
            data = data[len(SIGNATURE) :]
            self._is_begun = True
        if self._is_begun:
            data = data[self._take(data) :]
        self._waiting = [data]
        self._n_waiting = len(data)

    def finish(self) -> dict[str, np.ndarray]:
        """Return the columns; ValueError if the stream ended early."""
        self._decode()
        if not self._is_ended:
            raise ValueError(f"The stream ended within or after row {self.n_rows}, before its trailer.")
        return {name: array[: self.n_rows] for name, array in self._arrays.items()}

    def _take(self, data: bytes) -> int:
        """Store all rows that are whole; return their size in bytes."""
        position = 0
        while True:
            position += self._take_regular(data, position)
            # Past a NULL row by row for a while: where there is one there may be more.
            for _ in range(ROWS_PAST_NULL):
                end = self._take_row(data, position)
                if end is None:
                    return position
                position = end

    def _take_regular(self, data: bytes, start: int) -> int:
        """Store the rows from `start` up to the first that has a NULL; return their size in bytes."""
        width = self._layout.itemsize
        rows = np.frombuffer(data, dtype=self._layout, count=(len(data) - start) // width, offset=start)
        is_regular = rows["n_fields"] == len(self.kinds)
        for name in self.kinds:
            is_regular &= rows[f"{name} length"] == self._layout[name].itemsize
        n = len(rows) if is_regular.all() else int(np.argmin(is_regular))
        self._reserve(n)
        for name in self.kinds:
            self._store(name, rows[name][:n])
        self.n_rows += n
        return n * width

    def _take_row(self, data: bytes, position: int) -> int | None:
        """Store the row at `position` and return its end; None if it is not all there, or is the trailer."""
        header = struct.Struct(">h")
        if self._is_ended or len(data) < position + header.size:
            return None
        (n_fields,) = header.unpack_from(data, position)
        if n_fields == -1:
            self._is_ended = True
            return None
        position += header.size
        fields = []
        for _ in self.kinds:
            if len(data) < position + 4:
                return None
            (length,) = struct.unpack_from(">i", data, position)
            start, position = position + 4, position + 4 + max(length, 0)
            fields.append((length, start))
        if len(data) < position:
            return None
        self._reserve(1)
        for (name, kind), (length, start) in zip(self.kinds.items(), fields, strict=True):
            wire = self._layout[name]
            if length == wire.itemsize:
                self._store(name, np.frombuffer(data, dtype=np.dtype(_wire_kind(kind)), count=1, offset=start))
            elif length == NULL and self._arrays[name].dtype.kind == "f":
                self._arrays[name][self.n_rows] = np.nan
            else:
                got = "NULL" if length == NULL else f"{length} bytes"
                raise ValueError(f"Column {name!r} must be {wire.itemsize} bytes in row {self.n_rows}, but got {got}.")
        self.n_rows += 1
        return position

    def _store(self, name: str, values: np.ndarray) -> None:
        target = self._arrays[name][self.n_rows : self.n_rows + len(values)]
        if target.dtype.kind == "M":
            np.add(values, POSTGRES_EPOCH.astype(np.int64), out=target.view(np.int64))
        elif values.dtype.names is None:
            target[...] = values
        elif "elements" in values.dtype.names:
            target[...] = values["elements"]["value"]

    def _reserve(self, n: int) -> None:
        if self.n_rows + n <= self.capacity:
            return
        self.capacity = max(self.n_rows + n, self.capacity + self.capacity // 2)
        for name, array in self._arrays.items():
            larger = np.empty((self.capacity, *array.shape[1:]), dtype=array.dtype)
            larger[: self.n_rows] = array[: self.n_rows]
            self._arrays[name] = larger


def _wire_kind(kind: Kind) -> Any:
    if isinstance(kind, tuple):
        dtype, size = kind
        return _array_layout(size) if dtype is np.float64 else ("u1", (size,))
    scalar = np.dtype(kind)
    return ">i8" if scalar.kind == "M" else scalar.newbyteorder(">")


def _empty(kind: Kind, n_rows: int) -> np.ndarray:
    if isinstance(kind, tuple):
        return np.empty((n_rows, kind[1]), dtype=kind[0])
    dtype = np.dtype(kind)
    return np.empty(n_rows, dtype="datetime64[us]" if dtype.kind == "M" else dtype)


async def copy_in(
    connection: asyncpg.Connection,
    table: str,
    columns: Mapping[str, Column],
    *,
    nan_is_null: Collection[str] = (),
) -> None:
    """Append the columns (see `encode`) to a table by one COPY."""
    payload = memoryview(encode(columns, nan_is_null=nan_is_null))
    await connection.copy_to_table(table, source=_pieces(payload), format="binary", columns=list(columns))


async def _pieces(payload: memoryview) -> AsyncIterator[memoryview]:
    for start in range(0, len(payload), CHUNK_BYTES):
        yield payload[start : start + CHUNK_BYTES]


async def copy_out(
    connection: asyncpg.Connection,
    query: str,
    *arguments: Any,
    kinds: Mapping[str, Kind],
    n_rows: int = 0,
) -> dict[str, np.ndarray]:
    """Return the result of a query as one array a column.

    Parameters
    ----------
    connection : asyncpg.Connection
    query : str
        SELECT of the columns of `kinds`, in their order; `arguments` stand for $1, $2 and so on in it.
    kinds : mapping of str to Kind
        Timestamps come as datetime64[us], UTC. A NULL is NaN in a float column and a ValueError elsewhere; where
        many are expected, `coalesce(x, 'NaN')` in the query keeps decoding fast.
    n_rows : int
        Number of rows, if known: arrays of that size are made once and never grown.
    """
    decoder = Decoder(kinds, n_rows)

    async def feed(piece: bytes) -> None:
        decoder.feed(piece)

    await connection.copy_from_query(query, *arguments, output=feed, format="binary")
    return decoder.finish()
