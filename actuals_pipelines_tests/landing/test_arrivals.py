"""What doors left becomes units: each once, verified, on the right day."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.landing import claim_arrivals, count_stuck, look_again, refused_on, unclaimed, unit_name
from actuals_pipelines.landing.arrivals import NotRefused, day_in_name
from actuals_pipelines.store import catalogue
from actuals_pipelines_tests.landing.doors import BANK, NOW, Doors


def test_an_arrival_becomes_a_unit_once(acme: Doors) -> None:
    """With its bytes, name and delivery; a second look finds nothing."""
    arrival = acme.drop(BANK, b"<Stmt>1</Stmt>", name="camt-2026-03-02.xml")

    [unit] = claim_arrivals(acme.env, NOW)

    assert (unit.source, unit.partition, unit.delivery) == ("bank", date(2026, 3, 2), str(arrival))
    assert acme.read(unit) == b"<Stmt>1</Stmt>"
    assert unit_name(acme.env, unit) == "camt-2026-03-02.xml"
    assert claim_arrivals(acme.env, NOW) == []
    assert unclaimed(acme.env) == []


@pytest.mark.parametrize(
    ("name", "partition", "day"),
    [
        ("statement.xml", None, date(2026, 3, 5)),
        ("statement-20260302.xml", None, date(2026, 3, 2)),
        ("statement-2026-03-02.xml", date(2026, 3, 3), date(2026, 3, 3)),
        ("valid-until-2026-12-31.xml", None, date(2026, 3, 5)),
        ("archive-2019-01-01.xml", None, date(2026, 3, 5)),
    ],
    ids=["day received", "day in name", "the door knows", "future", "before the tenant's start"],
)
def test_the_day_of_an_arrival(acme: Doors, name: str, partition: date | None, day: date) -> None:
    """23:30 UTC on the 4th is the 5th in Amsterdam."""
    acme.drop(BANK, b"x", name=name, partition=partition, received_at=datetime(2026, 3, 4, 23, 30, tzinfo=UTC))

    [unit] = claim_arrivals(acme.env, NOW)

    assert unit.partition == day


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("a_20260301T120000.csv", date(2026, 3, 1)),
        ("20260301120000.csv", date(2026, 3, 1)),
        ("202603011200.csv", date(2026, 3, 1)),
        ("camt053-2026-03-01-0001.xml", date(2026, 3, 1)),
        ("2026-02-30.csv", None),
        ("order-120260301.csv", None),
        ("invoice 2026030155.csv", None),
        ("plain.csv", None),
    ],
)
def test_a_day_is_read_from_a_name_only_where_it_stands_for_itself(name: str, day: date | None) -> None:
    """A time may follow it, digits of a longer number may not surround it."""
    assert day_in_name(name) == day


def test_only_what_no_run_will_take_is_stuck(acme: Doors) -> None:
    """A file nobody claims and one that was altered; not the one that merely waits for the next run."""
    acme.drop(None, b"what is this", name="unknown.csv")
    altered = acme.drop(BANK, b"<Stmt>1</Stmt>")
    (acme.env.prefix / "drop" / str(altered)).write_bytes(b"")
    claim_arrivals(acme.env, NOW)
    acme.drop(BANK, b"<Stmt>2</Stmt>")

    assert count_stuck(acme.env) == 2


def test_what_no_source_claims_stays_sealed_and_is_listed(acme: Doors) -> None:
    """It is shown by name to people who may see it."""
    arrival = acme.drop(None, b"what is this", name="unknown.csv")

    assert claim_arrivals(acme.env, NOW) == []
    [one] = unclaimed(acme.env)
    assert (one.arrival_id, one.name, one.size_bytes) == (arrival, "unknown.csv", 12)


@pytest.mark.parametrize("harm", ["flipped byte", "cut", "another's container", "missing", "longer"])
def test_a_container_that_is_not_what_its_row_says_is_not_taken_and_others_are(acme: Doors, harm: str) -> None:
    """HPKE names no sender: only what a row names, with its digest, is opened."""
    bad, good = acme.drop(BANK, b"bad" * 1000), acme.drop(BANK, b"good")
    path = acme.env.prefix / "drop" / str(bad)
    whole = path.read_bytes()
    if harm == "flipped byte":
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    elif harm == "cut":
        path.write_bytes(whole[:-1])
    elif harm == "another's container":
        path.write_bytes((acme.env.prefix / "drop" / str(good)).read_bytes())
    elif harm == "longer":
        path.write_bytes(whole + b"x")
    else:
        path.unlink()

    claimed = claim_arrivals(acme.env, NOW)

    assert [unit.delivery for unit in claimed] == [str(good)]
    [refused] = unclaimed(acme.env)
    assert (refused.arrival_id, refused.source, refused.day) == (bad, "bank", NOW.date())
    assert refused.refused is not None
    assert refused_on(acme.env, "bank", [NOW.date()]) == [refused]
    assert catalogue.waiting(acme.env, now=NOW) == {"bank": (claimed[0].partition,)}  # the other's: it never ends else
    assert claim_arrivals(acme.env, NOW) == []
    if harm == "missing":
        path.write_bytes(whole)
    elif harm != "another's container":
        assert path.read_bytes() not in (whole, b"")  # kept as it was found


def test_a_refused_arrival_is_looked_at_again_when_a_person_says_so(acme: Doors) -> None:
    """After its file was restored from a backup; the audit has it."""
    arrival = acme.drop(BANK, b"<Stmt/>")
    path = acme.env.prefix / "drop" / str(arrival)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    claim_arrivals(acme.env, NOW)
    path.write_bytes(whole)

    assert claim_arrivals(acme.env, NOW) == []
    look_again(acme.env, str(arrival))
    [unit] = claim_arrivals(acme.env, NOW)

    assert acme.read(unit) == b"<Stmt/>"
    for other in (str(arrival), "4711"):
        with pytest.raises(NotRefused):
            look_again(acme.env, other)
    with acme.env.engine.begin() as connection:
        actions = list(connection.scalars(sa.select(tables.audit_outbox.c.action)))
    assert actions == ["arrival.look_again"]


def test_a_missing_folder_refuses_nothing(acme: Doors) -> None:
    """A disk that is not mounted is this machine's fault: nothing is given up for it."""
    acme.drop(BANK, b"<Stmt/>")
    (acme.env.prefix / "drop").rename(acme.env.prefix / "elsewhere")

    with pytest.raises(FileNotFoundError):
        claim_arrivals(acme.env, NOW)

    (acme.env.prefix / "elsewhere").rename(acme.env.prefix / "drop")
    assert len(claim_arrivals(acme.env, NOW)) == 1


