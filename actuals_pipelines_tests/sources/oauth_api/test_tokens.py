"""A source's token lies sealed in the tenant's database, and one process at a time renews it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import oauth_token, source
from actuals_pipelines.encryption.columns import ColumnRefused
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.sources.oauth_api.failures import TokenBusy
from actuals_pipelines.sources.oauth_api.tokens import DatabaseTokenStore, Token
from actuals_pipelines_tests.conftest import TenantDatabase

NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
TOKEN = Token("canary-access-5d1e", "canary-refresh-77aa", NOON, NOON + timedelta(seconds=60))


@dataclass
class Room:
    """A tenant's database with sources, and the tenant's keys."""

    database: TenantDatabase
    keys: TenantKeys

    def a_source(self) -> UUID:
        source_id = uuid4()
        with self.database.app.begin() as connection:
            connection.execute(sa.insert(source).values(id=source_id, name=f"psp_{source_id.hex[:8]}"))
        return source_id

    def store(self, source_id: UUID) -> DatabaseTokenStore:
        return DatabaseTokenStore(self.database.app, self.keys, source_id)


@pytest.fixture(scope="module")
def room(tenant_database: Callable[..., TenantDatabase]) -> Room:
    database = tenant_database()
    return Room(database, TenantKeys(database.ref, b"r" * 32, uuid4().bytes * 2, b"p" * 32))


def test_there_is_no_token_before_the_first(room: Room) -> None:
    assert room.store(room.a_source()).load() is None


def test_what_was_saved_is_loaded_by_another_process(room: Room) -> None:
    source_id = room.a_source()

    with room.store(source_id).locked():
        room.store(source_id)  # another instance does not disturb
    store = room.store(source_id)
    with store.locked():
        store.save(TOKEN)

    assert room.store(source_id).load() == TOKEN


def test_a_second_token_replaces_the_first(room: Room) -> None:
    store = room.store(room.a_source())
    for token in (TOKEN, replace(TOKEN, access_token="next")):
        with store.locked():
            store.save(token)

    assert store.load() == replace(TOKEN, access_token="next")


def test_the_database_sees_no_token(room: Room) -> None:
    source_id = room.a_source()
    store = room.store(source_id)
    with store.locked():
        store.save(TOKEN)

    with room.database.app.begin() as connection:
        row = connection.execute(sa.select(oauth_token).where(oauth_token.c.source_id == source_id)).one()
    assert b"canary" not in row.sealed


def test_a_token_moved_to_another_source_does_not_open(room: Room) -> None:
    mine, other = room.a_source(), room.a_source()
    store = room.store(mine)
    with store.locked():
        store.save(TOKEN)

    with room.database.app.begin() as connection:
        row = connection.execute(sa.select(oauth_token).where(oauth_token.c.source_id == mine)).one()
        moved = {"source_id": other, "sealed": row.sealed, "expires_at": row.expires_at}
        connection.execute(sa.insert(oauth_token).values(moved))

    with pytest.raises(ColumnRefused):
        room.store(other).load()


def test_a_renewal_that_fails_leaves_the_old_token(room: Room) -> None:
    store = room.store(room.a_source())
    with store.locked():
        store.save(TOKEN)

    with pytest.raises(ZeroDivisionError), store.locked():
        store.save(replace(TOKEN, access_token="lost"))
        raise ZeroDivisionError

    assert store.load() == TOKEN


def test_only_one_at_a_time_renews_even_before_there_is_a_token(room: Room) -> None:
    """Each reads, counts up and saves: without the lock some would be lost."""
    source_id = room.a_source()

    def renew(_: int) -> None:
        store = room.store(source_id)
        with store.locked():
            kept = store.load()
            count = int(kept.access_token) if kept else 0
            store.save(replace(TOKEN, access_token=str(count + 1)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(renew, range(12)))

    kept = room.store(source_id).load()
    assert kept is not None
    assert kept.access_token == "12"


def test_whoever_waits_in_vain_for_a_renewal_is_told_to_try_again(room: Room) -> None:
    source_id = room.a_source()
    waiting = DatabaseTokenStore(room.database.app, room.keys, source_id, lock_seconds=1)

    with room.store(source_id).locked(), pytest.raises(TokenBusy), waiting.locked():
        pass


def test_another_source_is_renewed_meanwhile(room: Room) -> None:
    other = DatabaseTokenStore(room.database.app, room.keys, room.a_source(), lock_seconds=1)

    with room.store(room.a_source()).locked(), other.locked():
        other.save(TOKEN)

    assert other.load() == TOKEN
