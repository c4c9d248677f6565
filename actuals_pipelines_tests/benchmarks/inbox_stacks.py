"""What `benchmarks.inbox` measures, each a server process whose first argument is its name; the rest are the inbox's.

`inbox` is the product's. `nothing stored` is the same process, which reads and checks, seals and stores nothing.
`FastAPI` is what one would write first: pydantic, and an INSERT with a unique key in a transaction for each request, in
clear.
"""

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn

from actuals_pipelines.database.server import engine
from actuals_pipelines.settings import door_key, find_home
from actuals_pipelines.sources.inbox.__main__ import main, tls_context
from actuals_pipelines.sources.inbox.group_commit import GroupCommit
from actuals_pipelines.sources.inbox.receipts import Outcome, Post, Receipt
from actuals_pipelines.tenants.projections import read_door_views

_INSERT = "INSERT INTO inbox_key (id_mac, body_mac, receipt_id, body_id) VALUES (%b, %b, %b, %b) ON CONFLICT DO NOTHING"
_RECEIPT = Receipt("0199b0c4-0000-7000-8000-000000000000", datetime(2026, 1, 1, tzinfo=UTC), Outcome.NEW)


def without_storage() -> None:
    """Let the inbox answer without its database."""

    async def put(_self: GroupCommit, _post: Post) -> Receipt:
        return _RECEIPT

    async def put_all(_self: GroupCommit, posts: Sequence[Post], **_: bool) -> list[Receipt]:
        return [_RECEIPT] * len(posts)

    GroupCommit.put, GroupCommit.put_all = put, put_all  # type: ignore[method-assign]


def fastapi(given: Mapping[str, str]) -> None:
    """The peer. Ends without a word if it is not installed."""
    try:
        from fastapi import FastAPI  # noqa: PLC0415 - of requirements-benchmarks.lock
    except ImportError:
        return
    from pydantic import BaseModel  # noqa: PLC0415

    class RawTransaction(BaseModel):
        source_id: str
        id: str
        timestamp: datetime
        type: str | None = None
        data: dict[str, Any]

    login = read_door_views(find_home(given["--home"]).doors, door_key())[0].login
    database = engine(login.address, login.database, login.role, login.password, name="benchmark")
    app = FastAPI()

    def post(raw: RawTransaction) -> dict[str, str]:
        # The id's digest as key, and nothing sealed: the keys' table is the one that a door may write in clear.
        key = blake2b(raw.id.encode(), digest_size=16).hexdigest()
        with database.begin() as connection:
            connection.exec_driver_sql(_INSERT, (key, key, uuid4(), uuid4()))
        return {"id": key, "status": "accepted"}

    app.post("/v1/raw_transactions", status_code=201)(post)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        tls = tls_context(Path(given["--certificate"]), Path(given["--key"]))
        config = uvicorn.Config(
            app, loop="uvloop", http="httptools", log_config=None, access_log=False, ssl_context_factory=lambda *_: tls
        )
        sys.stdout.write(json.dumps({"url": f"https://127.0.0.1:{listener.getsockname()[1]}"}) + "\n")
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    stack, options = sys.argv[1], sys.argv[2:]
    if stack == "FastAPI":
        fastapi(dict(zip(options[::2], options[1::2], strict=True)))
    else:
        if stack == "nothing stored":
            without_storage()
        main(options)
