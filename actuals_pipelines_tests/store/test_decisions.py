"""The log of decisions: what one person may do, what needs two, and that the database holds to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.store import decisions
from actuals_pipelines.store.decisions import Decision
from actuals_pipelines_tests.store.books import Books

PACKAGE = "orders_vs_psp"
A, B, C = (UUID(int=number) for number in range(1, 4))


def decide(book: Books, kind: str, *rows: UUID, by: str = "anna", **detail: Any) -> Decision:
    made = decisions.record(book.env, PACKAGE, kind, rows, {"comment": "as the bank wrote", **detail}, by=by)
    return found(book, made)


def found(book: Books, decision: UUID, until: int | None = None) -> Decision:
    [one] = [one for one in decisions.history(book.env, PACKAGE, until) if one.id == decision]
    return one


def test_a_decision_is_read_back_as_it_was_taken_and_its_words_are_sealed(acme: Books) -> None:
    match = decide(acme, "match", A, B, difference=-700)

    assert (match.kind, match.author, match.rows, match.is_in_force) == ("match", "anna", (A, B), True)
    assert match.detail == {"comment": "as the bank wrote", "difference": -700}
    assert decisions.position(acme.env, PACKAGE) == match.sequence
    assert decisions.position(acme.env, "another") == 0
    with acme.env.engine.begin() as connection:
        sealed = connection.execute(sa.select(tables.decision.c.detail_sealed)).scalar_one()
        [entry] = connection.execute(sa.select(tables.audit_outbox)).all()
    assert b"bank" not in sealed + entry.detail_sealed
    assert (entry.actor, entry.action, entry.object) == ("anna", "decide.match", str(match.id))


def test_a_row_is_in_one_match_at_most_until_that_is_withdrawn(acme: Books) -> None:
    """In one package; its keys are another matter, and a label is none."""
    first = decide(acme, "match", A, B)
    decide(acme, "detach", A)
    decide(acme, "explain", A), decide(acme, "explain", A)

    with pytest.raises(decisions.RowDecidedAlready):
        decide(acme, "adjust", B, C)
    with pytest.raises(decisions.RowDecidedAlready):
        decide(acme, "rekey", A)
    decisions.record(acme.env, "another", "match", [A, B], {}, by="anna")
    decisions.withdraw(acme.env, first, by="anna", comment="a mistake")

    assert decide(acme, "adjust", B, C).rows == (B, C)
    assert found(acme, first.id).is_withdrawn


def test_an_adjustment_is_in_force_when_another_person_approved_it(acme: Books) -> None:
    adjust = decide(acme, "adjust", A)

    with pytest.raises(decisions.NeedsAnotherPerson, match="another person approves"):
        decisions.approve(acme.env, adjust, by="anna")
    before = found(acme, adjust.id)
    decisions.approve(acme.env, adjust, by="ben")

    assert not before.is_in_force
    assert (found(acme, adjust.id).is_in_force, found(acme, adjust.id).approved_by) == (True, "ben")
    with pytest.raises(decisions.DecisionUnknown, match="did that already"):
        decisions.approve(acme.env, adjust, by="carl")


def test_what_two_persons_put_in_force_two_persons_take_back(acme: Books) -> None:
    """The log as of an earlier position says what was in force then."""
    adjust = decide(acme, "adjust", A)
    decisions.approve(acme.env, adjust, by="ben")
    decisions.withdraw(acme.env, found(acme, adjust.id), by="ben", comment="it was paid after all")
    asked = found(acme, adjust.id)
    then = decisions.position(acme.env, PACKAGE)

    with pytest.raises(decisions.NeedsAnotherPerson):
        decisions.approve(acme.env, asked, by="ben")
    with pytest.raises(decisions.RowDecidedAlready):
        decide(acme, "match", A, B)
    decisions.approve(acme.env, asked, by="anna")

    assert (asked.is_in_force, found(acme, adjust.id).is_withdrawn) == (True, True)
    assert found(acme, adjust.id, until=then).is_in_force
    assert decide(acme, "match", A, B).is_in_force


def test_what_is_withdrawn_or_needs_no_second_person_is_not_answered(acme: Books) -> None:
    detach, match = decide(acme, "detach", A), decide(acme, "match", A, B)

    with pytest.raises(decisions.DecisionUnknown, match="nothing to approve"):
        decisions.approve(acme.env, detach, by="ben")
    decisions.withdraw(acme.env, match, by="anna", comment="a mistake")
    with pytest.raises(decisions.DecisionUnknown):
        decisions.approve(acme.env, match, by="ben")


def refused(book: Books, *statements: sa.Executable) -> object:
    """How the database refuses these statements of role `app`."""
    with pytest.raises(sa.exc.DBAPIError) as error, book.env.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)
    return error.value.orig


def test_the_database_refuses_every_way_around_the_log(acme: Books) -> None:
    """As role `app`, with SQL of one's own: the rules do not live in the program."""
    d, r = tables.decision, tables.decision_row
    adjust = decide(acme, "adjust", A)
    with acme.env.engine.begin() as connection:
        package_id = connection.execute(sa.select(d.c.package_id)).scalar_one()
    row = {"package_id": package_id, "author": "anna", "detail_sealed": b""}
    approval = row | {"kind": "approve", "target_id": adjust.id}

    def entry(**values: Any) -> sa.Insert:
        return sa.insert(d).values({"id": uuid4(), **row, **values})

    for forged in (
        sa.insert(d).values({"id": uuid4(), **approval}),  # one's own
        entry(kind="approve"),  # of nothing
        entry(kind="detach", target_id=adjust.id),
        entry(kind="match", expires_on=sa.func.current_date()),  # time moves no row between groups
        entry(kind="seize"),
        sa.insert(r).values(decision_id=adjust.id, row_uid=B),  # a row more, later
    ):
        assert isinstance(refused(acme, forged), psycopg.errors.CheckViolation)
    for forbidden in (
        sa.insert(d).values({"id": uuid4(), **approval, "needs_another": False}),
        sa.insert(d).values({"id": uuid4(), **row, "kind": "match", "decided_at": sa.func.now()}),
        sa.update(d).values(author="ben"),
        sa.update(r).values(is_active=False),
        sa.delete(r),
        sa.delete(d),
    ):
        assert isinstance(refused(acme, forbidden), psycopg.errors.InsufficientPrivilege)
