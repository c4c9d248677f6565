"""The gate stands in the database: as role `app`, every way past it is refused, and the way through it is open."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import generation, publication, release, source, unit
from actuals_pipelines_tests.conftest import TenantDatabase

SOURCE = uuid4()


@pytest.fixture(scope="module")
def app(tenant_database: Callable[..., TenantDatabase]) -> sa.Engine:
    engine = tenant_database().app
    with engine.begin() as connection:
        connection.execute(source.insert().values(id=SOURCE, name="bank"))
    return engine


def a_generation(connection: sa.Connection, state: str = "candidate", verdict: str | None = None) -> UUID:
    unit_id, generation_id = uuid4(), uuid4()
    connection.execute(
        unit.insert().values(
            id=unit_id,
            source_id=SOURCE,
            partition=sa.func.current_date(),
            delivery=str(unit_id),
            digest=unit_id.bytes,
            path="raw",
            container_sha256=b"",
            size_bytes=1,
        )
    )
    connection.execute(
        generation.insert().values(
            id=generation_id,
            unit_id=unit_id,
            fingerprint=b"f",
            mapping_digest=b"m",
            state=state,
            verdict=verdict,
        )
    )
    return generation_id


def approved(connection: sa.Connection, generation_id: UUID) -> None:
    row = {"id": uuid4(), "generation_id": generation_id, "asked_by": "anna", "reason_sealed": b""}
    connection.execute(release.insert().values(row))
    connection.execute(release.update().where(release.c.id == row["id"]).values(approved_by="ben"))


def to(connection: sa.Connection, generation_id: UUID, state: str, verdict: str | None) -> None:
    if verdict == "released":
        approved(connection, generation_id)
    connection.execute(generation.update().where(generation.c.id == generation_id).values(state=state, verdict=verdict))


def publish(connection: sa.Connection, generation_id: UUID) -> None:
    connection.execute(
        publication.insert().values(
            id=uuid4(),
            source_id=SOURCE,
            partition=sa.func.current_date(),
            generation_id=generation_id,
            counts={},
            totals_sealed=b"",
        )
    )


WAYS = {  # the states and verdicts on the way to where a test begins
    "new": [],
    "could not run": [("candidate", "could_not_run")],
    "passed": [("passed", "passed")],
    "held": [("held", "held")],
    "released": [("held", "held"), ("passed", "released")],
    "published": [("passed", "passed"), ("published", "passed")],
    "superseded": [("passed", "passed"), ("published", "passed"), ("superseded", "passed")],
}


def at(connection: sa.Connection, place: str) -> UUID:
    generation_id = a_generation(connection)
    for state, verdict in WAYS[place]:
        to(connection, generation_id, state, verdict)
    return generation_id


@pytest.mark.parametrize(
    ("place", "state", "verdict"),
    [
        ("new", "passed", "passed"),
        ("new", "held", "held"),
        ("new", "held", "could_not_run"),
        ("could not run", "passed", "passed"),
        ("held", "passed", "released"),
        ("passed", "published", "passed"),
        ("released", "published", "released"),
        ("new", "superseded", None),
        ("held", "superseded", "held"),
        ("published", "superseded", "passed"),
        ("superseded", "candidate", None),
    ],
)
def test_what_the_gate_allows(app: sa.Engine, place: str, state: str, verdict: str | None) -> None:
    with app.begin() as connection:
        to(connection, at(connection, place), state, verdict)


@pytest.mark.parametrize(
    ("place", "state", "verdict"),
    [
        ("new", "published", "passed"),
        ("new", "passed", "released"),  # nothing was held that could be released
        ("new", "passed", "held"),
        ("new", "passed", None),
        ("new", "held", "passed"),
        ("new", "nonsense", "passed"),
        ("held", "published", "released"),
        ("held", "published", "passed"),
        ("held", "passed", "passed"),  # only released
        ("held", "candidate", None),
        ("passed", "held", "held"),
        ("passed", "published", "released"),
        ("passed", "passed", "released"),
        ("published", "passed", "passed"),
        ("published", "held", "held"),
        ("published", "published", "released"),
        ("superseded", "published", "passed"),
        ("superseded", "passed", "passed"),
        ("superseded", "superseded", "released"),
        ("superseded", "candidate", "released"),
    ],
)
def test_what_the_gate_refuses(app: sa.Engine, place: str, state: str, verdict: str | None) -> None:
    with app.begin() as connection:
        generation_id = at(connection, place)

    with pytest.raises(sa.exc.IntegrityError) as refused, app.begin() as connection:
        to(connection, generation_id, state, verdict)
    assert isinstance(refused.value.orig, psycopg.errors.CheckViolation)


@pytest.mark.parametrize(("state", "verdict"), [("published", "passed"), ("superseded", None), ("passed", "released")])
def test_a_generation_does_not_begin_behind_the_gate(app: sa.Engine, state: str, verdict: str | None) -> None:
    with pytest.raises(sa.exc.IntegrityError), app.begin() as connection:
        a_generation(connection, state, verdict)


def test_a_generation_may_begin_with_its_verdict(app: sa.Engine) -> None:
    with app.begin() as connection:
        a_generation(connection, "passed", "passed")
        a_generation(connection, "held", "held")


def test_a_generation_stays_that_of_its_unit(app: sa.Engine) -> None:
    with app.begin() as connection:
        passed, other = at(connection, "passed"), a_generation(connection)
        unit_of_other = connection.scalar(sa.select(generation.c.unit_id).where(generation.c.id == other))

    for column, value in (("unit_id", unit_of_other), ("fingerprint", b"other")):
        with pytest.raises(sa.exc.IntegrityError), app.begin() as connection:
            connection.execute(generation.update().where(generation.c.id == passed).values({column: value}))


@pytest.mark.parametrize("place", ["passed", "released", "published"])
def test_what_passed_may_be_published(app: sa.Engine, place: str) -> None:
    with app.begin() as connection:
        publish(connection, at(connection, place))


@pytest.mark.parametrize("place", ["new", "could not run", "held", "superseded"])
def test_what_did_not_pass_gets_no_publication(app: sa.Engine, place: str) -> None:
    with app.begin() as connection:
        generation_id = at(connection, place)
        passed = at(connection, "passed")
        publish(connection, passed)

    with pytest.raises(sa.exc.IntegrityError), app.begin() as connection:
        publish(connection, generation_id)
    with pytest.raises(sa.exc.IntegrityError), app.begin() as connection:
        connection.execute(
            publication.update().where(publication.c.generation_id == passed).values(generation_id=generation_id)
        )


def test_a_publication_of_nothing_is_refused(app: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError), app.begin() as connection:
        publish(connection, uuid4())
