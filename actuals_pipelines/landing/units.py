"""Land a stream as a unit: sealed while it is read, named by the catalogue when it is whole and on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import ProcessingSet, Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.encryption.columns import seal_to_public
from actuals_pipelines.encryption.container import ContainerAad, ContainerWriter, Kind
from actuals_pipelines.encryption.durable import sync_folder
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.tenants.environment import TenantEnvironment

RAW_FOLDER = "raw"
NAME_KIND = "arrival.name"
"""What a sealed file name is called when it is sealed and opened, at every door."""


class NothingReceived(ActualsError):
    """A delivery has no byte."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source

    def __str__(self) -> str:
        return f"What was delivered for source {self.source!r} is empty. Ask the sender to export it again."


@dataclass(frozen=True, slots=True)
class Landing:
    """One delivery about to be recorded: whole, sealed and on disk."""

    unit_id: UUID
    path: str  # relative to the tenant's prefix
    size_bytes: int
    container_sha256: bytes
    digest: bytes  # keyed, of the plaintext
    name_sealed: bytes | None


def land(
    environment: TenantEnvironment,
    source: Source,
    chunks: Iterable[bytes],
    *,
    door: str,
    delivery: str,
    partition: date,
    name: str | None = None,
) -> Unit:
    """Seal a stream and record it as a unit of one source-day.

    Args:
        chunks: the plaintext, piece by piece; what it raises passes through and nothing is recorded.
        door: upload | pull | fetch.
        delivery: what tells this delivery from others of the day: a window, a person's upload.
        name: the file's own name; kept sealed.

    Returns:
        the unit; `repeat_of` is set where its source-day already has this content: it is recorded, not processed.

    Raises:
        NothingReceived: there was not one byte.
    """
    with environment.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    landing = write_raw(environment, source, source_id, chunks, name=name)
    with environment.engine.begin() as connection:
        connection.execute(
            sa.insert(tables.arrival).values(
                id=landing.unit_id,
                door=door,
                source_id=source_id,
                delivery=delivery,
                name_sealed=landing.name_sealed,
                partition=partition,
                path=landing.path,
                size_bytes=landing.size_bytes,
                container_sha256=landing.container_sha256,
                content_mac=landing.digest,
            )
        )
        return record_unit(connection, source, source_id, landing, partition=partition, delivery=delivery)


def write_raw(
    environment: TenantEnvironment, source: Source, source_id: UUID, chunks: Iterable[bytes], *, name: str | None = None
) -> Landing:
    """Seal a stream into a container of its own, synced. Until the catalogue names it, nobody sees it."""
    unit_id = uuid4()
    folder = environment.prefix / RAW_FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / str(unit_id)
    content = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0) as file:
            aad = raw_aad(environment, source_id, path.relative_to(environment.prefix), unit_id)
            with ContainerWriter(file, environment.keys.public_key, aad) as writer:
                for chunk in chunks:
                    content.update(chunk)
                    writer.write(chunk)
                if writer.size_bytes == 0:
                    raise NothingReceived(source.name)
                done = writer.finish()
            os.fsync(file.fileno())
        sync_folder(folder)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sealed = None
    if name is not None:
        sealed = seal_to_public(environment.keys.public_key, NAME_KIND, unit_id, name.encode())
    return Landing(
        unit_id,
        f"{RAW_FOLDER}/{unit_id}",
        done.size_bytes,
        done.sha256,
        keyed_digest(environment, content.digest()),
        sealed,
    )


def record_unit(
    connection: sa.Connection, source: Source, source_id: UUID, landing: Landing, *, partition: date, delivery: str
) -> Unit:
    """Name a landing in the catalogue as a unit."""
    connection.execute(
        sa.insert(tables.unit).values(
            id=landing.unit_id,
            source_id=source_id,
            partition=partition,
            delivery=delivery,
            digest=landing.digest,
            path=landing.path,
            container_sha256=landing.container_sha256,
            size_bytes=landing.size_bytes,
            name_sealed=landing.name_sealed,
            repeat_of=_repeated(connection, source, source_id, landing.digest, partition),
        )
    )
    return units.units_where(connection, tables.unit.c.id == landing.unit_id)[0]


def raw_aad(environment: TenantEnvironment, source_id: UUID, path: Path, unit_id: UUID) -> ContainerAad:
    """What a raw container is bound to: what landed here is raw, what lies in a door's folder is its arrival."""
    kind = Kind.RAW if path.parts[0] == RAW_FOLDER else Kind.ARRIVAL
    return ContainerAad(kind, environment.ref, unit_id, source_id)


def keyed_digest(environment: TenantEnvironment, sha256: bytes) -> bytes:
    """The tenant's own digest of a content: equal contents are known, and guessing a content tells nobody."""
    return environment.keys.pseudonyms.digest("unit", sha256).bytes


def _repeated(
    connection: sa.Connection, source: Source, source_id: UUID, digest: bytes, partition: date
) -> UUID | None:
    """The unit that already brought this content, where bringing it again changes nothing.

    Files that add: whenever it came. A pull that replaces its day, or a full export: only if it is the newest of its
    day, or of the source, because A, B, A means A.
    """
    unit = tables.unit
    conditions = [unit.c.source_id == source_id, unit.c.repeat_of.is_(None)]
    if source.publishes is ProcessingSet.ADD:
        conditions.append(unit.c.digest == digest)
    elif source.publishes is ProcessingSet.REPLACE:
        conditions.append(unit.c.partition == partition)
    query = sa.select(unit.c.id, unit.c.digest).where(*conditions).order_by(unit.c.sequence.desc()).limit(1)
    newest = connection.execute(query).first()
    return newest.id if newest is not None and newest.digest == digest else None
