"""Raw containers: opened as received, destroyed for good, closed to others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.encryption.container_errors import ContainerDamaged, ContainerMisplaced
from actuals_pipelines.landing import RawGone, claim_arrivals, delete_unnamed, destroy_raw, expire_raw, open_unit
from actuals_pipelines.landing.raw import PathRefused, file_id, open_container
from actuals_pipelines_tests.landing.doors import BANK, ERP, NOW, Doors


def test_no_copy_of_destroyed_raw_can_be_opened_with_the_tenants_keys(acme: Doors, tmp_path: Path) -> None:
    """A copy from before, as a backup has it, put back in its place; destroying twice is destroying once."""
    unit = acme.land(ERP, b"a card number", "1")
    dropped = acme.drop(BANK, b"<Stmt/>")
    [claimed] = claim_arrivals(acme.env, NOW)
    backup = tmp_path / "backup"
    shutil.copytree(acme.env.prefix, backup)
    assert acme.read(unit) == b"a card number"

    for one in (unit, claimed):
        destroy_raw(acme.env, one)
        destroy_raw(acme.env, one)

    shutil.copytree(backup, acme.env.prefix, dirs_exist_ok=True)
    for one in (unit, claimed):  # the caller's copies of the rows still say kept
        with pytest.raises(RawGone):
            open_unit(acme.env, one)
    with acme.env.engine.begin() as connection:  # no row of the catalogue has a key that would open them
        kept = [
            *connection.scalars(sa.select(tables.unit.c.sealed_key)),
            *connection.scalars(sa.select(tables.arrival.c.sealed_key)),
        ]
    assert kept == [None] * len(kept)
    assert file_id(claimed.path) == dropped
    again = acme.land(ERP, b"something else", "2")
    with acme.env.engine.begin() as connection:
        other_key = connection.scalar(sa.select(tables.unit.c.sealed_key).where(tables.unit.c.id == again.id))
    assert other_key is not None
    with pytest.raises(ContainerMisplaced):
        open_container(acme.env, unit.path, unit.source_id, other_key, unit.container_sha256)


def test_raw_expires_after_its_sources_days(acme: Doors) -> None:
    """The ERP keeps ten days, the bank a hundred."""
    erp, bank = acme.land(ERP, b"erp", "1"), acme.land(BANK, b"bank", "1")

    assert expire_raw(acme.env, erp.landed_at + timedelta(days=9)) == []
    assert [unit.id for unit in expire_raw(acme.env, erp.landed_at + timedelta(days=11))] == [erp.id]
    assert acme.read(bank) == b"bank"


def test_a_container_put_in_another_units_place_is_refused(acme: Doors) -> None:
    """Same tenant, even the same source."""
    one, other = acme.land(ERP, b"one", "1"), acme.land(ERP, b"other", "2")
    shutil.copyfile(acme.env.prefix / one.path, acme.env.prefix / other.path)

    with pytest.raises(ContainerDamaged):
        acme.read(other)


def test_a_missing_container_is_said_to_be_missing(acme: Doors) -> None:
    """Never an empty unit."""
    unit = acme.land(ERP, b"one", "1")
    (acme.env.prefix / unit.path).unlink()

    with pytest.raises(RawGone, match="missing"):
        open_unit(acme.env, unit)


@pytest.mark.parametrize("path", ["../x/y", "/etc/passwd", "raw/../x", "raw"])
def test_a_path_from_the_database_may_not_lead_out(acme: Doors, path: str) -> None:
    """The catalogue's text is not trusted with the rest of the disk."""
    with pytest.raises(PathRefused):
        open_unit(acme.env, replace(acme.land(ERP, b"one", "1"), path=path))


def test_a_file_whose_row_was_never_written_is_deleted_when_nobody_can_still_be_writing(acme: Doors) -> None:
    """A killed process left it; what a row names stays, and so does what is fresh."""
    unit = acme.land(ERP, b"one", "1")
    acme.drop(BANK, b"<Stmt/>")
    left = [acme.env.prefix / "raw" / uuid4().hex, acme.env.prefix / "drop" / str(uuid4())]
    for path in left:
        path.write_bytes(b"sealed under a key that was never kept")
    now = datetime.now(UTC)

    assert delete_unnamed(acme.env, now - timedelta(days=1)) == 0
    assert delete_unnamed(acme.env, now + timedelta(days=1)) == 2
    assert not any(path.exists() for path in left)
    assert acme.read(unit) == b"one"
    assert len(claim_arrivals(acme.env, NOW)) == 1
