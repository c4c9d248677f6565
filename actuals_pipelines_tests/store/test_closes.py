"""Closes: kept whole, one standing per day, earlier ones never rewritten."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.database.locks import HeldByAnother
from actuals_pipelines.store import catalogue, closes
from actuals_pipelines.store.closes import Close, CloseIsHistory
from actuals_pipelines.store.live import changes
from actuals_pipelines_tests.store.books import ADDING, DAY, Books

NEXT_DAY = DAY + timedelta(days=1)
PACKAGE = "orders_vs_psp"


def close(acme: Books, day: date, pins: str = "1", **different: Any) -> Close:
    """Close a day with all that it may take in."""
    taken = closes.taken_in(acme.env, PACKAGE, before=day)
    found = changes(acme.env, [ADDING.name], until=day, taken=taken)
    values: dict[str, Any] = {
        "changes": pa.table({"row": [2]}),
        "figures": b'{"impact": 4711}',
        "pins": {"package": pins},
        "digest": pins.encode(),
        "counts": {"rows": 2},
        "publications": [p.id for p in found.publications],
    }
    with closes.locked(acme.env, PACKAGE):
        return closes.save_close(acme.env, PACKAGE, day, **(values | different))


def published(acme: Books, day: date) -> None:
    acme.deliver(ADDING, [(str(day), 1)], day)
    acme.publish(ADDING, day)


def test_a_close_is_read_back_as_it_was_kept(acme: Books) -> None:
    """State, changes, pins; its figures are sealed in the database."""
    kept = close(acme, DAY)

    assert closes.last_close(acme.env, PACKAGE) == closes.close_of(acme.env, PACKAGE, DAY) == kept
    assert [part.to_table().column("row").to_pylist() for part in closes.parts(acme.env, kept)] == [[2]]
    assert closes.changes(acme.env, kept).to_table().column("row").to_pylist() == [2]
    assert closes.figures(acme.env, kept) == b'{"impact": 4711}'
    with acme.env.engine.begin() as connection:
        assert b"4711" not in connection.execute(sa.select(tables.close.c.figures_sealed)).scalar_one()


def test_what_a_close_proposes_is_kept_with_it_and_nothing_where_there_is_none(acme: Books) -> None:
    """In a file of its own, which is no part of the state."""
    found = close(acme, DAY, proposals=pa.table({"amount": [4711]}))
    none = close(acme, NEXT_DAY, "2", stands_on=found, proposals=pa.table({"amount": pa.array([], pa.int64())}))

    kept = closes.proposals(acme.env, found)
    assert kept is not None
    assert kept.to_pydict() == {"amount": [4711]}
    assert closes.proposals(acme.env, none) is None
    assert [part.to_table().column_names for part in closes.parts(acme.env, none)] == [["row"], ["row"]]


def test_a_close_takes_in_each_publication_once(acme: Books) -> None:
    """A late day enters the next close; what was taken in is not reconciled again."""
    published(acme, DAY)
    close(acme, DAY)
    published(acme, DAY)
    published(acme, NEXT_DAY)
    late = catalogue.not_reconciled(acme.env, PACKAGE, [ADDING.name])

    close(acme, NEXT_DAY)

    assert late == (DAY, NEXT_DAY)
    assert catalogue.not_reconciled(acme.env, PACKAGE, [ADDING.name]) == ()
    assert len(closes.taken_in(acme.env, PACKAGE, before=NEXT_DAY + timedelta(days=1))) == 3


def test_the_same_pins_again_change_nothing(acme: Books) -> None:
    """A re-run of a day is a no-op."""
    assert close(acme, DAY) == close(acme, DAY)


def test_the_last_close_taken_again_keeps_both_versions(acme: Books) -> None:
    """More was published today: the day's second version stands, the first is kept, superseded."""
    first = close(acme, DAY, "1")
    published(acme, DAY)

    second = close(acme, DAY, "2")

    assert (second.version, closes.close_of(acme.env, PACKAGE, DAY)) == (2, second)
    assert [(c.id, c.state) for c in closes.history(acme.env, PACKAGE)] == [
        (first.id, "superseded"),
        (second.id, "published"),
    ]
    assert len(closes.taken_in(acme.env, PACKAGE, before=NEXT_DAY)) == 1


def test_an_earlier_close_is_never_rewritten(acme: Books) -> None:
    """A later one stands on it."""
    close(acme, DAY), close(acme, NEXT_DAY)

    with pytest.raises(CloseIsHistory, match="is not rewritten"):
        close(acme, DAY, "2")

    assert close(acme, DAY, "1").version == 1


def test_the_opening_of_a_day_is_the_close_before_it(acme: Books) -> None:
    """Not the day's own close that stands already."""
    first = close(acme, DAY)
    close(acme, NEXT_DAY)

    assert closes.last_close(acme.env, PACKAGE, before=NEXT_DAY) == first
    assert closes.last_close(acme.env, PACKAGE, before=DAY) is None


def test_one_process_closes_a_package_at_a_time(acme: Books) -> None:
    """The second waits, and then says so; another package is free."""
    with closes.locked(acme.env, PACKAGE), closes.locked(acme.env, "another"), acme.env.engine.begin() as connection:
        connection.execute(sa.text("set local lock_timeout = '50ms'"))
        from actuals_pipelines.database import locks, units  # noqa: PLC0415

        package_id = units.ensure_named(connection, tables.package, [PACKAGE])[PACKAGE]
        with pytest.raises(HeldByAnother):
            locks.close_lock(connection, package_id, timeout_seconds=1)


def test_a_failure_while_saving_leaves_the_standing_close(acme: Books) -> None:
    """A publication that does not exist breaks the transaction: nothing of the new version is visible."""
    standing = close(acme, DAY)

    with pytest.raises(sa.exc.IntegrityError):
        close(acme, DAY, "2", publications=[standing.id])

    assert closes.history(acme.env, PACKAGE) == [standing]
