"""A word and a card number that exist nowhere else, planted in every way in: after failures too, nothing has them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from uuid import uuid4

import duckdb
import httpx
import paramiko
import pyarrow as pa
import pytest
import sqlalchemy as sa
from lxml import etree

from actuals_pipelines.errors import Interrupted
from actuals_pipelines.operations.error_store import kept_error
from actuals_pipelines.operations.running import must_run, trusted
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.store import catalogue
from actuals_pipelines_tests.journeys.house import DAYS, House, order, psp_file, statement, wait_for

DAY = DAYS[0]
CANARY = f"canary{uuid4().hex}"
CARD = "4929713246883050"  # passes the check of card numbers; nobody's
REFERENCE = re.compile(r"actuals error show (?:\S+ )?([0-9a-f-]{36})")


@pytest.fixture(scope="module")
def planted(house: House) -> Iterator[House]:
    """East took the word in wherever a text fits, and its doors refused what they must; the sensors did the rest."""
    event = order(CANARY, "60.00", DAY, f"for {CANARY}")
    event["data"]["not mapped"] = {"deep": [CANARY]}
    assert house.push("east", [event]).status_code in (200, 201)
    with_card = order("card", "1.00", DAY, f"paid with {CARD}")
    assert house.push("east", [with_card]).status_code in (400, 422)
    assert house.push("east", [order("late", "1.00", DAY) | {"timestamp": CANARY}]).status_code in (400, 422)
    _knock(house)
    rows = [f"{n},order-{n},1.00,EUR,{DAY},{CANARY}" for n in range(40)]
    rows.append(f"41,order-41,{CANARY},EUR,{DAY},an amount that is none")
    rows.append(f"42,order-42,1.00,EUR,{DAY},{CARD}")
    house.upload("east", "psp", psp_file(*rows), f"{CANARY}.csv", DAY)
    house.drop("east", {f"bank/{CANARY}.xml": statement(DAY, "0.00", "60.00", [(CANARY, "60.00")], memo=CANARY)})
    # Files that cannot be read: one without a header, whose first record stands where the columns' names should.
    house.upload("east", "psp", f"7,{CANARY},1.00,EUR,{DAY},{CARD}\n".encode(), "headless.csv", DAY)
    house.drop("east", {f"bank/half-{CANARY}.xml": statement(DAY, "0.00", "1.00", [(CANARY, "1.00")], CANARY)[:-90]})
    house.wait_until_quiet("east")
    yield house


def _knock(house: House) -> None:
    """Log in with the word as a name and as a key; ask for a path with it."""
    running = must_run(house.home)
    for path, token in (("/v1/raw_transactions", CANARY), (f"/{CANARY}", house.api_keys["east"])):
        answer = httpx.get(
            running.url("inbox") + path, headers={"token": token}, verify=trusted(house.home), trust_env=False
        )
        assert answer.status_code in (401, 404)
    with paramiko.SSHClient() as client, pytest.raises(paramiko.SSHException):
        client.set_missing_host_key_policy(paramiko.WarningPolicy())
        client.connect(
            "127.0.0.1",
            port=running.ports["sftp"],
            username=CANARY,
            password=CANARY,
            allow_agent=False,
            look_for_keys=False,
            timeout=30,
        )


def test_what_was_planted_is_there_for_its_tenant(planted: House) -> None:
    """Else finding nothing would prove nothing."""
    assert f"e-{CANARY}" in planted.live("east", "shop")
    assert len(planted.live("east", "psp")) == 40
    with planted.opened("east") as env:
        assert {unit.source for unit, _ in catalogue.held(env)} == {"psp", "bank"}
        states = [unit.raw_state for unit in catalogue.units_of_day(env, "psp", DAY)]
    assert states[0] == "destroyed"  # it held a card number


@pytest.fixture(scope="module")
def broken(planted: House) -> Iterator[str]:
    """A step in Dagster failed for a reason that is the database's; the reference under which its words are kept."""
    ref = planted.applied["east"].ref
    with running_postgres(planted.home) as platform:
        owner = sa.create_engine(platform.admin.url.set(database=ref.database), poolclass=sa.NullPool)
        with owner.begin() as connection:
            connection.exec_driver_sql("alter table data_file rename to data_file_away")
        try:
            # On a day without a held unit: there the sensor would wait for a while before it asks again.
            planted.push("east", [order(f"{CANARY}more", "1.00", DAYS[3], CANARY)])
            found: list[str] = []
            wait_for(lambda: bool(_references(planted, found)), 120)
        finally:
            with owner.begin() as connection:
                connection.exec_driver_sql("alter table data_file_away rename to data_file")
    yield found[0]


def _references(house: House, found: list[str]) -> list[str]:
    with house.dagsters_database() as connection:
        query = "select event from event_logs where dagster_event_type = 'STEP_FAILURE' order by id"
        for event in connection.scalars(sa.text(query)):
            found += REFERENCE.findall(event)
    return found


