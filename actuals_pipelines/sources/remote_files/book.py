"""The book of a source's remote files: what a look found, since when, what became of it. Names are sealed in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database.tables import remote_file
from actuals_pipelines.encryption.columns import seal_column
from actuals_pipelines.sources.remote_files.remote import RemoteFile

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """A version of a file, and what the book says of it."""

    id: UUID
    file: RemoteFile
    seen_at: datetime  # when a look found this version first
    is_fetched: bool
    is_settled: bool
    refused: str | None


class Book:
    """One source's rows of `remote_file`, as role `app`.

    A file is known by its name, size and version, whatever folder it lies in: what the sender moves into an archive is
    the same file.
    """

    def __init__(self, environment: TenantEnvironment, source_id: UUID) -> None:
        self._environment, self._source_id = environment, source_id
        self._engine = environment.engine

    def look(self, found: Sequence[RemoteFile], now: datetime) -> list[Entry]:
        """Note what is there now, and forget what was never fetched and is not there any more, or not as it was.

        Returns:
            an entry for each file, in their order; of a file that lies in several folders the first alone.
        """
        by_key: dict[tuple[UUID, int, str], RemoteFile] = {}
        for file in found:
            by_key.setdefault((self._mac(file), file.size_bytes, file.version), file)
        keys = list(by_key)
        known: dict[tuple[UUID, int, str], Entry] = {}
        with self._engine.begin() as connection:
            for start in range(0, len(keys), _ROWS_AT_ONCE):
                part = {key: by_key[key] for key in keys[start : start + _ROWS_AT_ONCE]}
                entries = self._entries(connection, part)
                missing = [key for key in part if key not in entries]
                if missing:
                    rows = [self._row(key, part[key], now) for key in missing]
                    connection.execute(insert(remote_file).on_conflict_do_nothing(), rows)
                    entries = self._entries(connection, part)
                known |= entries
            self._forget_others(connection, [entry.id for entry in known.values()])
        return [known[key] for key in keys]

    def note_refused(self, refusals: Iterable[tuple[Entry, str | None]]) -> None:
        """Why a file is not fetched; None takes a refusal back."""
        rows = [{"of": entry.id, "why": why} for entry, why in refusals]
        if rows:
            statement = sa.update(remote_file).where(remote_file.c.id == sa.bindparam("of"))
            with self._engine.begin() as connection:
                connection.execute(statement.values(refused=sa.bindparam("why")), rows)

    @staticmethod
    def note_fetched(connection: sa.Connection, fetched: Iterable[tuple[Entry, UUID]]) -> None:
        """What became of files, in the transaction that makes their units."""
        rows = [{"of": entry.id, "unit": unit_id} for entry, unit_id in fetched]
        statement = sa.update(remote_file).where(remote_file.c.id == sa.bindparam("of"))
        connection.execute(statement.values(unit_id=sa.bindparam("unit"), refused=None), rows)

    def note_settled(self, entry: Entry) -> None:
        """It was moved or deleted over there."""
        statement = sa.update(remote_file).where(remote_file.c.id == entry.id).values(settled_at=sa.func.now())
        with self._engine.begin() as connection:
            connection.execute(statement)

    def _mac(self, file: RemoteFile) -> UUID:
        name = file.name.encode(errors="surrogateescape")
        return self._environment.keys.pseudonyms.digest("remote file name", self._source_id.bytes + name)

    def _row(self, key: tuple[UUID, int, str], file: RemoteFile, now: datetime) -> dict[str, object]:
        row_id, (mac, size_bytes, version) = uuid4(), key
        path = file.path.encode(errors="surrogateescape")
        return {
            "id": row_id,
            "source_id": self._source_id,
            "name_mac": mac,
            "path_sealed": seal_column(self._environment.keys, "remote_file", "path_sealed", row_id, path),
            "size_bytes": size_bytes,
            "version": version,
            "seen_at": now,
        }

    def _entries(
        self, connection: sa.Connection, files: dict[tuple[UUID, int, str], RemoteFile]
    ) -> dict[tuple[UUID, int, str], Entry]:
        r = remote_file.c
        macs = sa.cast([mac for mac, _, _ in files], sa.ARRAY(sa.Uuid))
        query = sa.select(remote_file).where(r.source_id == self._source_id, r.name_mac == sa.any_(macs))
        entries = {}
        for row in connection.execute(query):
            key = (row.name_mac, row.size_bytes, row.version)
            if key in files:
                done = row.unit_id is not None, row.settled_at is not None
                entries[key] = Entry(row.id, files[key], row.seen_at, *done, row.refused)
        return entries

    def _forget_others(self, connection: sa.Connection, there: Sequence[UUID]) -> None:
        r = remote_file.c
        current = sa.cast(there, sa.ARRAY(sa.Uuid))
        never_fetched = (r.source_id == self._source_id, r.unit_id.is_(None))
        connection.execute(sa.delete(remote_file).where(*never_fetched, r.id != sa.all_(current)))
