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
        """Events that the inbox acknowledged, each for itself; returns their bodies' ids."""
        return [self.push_batch(body, mode=mode, received_at=received_at, source=source)[0] for body in bodies]

    def push_batch(
        self, *lines: bytes, mode: str = "prod", received_at: datetime = NOW, source: Source = SHOP
    ) -> tuple[UUID, list[UUID]]:
        """Events that were sealed together: the body's id, and the receipts."""
        key = DoorKey(self.env.keys.public_key, self.env.ref, received_at)
        source_id, body_id = self.source_id(source), uuid4()
        receipts = sorted(UUID(int=body_id.int & ~0xFFFF | number) for number in range(len(lines)))
        body = {"id": receipts[0], "source_id": source_id, "mode": mode, "rows": len(lines), "received_at": received_at}
        sealed = {"data_key_id": key.key_id, "sealed": key.seal(receipts[0], source_id, b"\n".join(lines))}
        keys = [
            {"id_mac": uuid4(), "body_mac": uuid4(), "receipt_id": receipt, "body_id": receipts[0]}
            for receipt in receipts
        ]
        with self.env.engine.begin() as connection:  # not as `door`, who may not choose when it received them
            connection.execute(sa.insert(tables.inbox_data_key).values(id=key.key_id, sealed=key.sealed))
            connection.execute(sa.insert(tables.inbox_body).values(body | sealed))
            connection.execute(sa.insert(tables.inbox_key), keys)
        return receipts[0], receipts

    def land(self, source: Source, content: bytes, delivery: str, day: date = DAY, name: str | None = None) -> Unit:
        """A stream that an operator or a pull hands over."""
        return land(self.env, source, io.BytesIO(content), door="upload", delivery=delivery, partition=day, name=name)

    def read(self, unit: Unit) -> bytes:
        """The unit's bytes, as they were received."""
        with open_unit(self.env, unit) as stream:
            return stream.read()

    def inbox_states(self) -> dict[UUID, str]:
        """Body -> received | landed | rejected."""
        b = tables.inbox_body
        with self.env.engine.begin() as connection:
            return {row.id: row.state for row in connection.execute(sa.select(b.c.id, b.c.state))}
