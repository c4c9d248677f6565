"""A held unit is let through by two persons, and the database holds to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.database.provision import as_owner
from actuals_pipelines.domain.unit import GenerationState, Unit, Verdict
from actuals_pipelines.store import generations, releases
from actuals_pipelines_tests.conftest import RunningPostgres, TenantDatabase
from actuals_pipelines_tests.store.books import ADDING, Books, a_book


@pytest.fixture
def held(acme: Books) -> Unit:
    """A unit of acme that failed a check."""
    unit = acme.land(ADDING)
    generations.judge(acme.env, acme.candidate(unit, [("a", 1)]), Verdict.HELD, [])
    return unit


def generation_of(book: Books, unit: Unit) -> UUID:
    return generations.of_units(book.env, [unit.id])[0].id


def test_what_another_person_approved_is_published_and_both_are_in_the_audit(acme: Books, held: Unit) -> None:
    asked = releases.ask(acme.env, held.id, "the bank confirmed it", "anna")
    after = releases.approve(acme.env, held.id, "ben")
    acme.publish(ADDING)

    assert (after.state, after.verdict) == (GenerationState.PASSED, Verdict.RELEASED)
    assert acme.amounts(ADDING) == {"a": 1}
    with acme.env.engine.begin() as connection:
        entries = connection.execute(sa.select(tables.audit_outbox).order_by(tables.audit_outbox.c.sequence)).all()
    assert [(e.actor, e.action, e.object) for e in entries] == [
        ("anna", "release.ask", str(held.id)),
        ("ben", "release.approve", str(held.id)),
    ]
    assert b"confirmed" not in entries[0].detail_sealed
    known = releases.of_generations(acme.env, [asked.generation_id])[asked.generation_id]
    assert (known.reason, known.approved_by, known.needs_another) == ("the bank confirmed it", "ben", True)


def test_who_asked_cannot_approve_and_nothing_is_changed(acme: Books, held: Unit) -> None:
    releases.ask(acme.env, held.id, "trust me", "anna")

    with pytest.raises(releases.NeedsAnotherPerson, match="another person approves"):
        releases.approve(acme.env, held.id, "anna")

    assert acme.publish(ADDING) == []
    with acme.env.engine.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.audit_outbox)) == 1


def test_asking_again_returns_the_first_request(acme: Books, held: Unit) -> None:
    first = releases.ask(acme.env, held.id, "the bank confirmed it", "anna")

    assert releases.ask(acme.env, held.id, "another reason", "ben") == first


def test_a_release_that_nobody_asked_for_is_refused(acme: Books, held: Unit) -> None:
    with pytest.raises(releases.NobodyAsked):
        releases.approve(acme.env, held.id, "ben")


def test_what_is_not_held_cannot_be_released(acme: Books) -> None:
    """Neither a unit that passed nor one of which nothing was made."""
    passed, untouched = acme.deliver(ADDING, [("a", 1)]), acme.land(ADDING)

    for unit, found in ((passed, "it is passed"), (untouched, "nothing was made of it yet")):
        with pytest.raises(releases.NothingToRelease, match=found):
            releases.ask(acme.env, unit.id, "why not", "anna")


def refused(book: Books, *statements: sa.Executable) -> object:
    """How the database refuses these statements of role `app`."""
    with pytest.raises(sa.exc.DBAPIError) as error, book.env.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)
    return error.value.orig


def test_the_database_refuses_every_way_around_the_second_person(acme: Books, held: Unit) -> None:
    """As role `app`, with SQL of one's own: the rule does not live in the program."""
    t, g = tables.release, tables.generation
    generation_id = generation_of(acme, held)
    let_through = sa.update(g).where(g.c.id == generation_id).values(state="passed", verdict="released")
    row = {"id": uuid4(), "generation_id": generation_id, "asked_by": "anna", "reason_sealed": b""}
    mine = sa.update(t).where(t.c.id == row["id"])

    assert isinstance(refused(acme, let_through), psycopg.errors.CheckViolation)  # nobody asked
    with acme.env.engine.begin() as connection:
        connection.execute(sa.insert(t).values(row))
    assert isinstance(refused(acme, let_through), psycopg.errors.CheckViolation)  # nobody approved
    assert isinstance(refused(acme, mine.values(approved_by="anna")), psycopg.errors.CheckViolation)
    for forged in (
        sa.insert(t).values(row | {"id": uuid4(), "approved_by": "ben"}),
        mine.values(asked_by="ben", approved_by="anna"),
        mine.values(needs_another=False, approved_by="anna"),
        sa.delete(t),
        sa.insert(tables.policy).values(name="four_eyes", is_on=False),
    ):
        assert isinstance(refused(acme, forged), psycopg.errors.InsufficientPrivilege)


def test_an_approval_stays_as_it_was_given(acme: Books, held: Unit) -> None:
    acme.release(held)

    again = sa.update(tables.release).values(approved_by="carl")

    assert isinstance(refused(acme, again), psycopg.errors.CheckViolation)


def test_where_the_administrator_waived_it_one_person_is_enough_and_it_shows(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase], tmp_path: Path
) -> None:
    database = tenant_database()
    book = a_book(database, tmp_path)
    unit = book.land(ADDING)
    generations.judge(book.env, book.candidate(unit, [("a", 1)]), Verdict.HELD, [])
    with as_owner(postgres.admin, database.ref) as connection:
        connection.execute(sa.insert(tables.policy).values(name="four_eyes", is_on=False))

    asked = releases.ask(book.env, unit.id, "I am alone here", "anna")
    releases.approve(book.env, unit.id, "anna")

    known = releases.of_generations(book.env, [asked.generation_id])[asked.generation_id]
    assert (known.approved_by, known.needs_another) == ("anna", False)
