"""What the catalogue answers: what waits, what a day consists of, what is stale, what is garbage."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.domain.unit import GenerationState, Verdict
from actuals_pipelines.store import catalogue, closes, files, generations
from actuals_pipelines.store.files import FileKind
from actuals_pipelines.store.garbage import collect_garbage
from actuals_pipelines_tests.store.books import ADDING, DAY, REPLACING, Books

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
NEXT_DAY = DAY + timedelta(days=1)


def test_what_landed_waits_until_it_is_published_or_held(acme: Books) -> None:
    """Held units wait for a person, not for a run."""
    fresh = acme.land(ADDING)
    acme.deliver(REPLACING, [("a", 1)], NEXT_DAY)
    assert catalogue.waiting(acme.env, now=NOW) == {"shop": (DAY,), "psp": (NEXT_DAY,)}

    held = generations.judge(acme.env, acme.candidate(fresh, [("b", 1)]), Verdict.HELD, [])
    acme.publish(REPLACING, NEXT_DAY)

    assert catalogue.waiting(acme.env, now=NOW) == {}
    assert catalogue.held(acme.env) == [(fresh, held)]
    acme.release(fresh)
    assert catalogue.waiting(acme.env, now=NOW) == {"shop": (DAY,)}


def test_a_repeat_and_a_unit_without_raw_do_not_wait(acme: Books) -> None:
    """There is nothing to do, or nothing to do it with."""
    first, repeat, gone = acme.land(ADDING), acme.land(ADDING), acme.land(ADDING)
    u = tables.unit
    with acme.env.engine.begin() as connection:
        connection.execute(sa.update(u).where(u.c.id == repeat.id).values(repeat_of=first.id))
        connection.execute(sa.update(u).where(u.c.id.in_([first.id, gone.id])).values(raw_state="destroyed"))

    assert catalogue.waiting(acme.env, now=NOW) == {}


def test_a_day_shows_units_verdicts_generations_and_closes(acme: Books) -> None:
    """What `actuals day` prints."""
    unit = acme.deliver(ADDING, [("a", 1)])
    [publication] = acme.publish(ADDING)
    closes.save_close(
        acme.env,
        "orders",
        DAY,
        changes=pa.table({"x": [1]}),
        figures=b"",
        pins={},
        digest=b"d",
        counts={},
        publications=[publication.id],
    )

    [shown] = catalogue.day(acme.env, "shop", DAY)

    assert shown.unit == unit
    assert [(g.state, g.verdict) for g in shown.generations] == [(GenerationState.PUBLISHED, Verdict.PASSED)]
    assert [p.id for p in shown.publications] == [publication.id]
    assert shown.closes == [("orders", DAY, 1)]


def test_days_under_an_older_mapping_are_stale(acme: Books) -> None:
    """Until they are taken in again."""
    unit = acme.deliver(ADDING, [("a", 1)])
    acme.publish(ADDING)
    assert catalogue.stale(acme.env, {"shop": b"1"}) == {}
    assert catalogue.stale(acme.env, {"shop": b"2"}) == {"shop": (DAY,)}

    acme.passed(unit, [("a", 1)], mapping="2")
    acme.publish(ADDING)

    assert catalogue.stale(acme.env, {"shop": b"2"}) == {}


def test_volumes_are_what_is_in_force(acme: Books) -> None:
    """A day pulled again counts once; the end is not included."""
    acme.deliver(REPLACING, [("a", 1), ("b", 1)])
    acme.publish(REPLACING)
    acme.deliver(REPLACING, [("a", 1)])
    acme.publish(REPLACING)

    assert catalogue.rows_by_day(acme.env, "psp", DAY, NEXT_DAY) == {DAY: 1}
    assert catalogue.rows_by_day(acme.env, "psp", DAY, DAY) == {}
    assert catalogue.published_days(acme.env, "psp") == (DAY,)


def test_every_source_and_package_of_the_tenant_gets_its_id_once(acme: Books) -> None:
    """Repeating it changes nothing."""
    assert catalogue.ensure_named(acme.env) == catalogue.ensure_named(acme.env)


def test_garbage_is_what_no_row_names_and_nobody_may_still_be_writing(acme: Books) -> None:
    """A killed run's files go; named ones and young ones stay."""
    unit = acme.deliver(ADDING, [("a", 1)])
    acme.publish(ADDING)
    table = pa.table({"x": [1]})
    old, young = (files.write(acme.env, FileKind.STATE, unit.source_id, unit.id, table) for _ in range(2))
    half = (acme.env.prefix / old.path).with_suffix(".aside")
    half.write_bytes(b"half")
    past = NOW.timestamp() - 86_400
    for path in (acme.env.prefix / unit.source_id.hex).iterdir():
        if path.stem != young.id.hex:
            os.utime(path, (past, past))
    os.utime(acme.env.prefix / young.path, (NOW.timestamp(), NOW.timestamp()))

    deleted = collect_garbage(acme.env, NOW - timedelta(hours=1))

    assert deleted == 2
    assert not (acme.env.prefix / old.path).exists()
    assert not half.exists()
    assert (acme.env.prefix / young.path).exists()
    assert acme.amounts(ADDING) == {"a": 1}
