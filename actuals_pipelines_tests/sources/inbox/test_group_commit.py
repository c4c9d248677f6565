"""Group commit against a real database, as role `door`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import inbox_data_key, inbox_key
from actuals_pipelines.sources.inbox.group_commit import GroupCommit
from actuals_pipelines.sources.inbox.receipts import (
    BatchConflict,
    NotDurable,
    Outcome,
    Post,
    Receipt,
    new_receipt_id,
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


def a_post(tenant: ATenant, **changes: object) -> Post:
    post = Post(new_receipt_id(), tenant.source_id("shop"), "prod", uuid4().bytes, b"body mac", b"{}")
    return replace(post, **changes)  # type: ignore[arg-type]


def test_one_post_that_the_database_refuses_does_not_fail_its_neighbours(
    acme: ATenant, threads: ThreadPoolExecutor
) -> None:
    posts = [a_post(acme) for _ in range(5)]
    posts[2] = replace(posts[2], receipt_id=posts[1].receipt_id)  # breaks the constraint of both
    posts[3] = replace(posts[3], mode="\0")  # a text that PostgreSQL cannot hold

    async def put_all_singly() -> list[Receipt | BaseException]:
        commits = commits_of(acme, threads)
        return await asyncio.gather(*(commits.put(post) for post in posts), return_exceptions=True)

    results = asyncio.run(put_all_singly())

    assert [isinstance(result, Receipt) for result in (results[0], results[1], results[4])] == [True] * 3
    assert isinstance(results[3], Exception)


def test_a_batch_with_a_conflict_leaves_nothing(acme: ATenant, threads: ThreadPoolExecutor) -> None:
    first = a_post(acme)
    second = a_post(acme)
    other_body = replace(first, receipt_id=new_receipt_id(), body_mac=b"another")

    with pytest.raises(BatchConflict) as raised:
        asyncio.run(commits_of(acme, threads).put_all([second, first, other_body]))

    assert raised.value.positions  # one of the two that share an id
    with acme.app.connect() as connection:
        kept = connection.execute(sa.select(inbox_key.c.receipt_id)).scalars().all()
    assert not {first.receipt_id, second.receipt_id} & set(kept)


def test_a_batch_may_say_the_same_twice(acme: ATenant, threads: ThreadPoolExecutor) -> None:
    post = a_post(acme)
    receipts = asyncio.run(commits_of(acme, threads).put_all([post, replace(post, receipt_id=new_receipt_id())]))
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


def test_receipt_ids_are_of_version_7_and_sort_by_time() -> None:
    ids = [new_receipt_id() for _ in range(3)]
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert [one.int >> 80 for one in ids] == sorted(one.int >> 80 for one in ids)


def test_a_connection_that_would_acknowledge_too_early_is_refused(a_home: AHome, postgres: RunningPostgres) -> None:
    login = a_home.tenants["acme"].view.login
    url = login.address.url(login.database, login.role, login.password)
    forgetful = sa.create_engine(url, connect_args={"options": "-c synchronous_commit=off"})
    sa.event.listen(forgetful, "connect", refuse_if_not_durable)

    with pytest.raises(NotDurable, match=re.escape("synchronous_commit=off")), forgetful.connect():
        pass
    forgetful.dispose()
