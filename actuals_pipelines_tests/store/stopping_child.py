"""A process that publishes or closes, and stops for ever at a named point, so that it can be killed just there.

Run as `python -m`; its orders come as JSON on standard input. It prints "stopped" when it stands still.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.store import closes, files
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.store.books import ADDING, DAY, a_book


def main() -> None:
    """Build the same tenant as the parent's, arm the point, and go."""
    orders = json.load(sys.stdin)
    engine = sa.create_engine(orders["url"])
    ref = TenantRef(UUID(orders["tenant"]))
    database = TenantDatabase(ref, {}, engine, engine, engine)
    book = a_book(database, Path(orders["folder"]), bytes.fromhex(orders["seed"]))
    point, work = orders["point"], orders["work"]
    if point == "before commit":
        sa.event.listen(engine, "commit", _stop_if_writing)
    else:
        files.write = _stopping(files.write, after=int(point))  # type: ignore[assignment]
    if work == "publish":
        book.publish(ADDING)
    else:
        _close(book.env)
    sys.stdout.write("finished\n")


def _close(env: Any) -> None:
    with closes.locked(env, "orders"):
        closes.save_close(
            env,
            "orders",
            DAY,
            changes=pa.table({"row": [2]}),
            figures=b"{}",
            pins={"pins": "2"},
            digest=b"2",
            counts={},
            publications=[],
        )


def _stopping(write: Callable[..., Any], after: int) -> Callable[..., Any]:
    """`write`, which stands still when it has written so many files."""
    written = []

    def stopping(*arguments: Any, **named: Any) -> Any:
        result = write(*arguments, **named)
        written.append(result)
        if len(written) == after:
            _stop()
        return result

    return stopping


def _stop_if_writing(connection: sa.Connection) -> None:
    """Stand still at the commit that would name files: everything is done but that."""
    query = sa.text("select count(*) from data_file where xmin = pg_current_xact_id()::xid")
    if connection.execute(query).scalar_one():
        _stop()


def _stop() -> None:
    sys.stdout.write("stopped\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    main()
