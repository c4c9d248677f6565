from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.encryption.columns import (
    ColumnRefused,
    open_column,
    open_from_door,
    seal_column,
    seal_to_public,
)
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines_tests.encryption.keys import ACME_TEST, BOLT, a_keyring

ROW, OTHER_ROW = UUID(int=1), UUID(int=2)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> TenantKeys:
    return a_keyring(tmp_path_factory.mktemp("keyrings"))


@given(value=st.binary(max_size=300), row_id=st.uuids() | st.text(max_size=20))
def test_a_value_comes_back_at_its_own_place(keys: TenantKeys, value: bytes, row_id: UUID | str) -> None:
    assert open_column(keys, "unit", "name", row_id, seal_column(keys, "unit", "name", row_id, value)) == value
    assert open_from_door(keys, "name", row_id, seal_to_public(keys.public_key, "name", row_id, value)) == value


@pytest.mark.parametrize(
    ("table", "column", "row_id"),
    [("unit", "note", ROW), ("source", "name", ROW), ("unit", "name", OTHER_ROW), ("uni", "tname", ROW)],
    ids=["another column", "another table", "another row", "names run together"],
)
def test_a_value_moved_to_another_place_is_refused(keys: TenantKeys, table: str, column: str, row_id: UUID) -> None:
    sealed = seal_column(keys, "unit", "name", ROW, b"canary")

    with pytest.raises(ColumnRefused, match=f"{table}.{column}") as refused:
        open_column(keys, table, column, row_id, sealed)

    assert "canary" not in str(refused.value)


def test_a_name_and_a_uuid_are_never_the_same_row(keys: TenantKeys) -> None:
    text = "0123456789abcdef"
    sealed = seal_column(keys, "secret", "value", text, b"v")

    with pytest.raises(ColumnRefused):
        open_column(keys, "secret", "value", UUID(bytes=text.encode()), sealed)


@pytest.mark.parametrize("ref", [BOLT, ACME_TEST], ids=["another tenant", "another environment"])
def test_another_tenants_keys_open_no_value(keys: TenantKeys, tmp_path: Path, ref: object) -> None:
    other = a_keyring(tmp_path, ref)  # type: ignore[arg-type]

    with pytest.raises(ColumnRefused):
        open_column(other, "unit", "name", ROW, seal_column(keys, "unit", "name", ROW, b"v"))
    with pytest.raises(ColumnRefused):
        open_from_door(other, "name", ROW, seal_to_public(keys.public_key, "name", ROW, b"v"))


def test_every_altered_byte_and_every_cut_is_refused(keys: TenantKeys) -> None:
    column = seal_column(keys, "unit", "name", ROW, b"v")
    door = seal_to_public(keys.public_key, "name", ROW, b"v")

    for at in range(len(column)):
        for bad in (column[:at] + bytes([column[at] ^ 0x80]) + column[at + 1 :], column[:at]):
            with pytest.raises(ColumnRefused):
                open_column(keys, "unit", "name", ROW, bad)
    for at in range(len(door)):
        for bad in (door[:at] + bytes([door[at] ^ 0x80]) + door[at + 1 :], door[:at]):
            with pytest.raises(ColumnRefused):
                open_from_door(keys, "name", ROW, bad)


def test_a_doors_value_opens_for_its_kind_and_row_only(keys: TenantKeys) -> None:
    sealed = seal_to_public(keys.public_key, "arrival.name", ROW, b"statement.xml")

    for kind, row_id in [("arrival.note", ROW), ("arrival.name", OTHER_ROW)]:
        with pytest.raises(ColumnRefused):
            open_from_door(keys, kind, row_id, sealed)
