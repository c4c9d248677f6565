"""Which transaction ids occurred, as 64-bit digests that merge: exact for most days, a fair sample of huge units.

A unit keeps its `LIMIT` smallest digests ("k minimum values"). Whether a digest is small has nothing to do with the
unit it stands in, so the samples of two units hold the same ids, and what repeats between them is found in both.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

LIMIT = 32_768
"""Ids a unit's sample holds: 12 bytes each. Up to here, counting is exact."""

EVERYTHING = 2**64 - 1
SEVERAL = 0
"""Instead of the digest of an id's rows: units disagree about which rows those are."""


@dataclass(frozen=True, slots=True, repr=False)
class IdSample:
    """All ids whose digest is at most `bound`, sorted, each with a digest of the rows that carry it."""

    bound: int
    ids: pa.Array  # uint64
    rows: pa.Array  # uint32, never null

    @property
    def in_several_units(self) -> int:
        """How many ids occur in several units on different rows; an estimate where the sample is no longer whole."""
        found = int(pc.sum(pc.equal(self.rows, pa.scalar(SEVERAL, pa.uint32()))).as_py() or 0)
        return found if self.bound == EVERYTHING else round(found * (EVERYTHING / max(self.bound, 1)))

    def plain(self) -> list[object]:
        """As JSON can hold it."""
        return [self.bound, *(b64encode(_bytes(array)).decode("ascii") for array in (self.ids, self.rows))]

    @classmethod
    def of_plain(cls, plain: list[object]) -> IdSample:
        """The reverse of `plain`."""
        bound, ids, rows = plain
        return cls(int(str(bound)), _array(str(ids), pa.uint64(), 8), _array(str(rows), pa.uint32(), 4))

    @classmethod
    def of_rows(cls, table: pa.Table) -> IdSample:
        """From (id: uint64, rows: uint32), sorted by id, at most LIMIT + 1 of the smallest."""
        kept = table.slice(0, LIMIT)
        bound = EVERYTHING if table.num_rows <= LIMIT else int(kept["id"][-1].as_py())
        return cls(bound, _whole(kept["id"]), _whole(kept["rows"]))


def no_ids() -> IdSample:
    """The sample of nothing. No constant: making an Arrow array loads pandas."""
    return IdSample(EVERYTHING, pa.array([], pa.uint64()), pa.array([], pa.uint32()))


def merged(samples: Sequence[IdSample]) -> IdSample:
    """The sample of several units: as fine as the coarsest of them. The order does not count."""
    if not samples:
        return no_ids()
    if len(samples) == 1:
        return samples[0]
    bound = min(sample.bound for sample in samples)
    everything = pa.table(
        {
            "id": pa.chunked_array([sample.ids for sample in samples], pa.uint64()),
            "rows": pa.chunked_array([sample.rows for sample in samples], pa.uint32()),
        }
    )
    within = everything.filter(pc.less_equal(everything["id"], pa.scalar(bound, pa.uint64())))
    by_id = within.group_by("id").aggregate([("rows", "min"), ("rows", "max")]).sort_by("id")
    agree = pc.equal(by_id["rows_min"], by_id["rows_max"])
    rows = pc.if_else(agree, by_id["rows_min"], pa.scalar(SEVERAL, pa.uint32()))
    return IdSample(bound, _whole(by_id["id"]), _whole(rows))


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _bytes(array: pa.Array) -> bytes:
    return pa.concat_arrays([array]).to_numpy(zero_copy_only=True).tobytes()  # type: ignore[no-any-return]


def _array(text: str, kind: pa.DataType, width: int) -> pa.Array:
    content = b64decode(text, validate=True)
    return pa.Array.from_buffers(kind, len(content) // width, [None, pa.py_buffer(content)])
