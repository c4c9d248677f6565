"""kill -9 amid publishing and amid a close: nothing half is visible, the re-run completes, digests are equal."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from actuals_pipelines.store import catalogue, closes
from actuals_pipelines.store.garbage import collect_garbage
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.store.books import ADDING, DAY, Books, a_book

SEED = b"known to parent and child"


@pytest.fixture
def database(tenant_database: Callable[..., TenantDatabase]) -> TenantDatabase:
    """A new tenant's database."""
    return tenant_database()


def killed(database: TenantDatabase, folder: Path, work: str, point: str) -> None:
    """Start the child, wait until it stands at the point, and kill it."""
    orders = {
        "url": database.app.url.render_as_string(hide_password=False),
        "tenant": str(database.ref.uuid),
        "folder": str(folder),
        "seed": SEED.hex(),
        "work": work,
        "point": point,
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "actuals_pipelines_tests.store.stopping_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    with child:
        child.stdin.write(json.dumps(orders))
        child.stdin.close()
        said = child.stdout.readline().strip()
        child.kill()  # SIGKILL
    assert said == "stopped"


def deliveries(book: Books) -> None:
    """Two units that wait: one all new, one with a repeat, a change and a new row (two more files)."""
    book.deliver(ADDING, [("a", 1), ("b", 2)])
    book.publish(ADDING)
    book.deliver(ADDING, [("c", 3), ("d", 4)])
    book.deliver(ADDING, [("a", 1), ("b", 20), ("e", 5)])


def digest(book: Books) -> str:
    """Of what is live."""
    return hashlib.sha256(json.dumps(sorted(book.live(ADDING).items())).encode()).hexdigest()


@pytest.mark.parametrize("point", ["1", "2", "before commit"], ids=["adds written", "removes written", "before commit"])
def test_a_publishing_process_that_is_killed(point: str, database: TenantDatabase, tmp_path: Path) -> None:
    """Live is what it was; the re-run publishes both units; the killed one's files are garbage."""
    book = a_book(database, tmp_path, SEED)
    deliveries(book)
    before, waiting = digest(book), catalogue.waiting(book.env, now=datetime(2026, 3, 5, tzinfo=UTC))

    killed(database, tmp_path, "publish", point)

    assert digest(book) == before
    assert catalogue.waiting(book.env, now=datetime(2026, 3, 5, tzinfo=UTC)) == waiting == {"shop": (DAY,)}
    assert len(book.publish(ADDING)) == 2
    undisturbed = {"a": 1, "b": 20, "c": 3, "d": 4, "e": 5}
    assert book.amounts(ADDING) == undisturbed
    left = 1 if point == "1" else 2
    assert collect_garbage(book.env, datetime.now(UTC) + timedelta(minutes=1)) == left
    assert book.amounts(ADDING) == undisturbed


@pytest.mark.parametrize("point", ["1", "before commit"], ids=["changes written", "before commit"])
def test_a_closing_process_that_is_killed(point: str, database: TenantDatabase, tmp_path: Path) -> None:
    """The standing close stands; the lock is free; the re-run gives the second version."""
    book = a_book(database, tmp_path, SEED)
    first = closes.save_close(
        book.env,
        "orders",
        DAY,
        changes=pa.table({"row": [1]}),
        figures=b"{}",
        pins={"pins": "1"},
        digest=b"1",
        counts={},
        publications=[],
    )

    killed(database, tmp_path, "close", point)

    assert closes.history(book.env, "orders") == [first]
    with closes.locked(book.env, "orders"):
        second = closes.save_close(
            book.env,
            "orders",
            DAY,
            changes=pa.table({"row": [1, 2]}),
            figures=b"{}",
            pins={"pins": "2"},
            digest=b"2",
            counts={},
            publications=[],
        )
    assert (second.version, closes.last_close(book.env, "orders")) == (2, second)
    [part] = closes.parts(book.env, second)
    assert part.to_table().column("row").to_pylist() == [1, 2]
