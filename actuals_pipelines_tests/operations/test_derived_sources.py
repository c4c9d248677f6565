"""Several sources from one delivery: a settlement file gives payments and fees, and neither is lost or read twice."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from actuals_pipelines.landing import RawGone, open_unit
from actuals_pipelines.landing import land as land_stream
from actuals_pipelines.operations.take_in import land, publish, sources_waiting, validate
from actuals_pipelines.store.catalogue import ensure_named, units_of_day
from actuals_pipelines.store.live import live
from actuals_pipelines.tenants.environment import TenantEnvironment

TENANT = """
name: acme
start: 2026-11-01
sources:
- name: payments
  kind: upload
  format: csv
  adds_up: {gross: Gross, fee: Fee, net: Net}
  mapping: {row_id: Id, transaction_id: Order, amount: Gross, text: Memo, constants: {currency: EUR}}
- name: fees
  from: payments
  mapping:
    {row_id: Id, transaction_id: Order, amount: Fee, where: number(Fee) <> 0, constants: {currency: EUR, kind: fee}}
"""
DAY, NOW = date(2026, 11, 16), datetime(2026, 11, 16, 12, tzinfo=UTC)
FILE = b"Id,Order,Gross,Fee,Net,Memo\n1,A,10.00,-0.30,9.70,a\n2,B,20.00,0,20.00,b\n"


@pytest.fixture
def acme(applied: Callable[[str], TenantEnvironment]) -> TenantEnvironment:
    """A tenant with a PSP's file of payments and fees."""
    return applied(TENANT)


def taken_in(
    acme: TenantEnvironment, names: tuple[str, ...] = ("payments", "fees")
) -> dict[str, list[tuple[str, int]]]:
    """One run of these sources; source -> (order, amount in cents) of what is live."""
    found = {}
    for name in names:
        source = acme.tenant.source(name)
        land(acme, source, [DAY], now=NOW)
        validate(acme, source, [DAY])
        publish(acme, source, [DAY])
        rows = live(acme, name).read_all()
        found[name] = sorted(zip(*(rows[c].to_pylist() for c in ("transaction_id", "amount_minor_units")), strict=True))
    return found


def deliver(acme: TenantEnvironment, content: bytes, delivery: str = "1") -> None:
    land_stream(
        acme, acme.tenant.source("payments"), io.BytesIO(content), door="upload", delivery=delivery, partition=DAY
    )


def judged(acme: TenantEnvironment) -> dict[str, tuple[str, int, int]]:
    """One run up to the verdict; source -> (outcome, transactions, rejected records)."""
    found = {}
    for name in ("payments", "fees"):
        land(acme, acme.tenant.source(name), [DAY], now=NOW)
        [result] = validate(acme, acme.tenant.source(name), [DAY])
        found[name] = (result.outcome, result.counts["transactions"], result.counts["rejected"])
    return found


def test_one_file_gives_payments_and_fees_once(acme: TenantEnvironment) -> None:
    deliver(acme, FILE)

    found = taken_in(acme)

    assert found == {"payments": [("A", 1000), ("B", 2000)], "fees": [("A", -30)]}
    assert taken_in(acme) == found
    assert len(units_of_day(acme, "fees", DAY)) == 1


def test_a_record_that_does_not_add_up_is_rejected_by_both(acme: TenantEnvironment) -> None:
    """5.00 - 0.10 is not 4.80: no payment enters without its fee, and no fee without its payment."""
    deliver(acme, FILE + b"3,C,5.00,-0.10,4.80,c\n")

    assert judged(acme) == {"payments": ("held", 2, 1), "fees": ("held", 1, 1)}


def test_a_derived_source_waits_with_its_parent_and_also_when_it_is_new(acme: TenantEnvironment) -> None:
    ensure_named(acme)
    alone = replace(acme, tenant=replace(acme.tenant, sources=acme.tenant.sources[:1]))
    deliver(alone, FILE)
    taken_in(alone, ("payments",))

    waiting = sources_waiting(acme, now=NOW)
    found = taken_in(acme, ("fees",))

    assert waiting == {"fees": (DAY,)}
    assert found == {"fees": [("A", -30)]}
    assert sources_waiting(acme, now=NOW) == {}


def test_a_card_number_destroys_the_raw_only_when_every_source_has_read_it(acme: TenantEnvironment) -> None:
    """The fee of the payment beside it must not be lost, and the number must not stay in either unit's raw."""
    deliver(acme, FILE + b"4,D,1.00,0,1.00,4111 1111 1111 1111\n")

    found = judged(acme)

    assert found == {"payments": ("held", 2, 1), "fees": ("passed", 1, 0)}
    for unit in (*units_of_day(acme, "payments", DAY), *units_of_day(acme, "fees", DAY)):
        with pytest.raises(RawGone):
            open_unit(acme, unit)
