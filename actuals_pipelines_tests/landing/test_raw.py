"""Raw containers: opened as received, destroyed for good, closed to others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from actuals_pipelines.encryption.container_errors import ContainerMisplaced
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.landing import RawGone, destroy_raw, expire_raw, open_unit
from actuals_pipelines.landing.raw import PathRefused
from actuals_pipelines_tests.landing.doors import BANK, ERP, Doors


def test_destroyed_raw_cannot_be_opened_even_from_a_hard_link(acme: Doors, tmp_path: Path) -> None:
    """The key in the header is overwritten before the file goes; destroying twice is destroying once."""
    unit = acme.land(ERP, b"a card number", "1")
    other_name = tmp_path / "kept-by-someone"
    other_name.hardlink_to(acme.env.prefix / unit.path)

    destroy_raw(acme.env, unit)
    destroy_raw(acme.env, unit)

    again = acme.land(ERP, b"something else", "2")
    shutil.copyfile(other_name, acme.env.prefix / unit.path)
    with pytest.raises(ActualsError):
        acme.read(unit)  # the caller's copy of the row still says kept
    with pytest.raises(RawGone):
        open_unit(acme.env, replace(unit, raw_state="destroyed"))
    assert acme.read(again) == b"something else"


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

    with pytest.raises(ContainerMisplaced):
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
