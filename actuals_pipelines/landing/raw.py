"""Raw containers: where they lie, how they are written, opened and destroyed.

A container's data key stands in its row, sealed to the tenant's public key, and nowhere else. Destroying a unit's raw
deletes the file and sets the row's key to null: copies of the file, in backups too, open nothing from then on.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.encryption.columns import open_from_door
from actuals_pipelines.encryption.container import ContainerAad, ContainerDigest, ContainerWriter, Kind, read_container
from actuals_pipelines.encryption.durable import sync_folder
from actuals_pipelines.errors import ActualsError

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

FOLDER = "raw"
"""What landing writes itself, as Kind.RAW; doors write to folders of their own, as Kind.ARRIVAL."""

NAME_KIND = "arrival.name"
"""What a sealed file name is called when it is sealed and opened; doors use the same."""

_SYNCED_AT_ONCE = 16
_DEFAULT_RAW_DAYS = 100  # of a source that the tenant's configuration no longer has


class RawGone(ActualsError):
    """A unit's raw bytes were destroyed or are missing, so it cannot be read again."""

    def __init__(self, unit_id: UUID, found: str) -> None:
        super().__init__(unit_id, found)
        self.unit_id, self.found = unit_id, found

    def __str__(self) -> str:
        return (
            f"The raw bytes of unit {self.unit_id} {self.found}. It cannot be read again; what was published of it "
            "stays. Ask the sender to deliver it once more."
        )


@dataclass(frozen=True, slots=True)
class Sealed:
    """A container that is whole and on the disk; the catalogue does not name it yet."""

    file_id: UUID
    path: str  # relative to the prefix
    size_bytes: int
    container_sha256: bytes
    sealed_key: bytes | None  # null: its row has none, so nobody opens it
    digest: bytes  # keyed, of the plaintext


@dataclass(frozen=True, slots=True)
class Written:
    """A container that lies aside: whole, and not on the disk for sure before `keep`."""

    file_id: UUID
    digest: ContainerDigest
    plain_sha256: bytes


def seal(env: TenantEnvironment, source_id: UUID, file_id: UUID, chunks: Iterable[bytes]) -> Sealed:
    """Write a container, streaming: aside, synced, then named. A failure leaves no file."""
    [sealed] = keep(env, [write_aside(env, source_id, file_id, chunks)])
    return sealed


def write_aside(env: TenantEnvironment, source_id: UUID, file_id: UUID, chunks: Iterable[bytes]) -> Written:
    """Write a container, streaming. A failure leaves no file; else `keep` or `discard` it."""
    (env.prefix / FOLDER).mkdir(mode=0o700, exist_ok=True)
    aside = _aside(env, file_id)
    plain = hashlib.sha256()
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            writer = ContainerWriter(file, env.keys.public_key, ContainerAad(Kind.RAW, env.ref, file_id, source_id))
            for chunk in chunks:
                plain.update(chunk)
                writer.write(chunk)
            written = writer.finish()
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return Written(file_id, written, plain.digest())


def keep(env: TenantEnvironment, written: Sequence[Written]) -> list[Sealed]:
    """Bring containers onto the disk for sure and give them their names; the disk syncs many for the price of a few.

    A failure leaves none of them.
    """
    folder = env.prefix / FOLDER
    try:
        with ThreadPoolExecutor(min(len(written), _SYNCED_AT_ONCE) or 1) as pool:
            list(pool.map(_sync, (_aside(env, each.file_id) for each in written)))
        for each in written:
            os.replace(_aside(env, each.file_id), folder / each.file_id.hex)
        sync_folder(folder)
    except BaseException:
        for each in written:
            discard(env, each.file_id)
        raise
    return [
        Sealed(
            each.file_id,
            f"{FOLDER}/{each.file_id.hex}",
            each.digest.size_bytes,
            each.digest.sha256,
            each.digest.sealed_key,
            keyed_digest(env, each.plain_sha256),
        )
        for each in written
    ]


def discard(env: TenantEnvironment, file_id: UUID) -> None:
    """Delete a container that no row names, kept or aside."""
    (env.prefix / FOLDER / file_id.hex).unlink(missing_ok=True)
    _aside(env, file_id).unlink(missing_ok=True)


