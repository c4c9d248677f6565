# ruff: noqa: S608 - SQL is put together from our own names
"""One number for one result: equal digests mean the same groups, statuses and differences, on any engine.

The sum, over the rows, of each row's SHA-256, taken as four little-endian 64-bit numbers that are added apart and
modulo 2^64. A sum knows no order, and what a close changes can be taken from it and added to it, so that the digest of
a state costs what the close touched and is still the digest of all its rows (Bellare and Micciancio, "A new paradigm
for collision-free hashing", EUROCRYPT 1997: AdHash). It tells results apart; it is no seal against a forger, which the
files have of their own.

What is hashed is the row's line: row_uid, the group (key, currency, continuation), status, reason, pass, version,
difference, category, as UTF-8 text, null as nothing, with U+001F between. No run ids, no clock.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.engine import engine
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.schema import TUPLE

Lanes = tuple[int, int, int, int]
NOTHING: Lanes = (0, 0, 0, 0)
"""Of no rows."""

_MODULUS = 1 << 64


def digest(rows: pa.Table) -> str:
    """The digest of solved rows (schema `schema.SOLVED`, or a state's rows), in hexadecimal."""
    with engine() as con:
        con.register("rows_given", rows)
        return in_hexadecimal(lanes_of(con, "rows_given"))


def lanes_of(con: duckdb.DuckDBPyConnection, rows: str) -> Lanes:
    """The same, over a relation of an open connection, as it can be added up; streams."""
    parts = [
        "row_uid",
        *(f"coalesce(CAST({quoted(name)} AS VARCHAR), '')" for name in ("group_key", "currency", *TUPLE[1:])),
    ]
    line = f"concat_ws(chr(31), {', '.join(parts)})"
    total = NOTHING
    for batch in con.sql(f"SELECT unhex(sha256({line})) AS hash FROM {rows}").to_arrow_reader():
        total = added(total, _sum(batch.column(0)))
    return total


def _sum(hashes: pa.BinaryArray) -> Lanes:
    """The sum of hashes of 32 bytes each, which lie behind one another in their buffer."""
    if not len(hashes):
        return NOTHING
    numbers = pa.Array.from_buffers(pa.uint64(), 4 * len(hashes), [None, hashes.buffers()[2]], offset=4 * hashes.offset)
    lanes = pa.FixedSizeListArray.from_arrays(numbers, 4)
    # Arrow's sum wraps around: modulo 2^64.
    first, second, third, fourth = (pc.sum(pc.list_element(lanes, lane)).as_py() for lane in range(4))
    return first, second, third, fourth


def added(digest: Lanes, more: Lanes, sign: int = 1) -> Lanes:
    """The digest with rows added (+1) or taken away (-1)."""
    first, second, third, fourth = ((a + sign * b) % _MODULUS for a, b in zip(digest, more, strict=True))
    return first, second, third, fourth


def in_hexadecimal(digest: Lanes) -> str:
    """As people and the catalogue have it: 64 digits."""
    return b"".join(lane.to_bytes(8, "little") for lane in digest).hex()


def from_hexadecimal(text: str) -> Lanes:
    """The reverse of `in_hexadecimal`."""
    raw = bytes.fromhex(text)
    first, second, third, fourth = (int.from_bytes(raw[at : at + 8], "little") for at in range(0, 32, 8))
    return first, second, third, fourth
