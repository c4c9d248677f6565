"""Writing and reading a tenant's books in a test's words: deliver, pass, publish, and what is live then."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pyarrow as pa
import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import FieldMapping, ProcessingSet, Source, SourceKind
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.domain.unit import Unit, Verdict
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.store import generations, releases
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.live import live
from actuals_pipelines.store.log import Publication
from actuals_pipelines.store.publish import publish
from actuals_pipelines.tables import TRANSACTIONS
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.store.environment import uuids

DAY = date(2026, 3, 1)
ADDING = Source("shop", SourceKind.UPLOAD, "csv", FieldMapping({}))
REPLACING = Source("psp", SourceKind.OAUTH_API, "ndjson", FieldMapping({}), publishes=ProcessingSet.REPLACE)
LATEST = Source("erp", SourceKind.UPLOAD, "csv", FieldMapping({}), publishes=ProcessingSet.LATEST)

Row = tuple[str, int] | tuple[str, int, str]
"""A row's id, its amount in minor units, and its currency (EUR): the amount stands for the whole content."""


@dataclass(frozen=True)
class Books:
    """One tenant's environment and the verbs of these tests."""

    env: TenantEnvironment

    def deliver(self, source: Source, rows: Sequence[Row], day: date = DAY, **counts: int) -> Unit:
        """A landed unit with these rows, candidate and passed, not published yet."""
        unit = self.land(source, day)
        self.passed(unit, rows, **counts)
        return unit

    def land(self, source: Source, day: date = DAY) -> Unit:
        """A unit's catalogue row; its raw bytes are landing's concern."""
        with self.env.engine.begin() as connection:
            source_id = units.source_id(connection, source.name)
            unit_id = uuid4()
            connection.execute(
                sa.insert(tables.unit).values(
                    id=unit_id,
                    source_id=source_id,
                    partition=day,
                    delivery=str(unit_id),
                    digest=unit_id.bytes,
                    path=f"raw/{unit_id.hex}",
                    container_sha256=b"",
                    size_bytes=1,
                )
            )
            [unit] = units.units_where(connection, tables.unit.c.id == unit_id)
        return unit

    def candidate(self, unit: Unit, rows: Sequence[Row], mapping: str = "1", **counts: int) -> Generation:
        """What one version of the mapping made of the unit."""
        fingerprint = hashlib.sha256(unit.digest + mapping.encode()).digest()
        return generations.record_candidate(
            self.env,
            unit,
            fingerprint,
            transactions(unit, rows),
            mapping_digest=mapping.encode(),
            counts={"rows": len(rows), **counts},
        )

    def passed(self, unit: Unit, rows: Sequence[Row], mapping: str = "1", **counts: int) -> Generation:
        """The same, judged and passed."""
        candidate = self.candidate(unit, rows, mapping, **counts)
        return generations.judge(self.env, candidate, Verdict.PASSED, [])

    def release(self, unit: Unit) -> None:
        """A held unit, let through by two persons."""
        releases.ask(self.env, unit.id, "checked with the bank", "person-1")
        releases.approve(self.env, unit.id, "person-2")

    def publish(self, source: Source, day: date = DAY) -> list[Publication]:
        """Make what passed live."""
        return publish(self.env, source, day)

    def live(self, source: Source, as_of_sequence: int | None = None) -> dict[str, tuple[int, str]]:
        """Row id -> amount and currency of what is live; a row that is live twice fails the test."""
        table = live(self.env, source.name, as_of_sequence).read_all()
        found = {r["row_id"]: (r["amount_minor_units"], r["currency"]) for r in table.to_pylist()}
        assert len(found) == table.num_rows
        return found

    def amounts(self, source: Source) -> dict[str, int]:
        """Row id -> amount of what is live."""
        return {row_id: amount for row_id, (amount, _) in self.live(source).items()}


def a_book(database: TenantDatabase, folder: Path, seed: bytes | None = None) -> Books:
    """A tenant with its own keys (random without `seed`), a folder of its own and this database."""
    prefix = folder / database.ref.prefix
    prefix.mkdir(mode=0o700, exist_ok=True)
    root, private, pepper = (hashlib.sha256((seed or uuid4().bytes) + part).digest() for part in (b"1", b"2", b"3"))
    keys = TenantKeys(database.ref, root, private, pepper)
    tenant = Tenant("acme", (ADDING, REPLACING, LATEST), ())
    return Books(TenantEnvironment(database.ref, tenant, database.app, keys, prefix))


def transactions(unit: Unit, rows: Sequence[Row]) -> pa.Table:
    """A transactions table; row_uid comes from the row's id, row_digest from its amount and currency."""
    full = [(row[0], row[1], row[2] if len(row) == 3 else "EUR") for row in rows]
    columns: Mapping[str, Any] = {
        "row_uid": uuids(*(row_uid(row_id) for row_id, _, _ in full)),
        "row_digest": uuids(*(row_uid(f"{row_id} {amount} {currency}") for row_id, amount, currency in full)),
        "row_id": [row_id for row_id, _, _ in full],
        "source": [unit.source] * len(full),
        "kind": ["payment"] * len(full),
        "status": ["booked"] * len(full),
        "transaction_id": [row_id for row_id, _, _ in full],
        "booked_on": [unit.partition] * len(full),
        "value_date": [None] * len(full),
        "timestamp": [None] * len(full),
        "amount_minor_units": [amount for _, amount, _ in full],
        "currency": [currency for _, _, currency in full],
        "unit_id": uuids(*(unit.id for _ in full)),
        "line": list(range(1, len(full) + 1)),
    }
    return pa.Table.from_arrays(
        [
            c if isinstance(c, pa.ExtensionArray) else pa.array(c, f.type)
            for f in TRANSACTIONS
            for c in [columns[f.name]]
        ],
        schema=TRANSACTIONS,
    )


def row_uid(text: str) -> UUID:
    """A row's identity in these tests."""
    return uuid5(UUID(int=0), text)
