"""What a tenant's catalogue says is wrong, read by the role that sees no body, key or secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.domain.source import Expected
from actuals_pipelines.operations.alerts.tenant_findings import last_two_deadlines, tenant_findings
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines_tests.conftest import TenantDatabase

TENANT = parse_tenant(
    """
name: acme
time_zone: Europe/Amsterdam
sources:
- {name: bank, kind: sftp, format: camt053, expected: {by: "09:00", on: business days}}
""",
    "acme.yaml",
)
MONDAY_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BANK = uuid4()


@pytest.fixture
def acme(tenant_database: Callable[..., TenantDatabase]) -> TenantDatabase:
    """A tenant whose bank has been known for a month."""
    made = tenant_database()
    insert(made, tables.source, id=BANK, name="bank", created_at=MONDAY_NOON - timedelta(days=30))
    return made


def insert(tenant: TenantDatabase, table: sa.Table, **values: Any) -> None:
    """A row as `app` writes it."""
    with tenant.app.begin() as connection:
        connection.execute(sa.insert(table).values(values))


def landed(tenant: TenantDatabase, at: datetime, state: str = "passed", verdict: str = "passed") -> None:
    """A unit of bank with its generation."""
    unit = {"source_id": BANK, "partition": at.date(), "delivery": str(uuid4()), "digest": uuid4().bytes}
    more = {"path": str(uuid4()), "container_sha256": b"", "size_bytes": 1, "landed_at": at}
    unit_id = uuid4()
    insert(tenant, tables.unit, id=unit_id, **unit, **more)
    made = {"fingerprint": uuid4().bytes, "mapping_digest": b"", "created_at": at}
    insert(tenant, tables.generation, id=uuid4(), unit_id=unit_id, state=state, verdict=verdict, **made)


def arrived(tenant: TenantDatabase, at: datetime, **more: Any) -> None:
    """Something that a door took and no unit was made of."""
    row = {"door": "sftp", "path": str(uuid4()), "size_bytes": 1, "container_sha256": b"", "content_mac": b""}
    insert(tenant, tables.arrival, id=uuid4(), received_at=at, **row, **more)


def found(tenant: TenantDatabase) -> set[str]:
    """The keys of what is wrong on Monday at noon."""
    return {one.key for one in tenant_findings(tenant.ro, "acme", TENANT, MONDAY_NOON, unclaimed_hours=4)}


@pytest.mark.parametrize(
    ("last", "is_late"),
    [
        (datetime(2026, 11, 20, 7, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 20, 8, 1, tzinfo=UTC), False),
        (datetime(2026, 11, 23, 11, tzinfo=UTC), False),
    ],
    ids=["before Friday 09:00", "after it", "today, after the deadline"],
)
def test_a_source_is_late_if_nothing_came_between_its_last_two_deadlines(
    acme: TenantDatabase, last: datetime, is_late: bool
) -> None:
    """In Amsterdam 09:00 is 08:00 UTC in November; Saturday and Sunday do not count."""
    landed(acme, last)

    assert found(acme) == ({"acme late bank"} if is_late else set())


def test_what_a_door_holds_is_not_late(acme: TenantDatabase) -> None:
    """It came; that nothing takes it is another matter."""
    arrived(acme, MONDAY_NOON - timedelta(hours=1), source_id=BANK)

    assert found(acme) == set()


@pytest.mark.parametrize(
    ("state", "verdict"), [("held", "held"), ("candidate", "could_not_run")], ids=["held", "could not run"]
)
def test_a_day_that_waits_for_a_person_is_told(acme: TenantDatabase, state: str, verdict: str) -> None:
    landed(acme, MONDAY_NOON - timedelta(hours=1), state, verdict)

    assert found(acme) == {"acme held bank 2026-11-23"}


def test_arrivals_that_nothing_takes_are_told_after_some_hours_and_refused_ones_at_once(acme: TenantDatabase) -> None:
    landed(acme, MONDAY_NOON)
    arrived(acme, MONDAY_NOON - timedelta(hours=3))
    assert found(acme) == set()

    arrived(acme, MONDAY_NOON - timedelta(hours=5))
    assert found(acme) == {"acme unclaimed"}

    arrived(acme, MONDAY_NOON, refused="it is shorter", refused_on=date(2026, 11, 23))
    assert found(acme) == {"acme unclaimed", "acme refused"}


@pytest.mark.parametrize(
    ("business_days", "before"),
    [(True, date(2026, 11, 20)), (False, date(2026, 11, 22))],
    ids=["business days", "every day"],
)
def test_deadlines_are_in_the_sources_zone(business_days: bool, before: date) -> None:
    zone = ZoneInfo("Asia/Tokyo")

    last, earlier = last_two_deadlines(Expected(time(9), business_days), zone, MONDAY_NOON)

    assert (last, earlier) == (datetime(2026, 11, 23, 9, tzinfo=zone), datetime.combine(before, time(9), zone))
