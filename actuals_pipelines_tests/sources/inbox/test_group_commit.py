"""Group commit against a real database, as role `door`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import inbox_body, inbox_data_key, inbox_key
from actuals_pipelines.sources.inbox import receipts
from actuals_pipelines.sources.inbox.group_commit import GroupCommit
from actuals_pipelines.sources.inbox.receipts import (
    BatchConflict,
    NotDurable,
    Outcome,
    Post,
    Receipt,
    refuse_if_not_durable,
)
from actuals_pipelines_tests.conftest import RunningPostgres
from actuals_pipelines_tests.sources.conftest import AHome, ATenant


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def acme(a_home: AHome) -> ATenant:
    return a_home.tenants["acme"]


def commits_of(tenant: ATenant, threads: ThreadPoolExecutor) -> GroupCommit:
    return GroupCommit(tenant.door, tenant.view.public_key, tenant.ref, threads)


def a_post(tenant: ATenant, **changes: Any) -> Post:
    post = Post(tenant.source_id("shop"), "prod", uuid4().bytes, b"16 bytes of body", b"{}")
    return post._replace(**changes)


def test_one_post_that_the_database_refuses_does_not_fail_its_neighbours(
    acme: ATenant, threads: ThreadPoolExecutor
) -> None:
    posts = [a_post(acme) for _ in range(5)]
    posts[3] = a_post(acme, mode="\0")  # a text that PostgreSQL cannot hold

    async def put_all_singly() -> list[Receipt | BaseException]:
        commits = commits_of(acme, threads)
        return await asyncio.gather(*(commits.put(post) for post in posts), return_exceptions=True)

    results = asyncio.run(put_all_singly())

    assert [isinstance(result, Receipt) for result in results] == [True, True, True, False, True]


def test_a_batch_with_a_conflict_leaves_nothing(acme: ATenant, threads: ThreadPoolExecutor) -> None:
    first = a_post(acme)
    second = a_post(acme)
    other_body = first._replace(body_mac=b"16 bytes, others")

    with pytest.raises(BatchConflict) as raised:
        asyncio.run(commits_of(acme, threads).put_all([second, first, other_body]))

    assert raised.value.positions  # one of the two that share an id
    assert count_of(acme, first, second) == 0


def test_a_conflict_may_be_told_and_the_others_stored(acme: ATenant, threads: ThreadPoolExecutor) -> None:
    first, second = a_post(acme), a_post(acme, mode="test")
    other_body = first._replace(body_mac=b"16 bytes, others")
    posts = [first, other_body, second]

    receipts = asyncio.run(commits_of(acme, threads).put_all(posts, refuse_conflicts=False))

    assert sorted(receipt.outcome.value for receipt in receipts) == ["conflict", "new", "new"]
    assert count_of(acme, first, second) == 2


def count_of(tenant: ATenant, *posts: Post) -> int:
    """How many of these posts have a receipt."""
    given = [UUID(bytes=post.id_mac) for post in posts]
    with tenant.app.connect() as connection:
        found = sa.select(sa.func.count()).select_from(inbox_key).where(inbox_key.c.id_mac.in_(given))
        return connection.execute(found).scalar_one()


def test_a_batch_may_say_the_same_twice(acme: ATenant, threads: ThreadPoolExecutor) -> None:
    post = a_post(acme)
    receipts = asyncio.run(commits_of(acme, threads).put_all([post, post]))
    assert sorted(receipt.outcome.value for receipt in receipts) == ["duplicate", "new"]
    assert len({receipt.receipt_id for receipt in receipts}) == 1


def test_posts_of_one_minute_share_one_data_key(acme: ATenant, threads: ThreadPoolExecutor) -> None:
    def keys() -> set[UUID]:
        with acme.app.connect() as connection:
            return set(connection.execute(sa.select(inbox_data_key.c.id)).scalars())

    commits = commits_of(acme, threads)
    before = keys()

    async def put_some() -> None:
        for _ in range(20):
            receipt = await commits.put(a_post(acme))
            assert receipt.outcome is Outcome.NEW

    asyncio.run(put_some())

    assert 1 <= len(keys() - before) <= 2  # two, if the minute turned meanwhile


def test_receipt_ids_are_of_version_7_and_sort_by_time_and_place(acme: ATenant, threads: ThreadPoolExecutor) -> None:
    commits = commits_of(acme, threads)
    ids = [
        UUID(receipt.receipt_id)
        for _ in range(3)
        for receipt in asyncio.run(commits.put_all([a_post(acme) for _ in range(300)]))
    ]
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert ids == sorted(ids)


def test_bodies_that_together_are_too_large_are_sealed_apart(
    acme: ATenant, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "MAX_BODY_BYTES", 100)
    posts = [a_post(acme, body=b"x" * size) for size in (60, 60, 30, 200, 10)]

    asyncio.run(commits_of(acme, threads).put_all(posts))

    with acme.app.connect() as connection:
        keys = [UUID(bytes=post.id_mac) for post in posts]
        of_these = sa.select(inbox_key.c.body_id).where(inbox_key.c.id_mac.in_(keys))
        rows = connection.execute(sa.select(inbox_body.c.rows).where(inbox_body.c.id.in_(of_these))).scalars().all()
    assert sorted(rows) == [1, 1, 1, 2]


def test_a_connection_that_would_acknowledge_too_early_is_refused(a_home: AHome, postgres: RunningPostgres) -> None:
    login = a_home.tenants["acme"].view.login
    url = login.address.url(login.database, login.role, login.password)
    forgetful = sa.create_engine(url, connect_args={"options": "-c synchronous_commit=off"})
    sa.event.listen(forgetful, "connect", refuse_if_not_durable)

    with pytest.raises(NotDurable, match=re.escape("synchronous_commit=off")), forgetful.connect():
        pass
    forgetful.dispose()