def _aside(env: TenantEnvironment, file_id: UUID) -> Path:
    return env.prefix / FOLDER / f"{file_id.hex}.aside"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_container(env: TenantEnvironment, path: str, source_id: UUID, sealed_key: bytes, sha256: bytes) -> BinaryIO:
    """Open a container that a row names; its digest is checked before the last chunk is handed out.

    Raises:
        FileNotFoundError: there is no such file.
        the errors of `encryption.container`: altered, cut, put in another's place.
    """
    folder, name = _parts(path)
    kind = Kind.RAW if folder == FOLDER else Kind.ARRIVAL
    aad = ContainerAad(kind, env.ref, UUID(name), source_id)
    file = (env.prefix / folder / name).open("rb")
    try:
        return read_container(file, env.keys, sealed_key, aad, sha256=sha256)
    except BaseException:
        file.close()
        raise


def open_unit(env: TenantEnvironment, unit: Unit) -> BinaryIO:
    """Stream a unit's bytes as they were received. The end comes only if all of it is what the catalogue says.

    Raises:
        RawGone: they were destroyed, or are missing.
        the errors of `encryption.container`, at once or while reading: altered, cut, put in another's place.
    """
    u = tables.unit.alias()
    owner = sa.select(u.c.source_id).where(u.c.path == tables.unit.c.path).order_by(u.c.sequence).limit(1)
    query = sa.select(tables.unit.c.sealed_key, owner.scalar_subquery().label("owner"))
    with env.engine.begin() as connection:
        row = connection.execute(query.where(tables.unit.c.id == unit.id)).first()
    if row is None or row.sealed_key is None:
        raise RawGone(unit.id, "were destroyed: they expired, or held a card number")
    try:
        # A derived source's unit lies in its parent's container, which knows the parent alone.
        return open_container(env, unit.path, row.owner, row.sealed_key, unit.container_sha256)
    except FileNotFoundError:
        raise RawGone(unit.id, "are missing from the tenant's folder") from None


def unit_name(env: TenantEnvironment, unit: Unit) -> str | None:
    """The file's name as the sender gave it, for people; None if it had none."""
    with env.engine.begin() as connection:
        query = sa.select(tables.unit.c.name_sealed).where(tables.unit.c.id == unit.id)
        sealed = connection.execute(query).scalar_one()
    return None if sealed is None else open_name(env, file_id(unit.path), sealed)


def open_name(env: TenantEnvironment, arrival_id: UUID, sealed: bytes) -> str:
    """A file's name, as a door sealed it for its arrival."""
    return open_from_door(env.keys, NAME_KIND, arrival_id, sealed).decode(errors="replace")


def destroy_raw(env: TenantEnvironment, unit: Unit) -> None:
    """Destroy a unit's raw bytes for good, for all units in that container; what was published stays. May be repeated.

    The file goes first: a crash between leaves a row that says more than there is, and is done again.
    """
    folder, name = _parts(unit.path)
    path = env.prefix / folder / name
    if path.exists():
        path.unlink()
        sync_folder(path.parent)
    with env.engine.begin() as connection:
        rows = sa.update(tables.unit).where(tables.unit.c.path == unit.path)
        connection.execute(rows.values(raw_state="destroyed", sealed_key=None))
    log.info("raw destroyed: tenant=%s unit=%s", env.ref.uuid, unit.id)


def expire_raw(env: TenantEnvironment, now: datetime) -> list[Unit]:
    """Destroy what landed longer ago than its source's `raw_days`; returns the units it was destroyed of."""
    raw_days = {source.name: source.raw_days for source in env.tenant.sources}
    with env.engine.begin() as connection:
        kept = units.units_where(connection, tables.unit.c.raw_state == "kept")
    expired = [u for u in kept if u.landed_at < now - timedelta(days=raw_days.get(u.source, _DEFAULT_RAW_DAYS))]
    for unit in expired:
        destroy_raw(env, unit)
    return expired


def keyed_digest(env: TenantEnvironment, plain_sha256: bytes) -> bytes:
    """The digest of a content that may stand in the catalogue: it tells nothing without the tenant's keys."""
    return env.keys.pseudonyms.digest("unit content", plain_sha256).bytes


def file_id(path: str) -> UUID:
    """A container's id, which is its file's name."""
    return UUID(_parts(path)[1])


def _parts(path: str) -> tuple[str, str]:
    """Folder and name. The path comes from a database, so it may not lead out of the tenant's folder."""
    parts = PurePosixPath(path).parts
    if len(parts) != 2 or ".." in parts or path.startswith("/"):
        raise PathRefused(path)
    return parts[0], parts[1]


class PathRefused(ActualsError):
    """A row names a raw container outside the tenant's folder."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"A row names the raw container {self.path!r}, which is not <folder>/<id> in the tenant's folder."
