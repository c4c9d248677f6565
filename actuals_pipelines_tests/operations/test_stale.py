"""Stale days by the catalogue: published and in no close, or made by a mapping that is not today's."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.landing import land
from actuals_pipelines.operations.reconcile import close
from actuals_pipelines.operations.stale import MAPPING_CHANGED, NOT_RECONCILED, Stale, stale_days
from actuals_pipelines.operations.take_in import publish, validate
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines_tests.conftest import TenantDatabase

TENANT = """
name: acme
start: 2026-11-01
sources:
- {name: shop, kind: upload, format: csv, mapping: {transaction_id: id, amount: total, currency: cur, booked_on: day}}
- {name: psp, kind: upload, format: csv, mapping: {transaction_id: id, amount: total, currency: cur, booked_on: day}}
packages:
- {name: paid, soll: [{source: shop}], ist: [{source: psp}]}
"""
DAY = date(2026, 11, 16)


@pytest.fixture
def acme(tenant_database: Callable[..., TenantDatabase], tmp_path: Path) -> TenantEnvironment:
    """A tenant whose shop has one published day."""
    database = tenant_database()
    prefix = tmp_path / database.ref.prefix
    prefix.mkdir(mode=0o700)
    with database.app.begin() as connection:
        connection.execute(sa.insert(tables.package).values(id=uuid4(), name="paid"))
        connection.execute(sa.insert(tables.source), [{"id": uuid4(), "name": name} for name in ("shop", "psp")])
    keys = TenantKeys(database.ref, uuid4().bytes * 2, uuid4().bytes * 2, uuid4().bytes * 2)
    made = TenantEnvironment(database.ref, parse_tenant(TENANT, "acme.yaml"), database.app, keys, prefix)
    content = io.BytesIO(f"id,total,cur,day\norder-1,10.00,EUR,{DAY}\n".encode())
    land(made, made.tenant.source("shop"), content, door="upload", delivery="1", partition=DAY)
    validate(made, made.tenant.source("shop"), [DAY])
    publish(made, made.tenant.source("shop"), [DAY])
    return made


def test_what_was_published_is_stale_until_a_close_took_it_in(acme: TenantEnvironment) -> None:
    assert stale_days("acme", acme) == [Stale("acme", "paid", NOT_RECONCILED, (DAY,))]

    close(acme, acme.tenant.package("paid"), [DAY])

    assert stale_days("acme", acme) == []


def test_a_changed_mapping_makes_its_days_stale_until_they_ran_again(acme: TenantEnvironment) -> None:
    close(acme, acme.tenant.package("paid"), [DAY])
    changed = parse_tenant(TENANT.replace("booked_on: day}", "booked_on: day, text: id}", 1), "acme.yaml")
    after = replace(acme, tenant=changed)

    assert stale_days("acme", after) == [Stale("acme", "shop", MAPPING_CHANGED, (DAY,))]

    validate(after, changed.source("shop"), [DAY])
    publish(after, changed.source("shop"), [DAY])
    assert {one.reason for one in stale_days("acme", after)} == {NOT_RECONCILED}


def test_when_a_source_is_expected_changes_no_result(acme: TenantEnvironment) -> None:
    close(acme, acme.tenant.package("paid"), [DAY])
    text = TENANT.replace("{name: shop,", '{name: shop, expected: {by: "09:00"},')

    assert stale_days("acme", replace(acme, tenant=parse_tenant(text, "acme.yaml"))) == []