def test_what_a_library_said_in_a_failed_run_is_kept_for_the_operator_alone(planted: House, broken: str) -> None:
    """Dagster has the place, the class and the reference; the words are the tenant's."""
    with planted.opened("east") as env:
        assert "data_file" in kept_error(env, broken)
    with planted.dagsters_database() as connection:
        hits = connection.scalars(sa.text("select count(*) from event_logs where event like '%data\\_file%'")).one()
    assert hits == 0


# Libraries whose errors repeat what they were given.
FAILURES: dict[str, Callable[[], object]] = {
    "duckdb": lambda: duckdb.sql(f"select cast('{CANARY}' as integer)").fetchall(),
    "pyarrow": lambda: pa.array([CANARY]).cast(pa.int64()),
    "lxml": lambda: etree.fromstring(f"<a>{CANARY}</{CANARY}>".encode()),
    "date": lambda: date.fromisoformat(CANARY),
    "files": lambda: Path(f"/nonexistent/{CANARY}").read_bytes(),
    "dict": lambda: {}[CANARY],
}


@pytest.mark.parametrize("library", FAILURES)
def test_a_librarys_error_is_replaced_and_its_words_are_sealed(planted: House, library: str) -> None:
    """Text, cause and context of what is raised have nothing of it; the operator reads all of it."""
    loaded = planted.tenant("east")

    with pytest.raises(Interrupted) as raised, loaded.opened("a test"):
        local = f"{CANARY} in a local variable"
        assert local
        FAILURES[library]()

    error = raised.value
    assert CANARY not in f"{error!s} {error!r} {error.args}"
    assert error.__cause__ is None and error.__suppress_context__
    with planted.opened("east") as env:
        assert CANARY in kept_error(env, error.reference)


def test_a_failed_statement_shows_no_parameter(planted: House) -> None:
    loaded = planted.tenant("east")

    with pytest.raises(Interrupted) as raised, loaded.opened("a test") as env, env.engine.begin() as connection:
        connection.execute(sa.text("select cast(:given as integer)"), {"given": CANARY})

    assert CANARY not in str(raised.value)


def test_no_file_of_the_home_has_the_word_or_the_card_number(planted: House, broken: str) -> None:
    """Data, database files after a checkpoint, write-ahead log, server log, services' logs, temporary files."""
    with (
        running_postgres(planted.home) as platform,
        platform.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        connection.exec_driver_sql("checkpoint")

    searched, hits = _hits([planted.home.root, planted.temporary])

    assert hits == []
    assert {"data", "postgres", "run", "dagster"} <= searched


def _hits(roots: list[Path]) -> tuple[set[str], list[str]]:
    """(folders of the home in which files were searched, files that have one of the words)."""
    needles = [text.encode(code) for text in (CANARY, CARD) for code in ("utf-8", "utf-16-le")]
    needles.append(CANARY.encode().hex().encode())
    searched, hits = set(), []
    for root in roots:
        for path in root.rglob("*"):
            if not path.is_file() or path.is_symlink():
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # PostgreSQL recycles its files while we look
                continue
            searched.add(path.relative_to(root).parts[0])
            if any(needle in content for needle in needles) or CANARY in path.name:
                hits.append(str(path.relative_to(root)))
    return searched, hits


@pytest.mark.parametrize("database", ["dagster", "control", "east"])
def test_no_table_shows_the_word_or_the_card_number(planted: House, broken: str, database: str) -> None:
    """Long values are compressed in PostgreSQL's files, so every row of every table is asked for as text, too."""
    name = planted.applied["east"].ref.database if database == "east" else database
    with running_postgres(planted.home) as platform:
        engine = sa.create_engine(platform.admin.url.set(database=name), poolclass=sa.NullPool)
        with engine.connect() as connection:
            tables = connection.scalars(sa.text("select tablename from pg_tables where schemaname = 'public'")).all()
            hits = {}
            for table in tables:
                query = f'select count(*) from "{table}" t where t::text like any(:words)'  # noqa: S608 - its own
                words = [f"%{CANARY}%", f"%{CARD}%", f"%{CANARY.encode().hex()}%"]
                hits[table] = connection.scalars(sa.text(query), {"words": words}).one()

    assert len(hits) > 3
    assert {table: count for table, count in hits.items() if count} == {}


def test_what_a_person_is_shown_of_a_bad_file_has_no_value_of_it(planted: House) -> None:
    """The reason names the column that is missed and not those that are there."""
    with planted.opened("east") as env:
        shown = io.StringIO()
        for _, generation in catalogue.held(env):
            json.dump([dict(check) for check in generation.checks], shown)

    assert "which this file does not have" in shown.getvalue()
    assert CANARY not in shown.getvalue() and CARD not in shown.getvalue()
