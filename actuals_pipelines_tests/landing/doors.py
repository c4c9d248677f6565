"""Doors, as they write: containers with a row, inbox events under minute keys. They hold the public key alone."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import FieldMapping, ProcessingSet, Source, SourceKind
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.encryption.columns import seal_to_public
from actuals_pipelines.encryption.container import ContainerAad, ContainerWriter, Kind
from actuals_pipelines.encryption.door import DoorKey
from actuals_pipelines.landing import land, open_unit
from actuals_pipelines.tenants.environment import TenantEnvironment

DAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
BANK = Source("bank", SourceKind.SFTP, "camt053", FieldMapping({}))
PSP = Source("psp", SourceKind.OAUTH_API, "ndjson", FieldMapping({}), publishes=ProcessingSet.REPLACE)
ERP = Source("erp", SourceKind.UPLOAD, "csv", FieldMapping({}), publishes=ProcessingSet.LATEST, raw_days=10)
SHOP = Source("shop", SourceKind.INBOX, "ndjson", FieldMapping({}))


@dataclass
class Doors:
    """One tenant's environment, and what doors do to it."""

    env: TenantEnvironment
    door: sa.Engine
    _minute: dict[str, DoorKey] = field(default_factory=dict)

    def source_id(self, source: Source) -> UUID:
        """The source's id, which a door has from its view."""
        with self.env.engine.begin() as connection:
            return units.source_id(connection, source.name)

    def drop(
        self,
        source: Source | None,
        content: bytes,
        *,
        name: str = "statement.xml",
        received_at: datetime = NOW,
        partition: date | None = None,
    ) -> UUID:
        """A file that an sFTP client closed; no source if nobody claims the folder."""
        arrival_id = uuid4()
        source_id = None if source is None else self.source_id(source)
        folder = self.env.prefix / "drop"
        folder.mkdir(exist_ok=True)
        aad = ContainerAad(Kind.ARRIVAL, self.env.ref, arrival_id, source_id or UUID(int=0))
        with (folder / str(arrival_id)).open("wb") as file:
            writer = ContainerWriter(file, self.env.keys.public_key, aad)
            writer.write(content)
            digest = writer.finish()
        with self.door.begin() as connection:
            connection.execute(
                sa.insert(tables.arrival).values(
                    id=arrival_id,
                    door="sftp",
                    source_id=source_id,
                    delivery=f"acme/{arrival_id}",
                    name_sealed=seal_to_public(self.env.keys.public_key, "arrival.name", arrival_id, name.encode()),
                    partition=partition,
                    path=f"drop/{arrival_id}",
                    size_bytes=digest.size_bytes,
                    container_sha256=digest.sha256,
                    sealed_key=digest.sealed_key,
                    content_mac=b"door",
                    received_at=received_at,
                )
            )
        return arrival_id

    def push(
        self, *bodies: bytes, mode: str = "prod", received_at: datetime = NOW, source: Source = SHOP
    ) -> list[UUID]:
        """Events that the inbox acknowledged."""
        key = DoorKey(self.env.keys.public_key, self.env.ref, received_at)
        source_id, receipts = self.source_id(source), [uuid4() for _ in bodies]
        with self.door.begin() as connection:
            connection.execute(sa.insert(tables.inbox_data_key).values(id=key.key_id, sealed=key.sealed))
            rows = [
                {
                    "receipt_id": receipt,
                    "source_id": source_id,
                    "mode": mode,
                    "data_key_id": key.key_id,
                    "sealed": key.seal(receipt, source_id, body),
                    "received_at": received_at,
                }
                for receipt, body in zip(receipts, bodies, strict=True)
            ]
            connection.execute(sa.insert(tables.inbox_body), rows)
        return receipts

    def land(self, source: Source, content: bytes, delivery: str, day: date = DAY, name: str | None = None) -> Unit:
        """A stream that an operator or a pull hands over."""
        return land(self.env, source, io.BytesIO(content), door="upload", delivery=delivery, partition=day, name=name)

    def read(self, unit: Unit) -> bytes:
        """The unit's bytes, as they were received."""
        with open_unit(self.env, unit) as stream:
            return stream.read()

    def inbox_states(self) -> dict[UUID, str]:
        """Receipt -> received | landed | rejected."""
        b = tables.inbox_body
        with self.env.engine.begin() as connection:
            return {row.receipt_id: row.state for row in connection.execute(sa.select(b.c.receipt_id, b.c.state))}
