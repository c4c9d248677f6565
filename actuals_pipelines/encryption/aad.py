"""What a sealed file is bound to: fixed-length bytes of ids, never of names, which may change.

The same bytes bind our containers, the data keys that the catalogue holds and Parquet's AAD prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.environments import ref_bytes

AAD_FORMAT = 1
AAD_BYTES = 67
NIL = UUID(int=0)


class Kind(IntEnum):
    """What a file holds. Written into sealed files: add, never renumber."""

    ARRIVAL = 1  # what a door received, before any source claims it
    RAW = 2  # a landed unit, byte for byte
    TRANSACTIONS = 3
    REMOVALS = 4
    REJECTS = 5
    PROFILE = 6
    CHANGES = 7
    STATE = 8
    RESULTS = 9
    SPILL = 10  # buckets under a key that lives in memory only
    EXPORT = 11


@dataclass(frozen=True, slots=True)
class ContainerAad:
    """Which file of which tenant this is; opening needs exactly the same."""

    kind: Kind
    ref: TenantRef
    file: UUID
    source: UUID = NIL  # the source or package it belongs to; nil while nothing claims it
    generation: UUID = NIL  # the generation, publication or close; nil before there is one

    def to_bytes(self) -> bytes:
        """Return format (1), kind (1), tenant (16), environment (1), source (16), generation (16), file (16)."""
        return (
            bytes([AAD_FORMAT, self.kind])
            + ref_bytes(self.ref)
            + self.source.bytes
            + self.generation.bytes
            + self.file.bytes
        )
