"""A unit: what one source delivered at once, as the catalogue knows it; and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID


class GenerationState(StrEnum):
    """What became of a unit under one reader, mapping and minimisation."""

    CANDIDATE = "candidate"  # normalised, not judged yet
    PASSED = "passed"
    HELD = "held"  # waits for a person
    PUBLISHED = "published"  # in force: its rows are live, unless a newer unit has the same row
    SUPERSEDED = "superseded"


class Verdict(StrEnum):
    """Why a generation may be published, or may not."""

    PASSED = "passed"
    HELD = "held"
    RELEASED = "released"  # held, and let through by a person
    COULD_NOT_RUN = "could_not_run"  # says nothing about the data; it is tried again


@dataclass(frozen=True, slots=True)
class Unit:
    """A file, a pull's pages or an inbox batch, landed and sealed."""

    id: UUID
    source: str
    source_id: UUID
    partition: date  # the source-day it belongs to
    delivery: str  # arrival id, pull window, inbox batch
    digest: bytes  # keyed digest of the plaintext
    path: str  # the raw container, relative to the tenant's prefix
    container_sha256: bytes
    size_bytes: int  # of the plaintext
    landed_at: datetime
    sequence: int  # "newest" means highest
    raw_state: str  # kept | destroyed
    repeat_of: UUID | None  # the same content delivered again: recorded, not processed
