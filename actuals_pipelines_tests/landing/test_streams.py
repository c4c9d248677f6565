"""Landing a stream: byte for byte, sealed, once."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest

from actuals_pipelines.landing import EmptyDelivery, land, unit_name
from actuals_pipelines_tests.landing.doors import BANK, DAY, ERP, PSP, Doors

NEXT_DAY = DAY + timedelta(days=1)


def test_a_stream_is_landed_byte_for_byte_and_nothing_of_it_is_in_clear(acme: Doors) -> None:
    """Larger than a chunk; the name is sealed as well."""
    content = b"order-4711;12.34\n" * 50_000

    unit = acme.land(ERP, content, "upload-1", name="orders-of-jane.csv")

    assert acme.read(unit) == content
    assert (unit.source, unit.partition, unit.size_bytes, unit.repeat_of) == ("erp", DAY, len(content), None)
    assert unit_name(acme.env, unit) == "orders-of-jane.csv"
    [path] = [p for p in acme.env.prefix.rglob("*") if p.is_file()]
    assert b"order-4711" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_delivery_is_refused_and_leaves_nothing(acme: Doors) -> None:
    """A broken export looks like this."""
    with pytest.raises(EmptyDelivery):
        acme.land(ERP, b"", "upload-1")

    assert not [p for p in acme.env.prefix.rglob("*") if p.is_file()]


def test_the_same_delivery_again_is_the_same_unit(acme: Doors) -> None:
    """A step that was killed after landing lands once."""
    assert acme.land(PSP, b"[1]", "window-1") == acme.land(PSP, b"[1]", "window-1")

    assert len([p for p in acme.env.prefix.rglob("*") if p.is_file()]) == 1


def test_the_same_file_again_is_recorded_and_not_processed(acme: Doors) -> None:
    """Whatever its day and name; and the repeat of a repeat points to the first."""
    first = acme.land(BANK, b"<Stmt/>", "upload-1")

    second = acme.land(BANK, b"<Stmt/>", "upload-2", NEXT_DAY)
    third = acme.land(BANK, b"<Stmt/>", "upload-3")

    assert (first.repeat_of, second.repeat_of, third.repeat_of) == (None, first.id, first.id)


def test_two_days_of_a_pull_may_be_equal(acme: Doors) -> None:
    """Two empty days are two answers."""
    first, second = acme.land(PSP, b"[]", "1"), acme.land(PSP, b"[]", "2", NEXT_DAY)

    assert (first.repeat_of, second.repeat_of) == (None, None)


def test_a_pull_that_returns_to_an_earlier_answer_is_processed(acme: Doors) -> None:
    """X, Y, X: the third takes Y's place. A fourth equal one is a repeat."""
    units = [acme.land(PSP, content, str(n)) for n, content in enumerate((b"X", b"Y", b"X", b"X"))]

    assert [unit.repeat_of for unit in units] == [None, None, None, units[2].id]


def test_a_full_export_repeats_the_newest_whatever_its_day(acme: Doors) -> None:
    """`latest` has one place per source."""
    first = acme.land(ERP, b"all", "1")

    assert acme.land(ERP, b"all", "2", NEXT_DAY).repeat_of == first.id


def test_a_stream_that_breaks_leaves_nothing(acme: Doors) -> None:
    """Neither a unit nor half a container."""

    class Breaking(io.RawIOBase):
        def read(self, size: int = -1) -> Any:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        land(acme.env, ERP, Breaking(), door="pull", delivery="1", partition=DAY)  # type: ignore[arg-type]

    assert not [p for p in acme.env.prefix.rglob("*") if p.is_file()]
