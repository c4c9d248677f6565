"""A unit becomes the same in chunks as in one piece, and nothing about it is lost between the chunks."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from uuid import uuid4

import pyarrow as pa
import pytest

from actuals_pipelines.landing import land
from actuals_pipelines.operations.take_in import validate
from actuals_pipelines.operations.units_read import EqualsApart, UnitRead
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import Profile

DAY = date(2026, 11, 16)
TENANT = """
name: acme
start: 2026-11-01
sources:
- name: bank
  kind: upload
  format: csv
  mapping: {amount: amount, currency: currency, booked_on: day}
"""
COFFEES = "2.50,EUR,2026-11-16\n"
DIFFERENT = [f"{n}.00,EUR,2026-11-16\n" for n in range(1, 8)]


@pytest.fixture
def acme(applied: Callable[[str], TenantEnvironment]) -> TenantEnvironment:
    """A tenant whose bank's lines have no id of their own."""
    return applied(TENANT)


def read(env: TenantEnvironment, lines: list[str], chunk_rows: int | None) -> tuple[pa.Table, pa.Table, Profile]:
    """The unit's transactions without its id, its rejects and its profile."""
    source = env.tenant.source("bank")
    content = "amount,currency,day\n" + "".join(lines)
    unit = land(env, source, io.BytesIO(content.encode()), door="upload", delivery=str(uuid4()), partition=DAY)
    one = UnitRead(env, source, unit, look_in=[], chunk_rows=chunk_rows)
    transactions = one.transactions().read_all().drop_columns(["unit_id"])
    return transactions, one.rejects().read_all(), one.profile()


def test_chunks_give_what_the_whole_gives(acme: TenantEnvironment) -> None:
    lines = [*DIFFERENT, "no number,EUR,2026-11-16\n", "12.345,EUR,2026-11-16\n", "9.00,JPY,2026-11-16\n"]

    whole, in_chunks = read(acme, lines, None), read(acme, lines, 2)

    assert in_chunks[0].equals(whole[0])
    assert in_chunks[1].equals(whole[1])
    assert in_chunks[2].to_bytes() == whole[2].to_bytes()
    assert (whole[2].raw, whole[2].stored, whole[2].rejected) == (10, 8, 2)


def test_a_unit_without_records_is_read_too(acme: TenantEnvironment) -> None:
    transactions, rejects, profile = read(acme, [], 2)

    assert (transactions.num_rows, rejects.num_rows, profile.raw) == (0, 0, 0)


def test_equal_records_in_two_chunks_are_noticed(acme: TenantEnvironment) -> None:
    with pytest.raises(EqualsApart):
        read(acme, [COFFEES, *DIFFERENT, COFFEES], 2)


def test_five_coffees_stay_five_however_large_the_unit_is(
    acme: TenantEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was noticed in chunks is read again as a whole, where equal records are told apart."""
    monkeypatch.setattr("actuals_pipelines.operations.take_in.CHUNK_ROWS", 2)
    content = "amount,currency,day\n" + COFFEES * 2 + "".join(DIFFERENT) + COFFEES * 3
    bank = acme.tenant.source("bank")
    land(acme, bank, io.BytesIO(content.encode()), door="upload", delivery="coffees", partition=DAY)

    [day] = validate(acme, bank, [DAY])

    assert (day.outcome, day.counts["transactions"]) == ("passed", 12)
