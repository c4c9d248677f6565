"""Run the sFTP drop: `python -m actuals_pipelines.sources.sftp --home HOME --port 8022`.

ACTUALS_DOOR_KEY must be set (base64). When it is ready it prints one line of JSON on standard output:
{"name": "sftp", "url": "sftp://127.0.0.1:8022", "host_key": "ssh-ed25519 ...", "fingerprint": "SHA256:..."}.
SIGTERM ends it with code 0; what was half uploaded is thrown away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal

import asyncssh
import click
import uvloop

from actuals_pipelines.settings import door_key, find_home
from actuals_pipelines.sources.door import Views, guard_process, show_no_values
from actuals_pipelines.sources.sftp.accounts import Accounts
from actuals_pipelines.sources.sftp.host_key import host_key
from actuals_pipelines.sources.sftp.quota import Room
from actuals_pipelines.sources.sftp.server import Drop, DropLimits
from actuals_pipelines.sources.sftp.upload import sweep

log = logging.getLogger("actuals_pipelines.sources.sftp")

_MIB = 1 << 20
_DEFAULT_ROOM = DropLimits().room


@click.command()
@click.option("--home", "home_folder", metavar="FOLDER", help="The home [default: as `actuals`].")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8022, show_default=True, help="0: any free one.")
@click.option("--file-mib", default=_DEFAULT_ROOM.file_bytes // _MIB, show_default=True, help="Largest file.")
@click.option(
    "--free-mib", default=_DEFAULT_ROOM.free_disk_bytes // _MIB, show_default=True, help="Stays free on disk."
)
@click.option("--day-mib", default=_DEFAULT_ROOM.day_bytes // _MIB, show_default=True, help="Of a tenant and day.")
@click.option("--day-files", default=_DEFAULT_ROOM.day_files, show_default=True, help="Of a tenant and day.")
@click.option(
    "--per-second", default=DropLimits().per_second, show_default=True, help="New connections of one address."
)
@click.option("--connections", default=DropLimits().connections, show_default=True, help="At once, logged in or not.")
@click.option("--strangers", default=DropLimits().strangers, show_default=True, help="At once, not logged in.")
@click.option("--failed-logins", default=DropLimits().failed_logins, show_default=True, help="Of one address, 10 min.")
def main(
    *,
    home_folder: str | None,
    host: str,
    port: int,
    file_mib: int,
    free_mib: int,
    day_mib: int,
    day_files: int,
    per_second: int,
    connections: int,
    strangers: int,
    failed_logins: int,
) -> None:
    """Take files over sFTP, seal them while they arrive, and confirm them after commit."""
    guard_process()
    show_no_values()
    home = find_home(home_folder)
    accounts = Accounts(home.data, door_key())
    views = Views(home.doors, door_key(), accounts.take)
    views.refresh()
    lost = {tenant.ref: sweep(tenant.prefix) for tenant in accounts.tenants}
    if any(lost.values()):
        log.warning("half files of an earlier process removed: files=%d", sum(map(len, lost.values())))
    limits = DropLimits(
        room=Room(file_mib * _MIB, free_mib * _MIB, day_mib * _MIB, day_files),
        connections=connections,
        strangers=strangers,
        per_second=per_second,
        failed_logins=failed_logins,
    )
    uvloop.run(_run(Drop(accounts, limits, lost=lost), views, host, port, host_key(home, door_key())))
    for tenant in accounts.tenants:
        tenant.engine.dispose()


async def _run(drop: Drop, views: Views, host: str, port: int, key: asyncssh.SSHKey) -> None:
    stop = asyncio.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, stop.set)
    acceptor = await drop.listen(host, port, key)
    ready = {
        "name": "sftp",
        "url": f"sftp://{host}:{acceptor.get_port()}",
        "host_key": key.export_public_key().decode().strip(),
        "fingerprint": key.get_fingerprint(),
    }
    click.echo(json.dumps(ready))
    following = [asyncio.create_task(views.follow()), asyncio.create_task(drop.end_idle())]
    await stop.wait()
    for task in following:
        task.cancel()
    acceptor.close()
    await drop.close()


if __name__ == "__main__":
    main()
