"""What both doors share."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from uuid import uuid4

import pytest

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.sources.door import Views, _Formatter, content_mac_key
from actuals_pipelines.tenants.projections import DatabaseLogin, DoorView, remove_views, write_door_view

KEY = bytes(32)


def a_view(name: str) -> DoorView:
    return DoorView(TenantRef(uuid4()), name, KEY, DatabaseLogin("127.0.0.1", 5432, "t", "t_door", "secret"), {})


def test_views_are_read_again_only_when_a_file_changed(tmp_path: Path) -> None:
    taken: list[list[str]] = []
    views = Views(tmp_path / "doors", KEY, lambda found: taken.append([view.name for view in found]))
    acme, other = a_view("acme"), a_view("other")

    views.refresh()  # there is no folder yet
    write_door_view(tmp_path / "doors", KEY, acme)
    views.refresh()
    views.refresh()
    write_door_view(tmp_path / "doors", KEY, other)
    views.refresh()
    remove_views(tmp_path / "doors", acme.ref)
    views.refresh()

    assert taken == [[], ["acme"], ["acme", "other"], ["other"]]
    assert views.is_current


def test_views_that_cannot_be_read_leave_what_was_known(tmp_path: Path) -> None:
    taken: list[list[str]] = []
    views = Views(tmp_path, KEY, lambda found: taken.append([view.name for view in found]))
    acme = a_view("acme")
    path = write_door_view(tmp_path, KEY, acme)
    views.refresh()

    path.write_bytes(b"half a file")
    views.refresh()
    assert not views.is_current
    assert taken == [["acme"]]

    write_door_view(tmp_path, KEY, acme)
    views.refresh()
    assert views.is_current


@pytest.mark.parametrize(("logger", "is_shown"), [("actuals_pipelines.sources", True), ("uvicorn.error", False)])
def test_the_log_shows_our_templates_and_of_a_library_the_class_alone(logger: str, is_shown: bool) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter())
    log = logging.Logger(logger)
    log.addHandler(handler)

    try:
        raise ValueError("a customer's value")
    except ValueError:
        log.exception("words of %s", logger)

    assert ("words of" in stream.getvalue()) is is_shown
    assert "kind=ValueError" in stream.getvalue()
    assert "customer" not in stream.getvalue()


def test_a_key_for_macs_differs_by_tenant_and_environment() -> None:
    ref = TenantRef(uuid4())
    keys = {content_mac_key(KEY, one) for one in (ref, TenantRef(ref.uuid, "test"), TenantRef(uuid4()))}
    assert len(keys) == 3