def test_the_same_file_dropped_twice_is_a_repeat_also_across_doors(acme: Doors) -> None:
    """The content decides, not the way in."""
    first = acme.land(BANK, b"<Stmt/>", "upload-1")
    acme.drop(BANK, b"<Stmt/>")

    [second] = claim_arrivals(acme.env, NOW)

    assert second.repeat_of == first.id


def test_an_arrival_that_commits_late_is_not_missed(acme: Doors) -> None:
    """An older received_at that becomes visible after a younger one was claimed."""
    acme.drop(BANK, b"young", received_at=NOW)
    claim_arrivals(acme.env, NOW)
    acme.drop(BANK, b"old", received_at=datetime(2026, 3, 5, 1, tzinfo=UTC))

    [unit] = claim_arrivals(acme.env, NOW)

    assert acme.read(unit) == b"old"


def test_processes_that_claim_at_once_take_each_arrival_once(acme: Doors) -> None:
    """Locks are skipped, and after a lock the arrival is looked at again."""
    for number in range(12):
        acme.drop(BANK, str(number).encode())
    claimed: list[str] = []

    def claim() -> None:
        claimed.extend(unit.delivery for unit in claim_arrivals(acme.env, NOW))

    threads = [threading.Thread(target=claim) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with acme.env.engine.begin() as connection:
        paths = list(connection.execute(sa.select(tables.unit.c.path)).scalars())
    assert len(paths) == len(set(paths)) == len(claimed) == len(set(claimed)) == 12
