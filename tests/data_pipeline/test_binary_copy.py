import itertools
import struct
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.data_pipeline import binary_copy
from alphapulse.data_pipeline.binary_copy import SIGNATURE, TRAILER, Decoder, copy_in, copy_out, encode

KINDS = {
    "i2": np.int16,
    "i4": np.int32,
    "i8": np.int64,
    "f": np.float64,
    "flag": np.bool_,
    "at": np.dtype("datetime64[us]"),
    "vector": (np.float64, 3),
    "raw": (np.uint8, 5),
}


def make_columns(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    f = rng.normal(size=n)
    f[::7] = np.nan
    return {
        "i2": rng.integers(-(2**15), 2**15, n).astype(np.int16),
        "i4": rng.integers(-(2**31), 2**31, n).astype(np.int32),
        "i8": rng.integers(-(2**63), 2**63 - 1, n),
        "f": f,
        "flag": rng.random(n) < 0.5,
        "at": np.datetime64("1969-12-31T23:59:59.999999", "us") + rng.integers(0, 2**50, n).astype("timedelta64[us]"),
        "vector": rng.normal(size=(n, 3)),
        "raw": rng.integers(0, 256, (n, 5)).astype(np.uint8),
    }


def assert_equal(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(got) == list(expected)
    for name, column in expected.items():
        assert got[name].dtype == column.dtype
        np.testing.assert_array_equal(got[name], column)


@pytest.mark.parametrize("nan_is_null", [(), ("f",)])
@pytest.mark.parametrize("n", [0, 1, 1000])
def test_decode_inverts_encode(n, nan_is_null):
    columns = make_columns(n)
    decoder = Decoder(KINDS)
    decoder.feed(encode(columns, nan_is_null=nan_is_null))
    assert_equal(decoder.finish(), columns)


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 3000), max_size=20),
    has_nulls=st.booleans(),
    capacity=st.integers(0, 40),
    decoded_bytes=st.sampled_from([1, 200, 1 << 18]),
)
def test_decode_takes_pieces_cut_anywhere(cuts, has_nulls, capacity, decoded_bytes):
    columns = make_columns(20)
    stream = encode(columns, nan_is_null=("f",) if has_nulls else ())
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = Decoder(KINDS, capacity)
    with patch.object(binary_copy, "DECODED_BYTES", decoded_bytes):
        for start, stop in itertools.pairwise(edges):
            decoder.feed(stream[start:stop])
    assert_equal(decoder.finish(), columns)


def test_encode_writes_the_documented_format():
    got = encode({"a": np.array([1], dtype=np.int32), "b": None, "c": "xy", "d": [None], "e": [b"text"]})
    row = struct.pack(">hii", 5, 4, 1) + struct.pack(">i", -1) + struct.pack(">i2s", 2, b"xy")
    row += struct.pack(">i", -1) + struct.pack(">i4s", 4, b"text")
    assert got == SIGNATURE + row + TRAILER


def test_encode_does_not_change_its_input():
    columns = {"f": np.array([1.0, np.nan]), "scalar": np.int64(3)}
    columns["f"].flags.writeable = False
    encode(columns, nan_is_null=("f",))
    np.testing.assert_array_equal(columns["f"], [1.0, np.nan])


@pytest.mark.parametrize(
    ("columns", "error", "what"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, ValueError, "one number of rows, but got {'a': 2, 'b': 3}"),
        ({"a": [b"x"], "b": np.zeros(1)}, ValueError, "must come after all others"),
        ({"a": np.zeros(2, dtype=complex)}, TypeError, "Column 'a' must be"),
        ({"a": np.int64(1)}, ValueError, "one number of rows, but got {}"),
    ],
)
def test_encode_refuses(columns, error, what):
    with pytest.raises(error, match=what):
        encode(columns)


def test_decode_refuses_a_null_where_none_can_be_and_an_early_end():
    decoder = Decoder({"a": np.int32})
    decoder.feed(encode({"a": None, "b": [None]})[:25])
    with pytest.raises(ValueError, match="'a' must be 4 bytes in row 0, but got NULL"):
        decoder.finish()
    stream = encode(make_columns(3))
    decoder = Decoder(KINDS)
    decoder.feed(stream[:-2])
    with pytest.raises(ValueError, match="ended within or after row 3"):
        decoder.finish()


@pytest.mark.postgres
def test_copy_in_and_out_of_a_table(database):
    columns = make_columns(500)
    texts = [None, b"", "\N{SNOWMAN} text".encode(), b"x" * 3000] * 125

    async def round_trip():
        connection = await database.connect()
        try:
            await connection.execute(
                "CREATE TEMPORARY TABLE t (i2 smallint, i4 int, i8 bigint, f float8, flag bool, at timestamptz, "
                "vector float8[], raw bytea, place int, name text, nothing int, note text)"
            )
            more = {"place": np.arange(500, dtype=np.int32), "name": "fixed", "nothing": None, "note": texts}
            await copy_in(connection, "t", {**columns, **more}, nan_is_null=("f",))
            rows = await connection.fetch("SELECT * FROM t ORDER BY place")
            query = f"SELECT {', '.join(KINDS)} FROM t WHERE name = $1 ORDER BY place"
            back = await copy_out(connection, query, "fixed", kinds=KINDS)
            query = "SELECT coalesce(f, 'NaN') FROM t ORDER BY place"
            filled = await copy_out(connection, query, kinds={"f": float}, n_rows=500)
            return rows, back, filled
        finally:
            await connection.close()

    rows, back, filled = database.run(round_trip())
    assert_equal(back, columns)
    np.testing.assert_array_equal(filled["f"], columns["f"])
    assert rows[0]["f"] is None
    assert rows[1]["f"] == columns["f"][1]
    assert list(rows[3]["vector"]) == columns["vector"][3].tolist()
    assert [row["note"] for row in rows[:3]] == [None, "", "\N{SNOWMAN} text"]
    assert (rows[5]["name"], rows[5]["nothing"]) == ("fixed", None)
    assert rows[4]["at"].timestamp() == columns["at"][4].astype(np.int64) / 1e6
