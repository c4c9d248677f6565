"""What the store costs: `python -m actuals_pipelines_tests.benchmarks.store [ROWS]`. Times are printed, never asserted.

Starts an embedded PostgreSQL in a temporary folder; needs no home.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.database.embedded import EmbeddedPostgres
from actuals_pipelines.database.provision import create_platform, create_tenant
from actuals_pipelines.database.server import administrator, tenant_engine
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.domain.unit import Unit, Verdict
from actuals_pipelines.store import generations
from actuals_pipelines.store.live import changes, control_totals, live
from actuals_pipelines.tables import TRANSACTIONS
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.store.books import ADDING, DAY, REPLACING, Books, a_book


def random_ids(count: int) -> pa.ExtensionArray:
    """A column of random UUIDs."""
    data = pa.Array.from_buffers(pa.binary(16), count, [None, pa.py_buffer(os.urandom(16 * count))])
    return pa.ExtensionArray.from_storage(pa.uuid(), data)


def payments(count: int, source: str) -> pa.Table:
    """Distinct payments with one match key."""
    number = pa.array(range(count), pa.int64())
    text = pc.binary_join_element_wise("ORD-", number.cast(pa.string()), "")
    columns = {
        "row_uid": random_ids(count),
        "row_digest": random_ids(count),
        "row_id": text,
        "source": pa.repeat(source, count),
        "kind": pa.repeat("payment", count),
        "status": pa.repeat("booked", count),
        "transaction_id": text,
        "booked_on": pa.repeat(pa.scalar(DAY), count),
        "value_date": pa.repeat(pa.scalar(DAY), count),
        "timestamp": pc.add(number, 1_700_000_000_000_000).cast(pa.timestamp("us", "UTC")),
        "amount_minor_units": pc.add(pc.bit_wise_and(pc.multiply(number, 7919), 0xFFFF), 1),
        "currency": pa.repeat("EUR", count),
        "unit_id": random_ids(1).take(pa.array([0] * count, pa.int32())),
        "line": pc.add(number, 1),
    }
    table = pa.Table.from_arrays([columns[name] for name in TRANSACTIONS.names], schema=TRANSACTIONS)
    return table.append_column("key_order", random_ids(count))


@contextmanager
def timed(what: str, rows: int) -> Iterator[None]:
    """Print wall and CPU seconds of this process and the rows per second."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    sys.stdout.write(f"{what:60} {wall:7.2f} s wall {cpu:7.2f} s CPU {rows / wall / 1e6:7.2f} M rows/s\n")


def passed(book: Books, unit: Unit, table: pa.Table) -> None:
    """Record a candidate and let it pass."""
    candidate = generations.record_candidate(
        book.env, unit, uuid4().bytes, table, mapping_digest=b"1", counts={"rows": table.num_rows}
    )
    generations.judge(book.env, candidate, Verdict.PASSED, [])


def measure(book: Books, rows: int) -> None:
    """A first load, a repeat, a change, a small unit upon it, a pull again; reading and a close's changes."""
    table = payments(rows, "shop")
    unit = book.land(ADDING)
    with timed(f"write a candidate of {rows:,} rows", rows):
        passed(book, unit, table)
    with timed("publish it into an empty source", rows):
        book.publish(ADDING)
    with timed("read what is live", rows):
        assert live(book.env, "shop").read_all().num_rows == rows
    small = payments(1000, "shop")
    passed(book, book.land(ADDING), small)
    with timed("publish 1,000 new rows upon them", 1000):
        book.publish(ADDING)
    passed(book, book.land(ADDING), table)
    with timed("publish the same rows again: all repeats", rows):
        book.publish(ADDING)
    tenth = table.slice(0, rows // 10)
    changed = tenth.set_column(1, TRANSACTIONS.field("row_digest"), random_ids(len(tenth)))
    passed(book, book.land(ADDING), changed)
    with timed(f"publish {len(tenth):,} changed rows", len(tenth)):
        book.publish(ADDING)
    with timed("read what is live, with removals", rows):
        assert live(book.env, "shop").read_all().num_rows == rows + 1000
    with timed("control totals from the manifests", rows):
        control_totals(book.env, "shop")
    with timed("a first close's changes", rows):
        found = changes(book.env, ["shop"], until=DAY, taken=[])
        assert found.adds.read_all().num_rows == rows + 1000
        assert found.removes.read_all().num_rows == 0
    many_days(book, REPLACING, rows)


def many_days(book: Books, source: Source, rows: int) -> None:
    """A month of daily pulls, each published upon the days before."""
    per_day = rows // 30
    days = [(DAY + timedelta(days=n), payments(per_day, source.name)) for n in range(30)]
    with timed(f"30 days of {per_day:,} rows: write and publish", per_day * 30):
        for day, table in days:
            passed(book, book.land(source, day), table)
            book.publish(source, day)
    with timed("read the 30 days", per_day * 30):
        assert live(book.env, source.name).read_all().num_rows == per_day * 30
    passed(book, book.land(source, days[-1][0]), days[-1][1].slice(0, per_day - 5))
    with timed("pull the last day again, five rows fewer", per_day):
        book.publish(source, days[-1][0])


def main() -> None:
    """Start PostgreSQL, measure, stop."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", "benchmark")
        address = server.start()
        try:
            admin = administrator(address.url("postgres", server.superuser, "benchmark"))
            create_platform(admin)
            ref = TenantRef(uuid4())
            app = tenant_engine(address, ref, "app", create_tenant(admin, ref)["app"])
            measure(a_book(TenantDatabase(ref, {}, app, app, app), Path(folder)), rows)
            app.dispose()
            admin.dispose()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
