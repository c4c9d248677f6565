"""Walls between tenants, tried with what an attacker inside one tenant's process or on the disk has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.encryption.columns import ColumnRefused
from actuals_pipelines.encryption.keyring import DataKeyRefused
from actuals_pipelines.store import intake
from actuals_pipelines.store.files import FileUnreadable
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.store.books import ADDING, REPLACING, Books, a_book


@pytest.fixture
def other(tenant_database: Callable[..., TenantDatabase], tmp_path: Path) -> Books:
    """A second tenant in the same home."""
    return a_book(tenant_database(), tmp_path)


def file_of(book: Books) -> Path:
    """The file of the only publication's rows."""
    with book.env.engine.begin() as connection:
        path = connection.execute(sa.select(tables.data_file.c.path)).scalar_one()
    return book.env.prefix / path


def test_one_tenants_process_with_anothers_catalogue_and_files_reads_nothing(acme: Books, other: Books) -> None:
    """All that lies in the home, and only its own keys."""
    acme.deliver(ADDING, [("a", 1)])
    [publication] = acme.publish(ADDING)
    thief = Books(replace(acme.env, keys=other.env.keys))

    with pytest.raises(DataKeyRefused):
        thief.live(ADDING)
    with pytest.raises(ColumnRefused):
        intake.of_publication(thief.env, publication)


def test_anothers_file_under_ones_own_path_is_refused(acme: Books, other: Books) -> None:
    """By its contents, also when publishing would only look at its ids."""
    for book in (acme, other):
        book.deliver(ADDING, [("a", 1)])
        book.publish(ADDING)
    shutil.copyfile(file_of(acme), file_of(other))

    with pytest.raises(FileUnreadable):
        other.live(ADDING)


def test_an_old_generation_put_back_is_refused(acme: Books) -> None:
    """Yesterday's pull under the name of today's: the balance would look right again."""
    acme.deliver(REPLACING, [("a", 1)])
    acme.publish(REPLACING)
    old = file_of(acme)
    acme.deliver(REPLACING, [("a", 2)])
    acme.publish(REPLACING)
    for path in old.parent.iterdir():
        if path != old:
            shutil.copyfile(old, path)

    with pytest.raises(FileUnreadable):
        acme.live(REPLACING)


def test_a_flipped_byte_stops_reading_and_publishing_and_shows_nothing(acme: Books) -> None:
    """The error names the file; nothing of it is published; no value is in the text."""
    acme.deliver(ADDING, [(f"order-{n}", n) for n in range(2000)])
    acme.publish(ADDING)
    path = file_of(acme)
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    acme.deliver(ADDING, [("order-1", 7)])

    with pytest.raises(FileUnreadable, match="digest") as reading:
        acme.live(ADDING)
    with pytest.raises(FileUnreadable, match="digest"):
        acme.publish(ADDING)

    assert "order-" not in str(reading.value)


def test_nothing_is_spilled_and_no_order_is_in_clear_on_the_disk(acme: Books, tmp_path: Path) -> None:
    """In files and in the database's own files alike."""
    acme.deliver(ADDING, [("order-4711-canary", 4_711_000_123)])
    acme.publish(ADDING)
    acme.deliver(ADDING, [("order-4711-canary", 1)])
    acme.publish(ADDING)

    found = [path for path in acme.env.prefix.rglob("*") if path.is_file()]
    assert found
    assert not any(b"canary" in path.read_bytes() for path in found)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (*found, acme.env.prefix))
    assert sorted(os.listdir(tmp_path)) == [acme.env.prefix.name]
