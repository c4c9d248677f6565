"""Sealed columns: single values in PostgreSQL that only the tenant's keys open, each at its own table, column and row.

    sealed = format (1: 01) | root key version (1: 01) | nonce (12, random) | AES-256-GCM ciphertext and tag
    AAD    = format | version | length and name of table | length and name of column | row id

Bound: 2^32 values under one root key version. Inbox bodies and files have keys of their own and do not count.
What a door writes (a file's name) is sealed to the public key instead: the door can write it and not read it.
"""

from __future__ import annotations

from uuid import UUID

from cryptography.exceptions import InvalidTag

from actuals_pipelines.encryption import hpke
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.errors import ActualsError

RowId = UUID | str
"""A row's primary key: a UUID, or the text of a table whose key is a name (`secret`)."""

_DOOR_FORMAT = bytes([1, hpke.SUITE_1])


class ColumnRefused(ActualsError):
    """A sealed value does not open at its table, column and row."""

    def __init__(self, place: str, row_id: RowId) -> None:
        super().__init__(place, row_id)
        self.place, self.row_id = place, row_id

    def __str__(self) -> str:
        return (
            f"The sealed value {self.place} of row {self.row_id} does not open with this tenant's keys: it was moved "
            "from another row, column or tenant, or altered. Restore the row from a backup, or enter the value again."
        )


def seal_column(keys: TenantKeys, table: str, column: str, row_id: RowId, value: bytes) -> bytes:
    """Seal one value for one place; adds 30 bytes."""
    return keys.seal_column(value, _aad(table, column, row_id))


def open_column(keys: TenantKeys, table: str, column: str, row_id: RowId, sealed: bytes) -> bytes:
    """Open a value that was sealed for exactly this place. Raises ColumnRefused."""
    try:
        return keys.open_column(sealed, _aad(table, column, row_id))
    except InvalidTag:
        raise ColumnRefused(f"{table}.{column}", row_id) from None


def seal_to_public(public_key: bytes, kind: str, row_id: RowId, value: bytes) -> bytes:
    """Seal a small value to a tenant's public key, as a door does; adds 50 bytes.

    `kind` says what it is ("arrival.name") and `row_id` whose; both are needed again to open it.
    """
    return _DOOR_FORMAT + hpke.seal(public_key, value, _door_info(kind, row_id))


def open_from_door(keys: hpke.Unsealer, kind: str, row_id: RowId, sealed: bytes) -> bytes:
    """Open what `seal_to_public` sealed for this kind and row. Raises ColumnRefused."""
    try:
        if not sealed.startswith(_DOOR_FORMAT):
            raise hpke.SealedRefused(kind)
        return keys.open_sealed(sealed[len(_DOOR_FORMAT) :], _door_info(kind, row_id), kind)
    except hpke.SealedRefused:
        raise ColumnRefused(kind, row_id) from None


def _aad(table: str, column: str, row_id: RowId) -> bytes:
    return b"actuals column 1" + _counted(table) + _counted(column) + _row_bytes(row_id)


def _door_info(kind: str, row_id: RowId) -> bytes:
    return b"actuals door value 1" + _counted(kind) + _row_bytes(row_id)


def _row_bytes(row_id: RowId) -> bytes:
    return b"u" + row_id.bytes if isinstance(row_id, UUID) else b"t" + row_id.encode()


def _counted(name: str) -> bytes:
    """With its length in front, so that no two names run into one another."""
    text = name.encode()
    return bytes([len(text)]) + text
