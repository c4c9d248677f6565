"""Views: sealed, whole, bound to their tenant and purpose."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.domain.tenant import SftpKey, TenantRef
from actuals_pipelines.tenants.projections import (
    ApiKeyView,
    DatabaseLogin,
    DoorSource,
    DoorView,
    LocationView,
    SftpView,
    ViewRefused,
    read_door_view,
    read_door_views,
    read_location_views,
    remove_views,
    view_path,
    write_door_view,
    write_location_view,
)
from actuals_pipelines_tests.tenants.examples import ACME, PUBLIC_KEY

KEY = os.urandom(32)
ACME_REF, BETA_REF = TenantRef(UUID(int=1)), TenantRef(UUID(int=2), "test")
LOGIN = DatabaseLogin("127.0.0.1", 5432, ACME_REF.database, f"{ACME_REF.database}_door", "a-password")


def door_view(ref: TenantRef = ACME_REF, name: str = "acme") -> DoorView:
    return DoorView(
        ref=ref,
        name=name,
        public_key=bytes(range(32)),
        login=LOGIN,
        sources={"shop": DoorSource(UUID(int=7), SourceKind.INBOX, "ndjson")},
        api_keys=(
            ApiKeyView("00ff", b"\x00\xff", "prod", "shop", datetime(2026, 1, 1, tzinfo=UTC), None, ("shop",)),
            ApiKeyView("11ff", b"\x11\xff", "test", "shop"),
        ),
        sftp=(SftpView("acme_drop", (SftpKey(PUBLIC_KEY),), ("bank",)),),
    )


def location_view() -> LocationView:
    return LocationView(ACME_REF, "acme", ACME, 3, LOGIN)


def test_a_door_view_comes_back_as_it_was(tmp_path: Path) -> None:
    write_door_view(tmp_path, KEY, door_view())

    [view] = read_door_views(tmp_path, KEY)

    assert view == door_view()
    assert view.api_key("11ff") == door_view().api_keys[1]
    assert view.api_key("22ff") is None
    assert view.sftp_account("acme_drop") == door_view().sftp[0]
    assert view == read_door_view(tmp_path, KEY, ACME_REF)


def test_a_location_view_comes_back_as_it_was(tmp_path: Path) -> None:
    write_location_view(tmp_path, KEY, location_view())

    assert read_location_views(tmp_path, KEY) == [location_view()]


def test_nothing_of_a_view_can_be_read_from_its_file(tmp_path: Path) -> None:
    path = write_door_view(tmp_path, KEY, door_view())

    assert b"a-password" not in path.read_bytes()
    assert b"acme" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_view_written_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    write_door_view(tmp_path, KEY, door_view())
    write_door_view(tmp_path, KEY, door_view(name="acme_renamed"))

    assert [view.name for view in read_door_views(tmp_path, KEY)] == ["acme_renamed"]


def test_a_removed_view_is_forgotten(tmp_path: Path) -> None:
    write_door_view(tmp_path, KEY, door_view())

    remove_views(tmp_path, ACME_REF)

    assert read_door_views(tmp_path, KEY) == []


def test_no_folder_means_no_views(tmp_path: Path) -> None:
    assert read_door_views(tmp_path / "none", KEY) == []


def test_another_homes_key_opens_no_view(tmp_path: Path) -> None:
    write_door_view(tmp_path, KEY, door_view())

    with pytest.raises(ViewRefused):
        read_door_views(tmp_path, os.urandom(32))


def test_one_tenants_view_under_anothers_name_is_left_out(tmp_path: Path) -> None:
    path = write_door_view(tmp_path, KEY, door_view())
    shutil.copy(path, view_path(tmp_path, BETA_REF))

    assert [view.ref for view in read_door_views(tmp_path, KEY)] == [ACME_REF]
    with pytest.raises(ViewRefused):
        read_door_view(tmp_path, KEY, BETA_REF)


def test_a_location_view_does_not_open_as_a_door_view(tmp_path: Path) -> None:
    write_location_view(tmp_path, KEY, location_view())

    with pytest.raises(ViewRefused):
        read_door_views(tmp_path, KEY)


def test_a_changed_byte_is_noticed_and_the_others_still_open(tmp_path: Path) -> None:
    path = write_door_view(tmp_path, KEY, door_view())
    write_door_view(tmp_path, KEY, door_view(BETA_REF, "beta"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    assert [view.name for view in read_door_views(tmp_path, KEY)] == ["beta"]


def test_a_views_text_form_shows_no_password() -> None:
    assert "a-password" not in repr(door_view())
    assert "a-password" not in repr(location_view())
