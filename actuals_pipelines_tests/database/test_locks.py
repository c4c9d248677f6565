"""One process at a time publishes a source or closes a package."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.locks import HeldByAnother, close_lock, lock_key, publish_lock
from actuals_pipelines_tests.conftest import TenantDatabase


@pytest.fixture(scope="module")
def app(tenant_database: Callable[..., TenantDatabase]) -> sa.Engine:
    return tenant_database().app


def test_the_second_waits_and_is_told_when_it_takes_too_long(app: sa.Engine) -> None:
    source_id = uuid4()
    with app.begin() as first:
        publish_lock(first, source_id)
        with pytest.raises(HeldByAnother) as refused, app.begin() as second:
            publish_lock(second, source_id, timeout_seconds=1)

    assert str(source_id) in str(refused.value)
    with app.begin() as third:
        publish_lock(third, source_id, timeout_seconds=1)


def test_another_source_and_a_close_of_the_same_id_do_not_wait(app: sa.Engine) -> None:
    shared = uuid4()
    with app.begin() as first, app.begin() as second:
        publish_lock(first, shared)
        publish_lock(second, uuid4(), timeout_seconds=1)
        close_lock(second, shared, timeout_seconds=1)


def test_the_same_process_may_ask_twice_and_its_other_timeouts_stay(app: sa.Engine) -> None:
    source_id = uuid4()
    with app.begin() as connection:
        before = connection.scalar(sa.text("show lock_timeout"))
        publish_lock(connection, source_id, timeout_seconds=1)
        publish_lock(connection, source_id, timeout_seconds=1)
        assert connection.scalar(sa.text("show lock_timeout")) == before


def test_keys_are_the_same_in_every_version_of_the_program() -> None:
    """SHA-256 of "publish source", a zero byte and the sixteen bytes of the id; its first 64 bits, signed.

    By hand: printf 'publish source' | cat - <(head -c 17 /dev/zero) | sha256sum begins with ed16783876a166bc.
    """
    assert lock_key("publish source", UUID(int=0)) == int("ed16783876a166bc", 16) - 2**64
    assert lock_key("publish source", UUID(int=0)) != lock_key("close package", UUID(int=0))
