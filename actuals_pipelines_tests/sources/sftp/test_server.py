"""Who is let in, how often."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh

from actuals_pipelines.sources.sftp.accounts import Accounts
from actuals_pipelines.sources.sftp.server import Drop, DropLimits


def test_a_burst_from_one_address_is_cut_and_another_address_is_not(tmp_path: Path) -> None:
    """Before any key exchange, which is what costs."""
    drop = Drop(Accounts(tmp_path, bytes(32)), DropLimits(per_second=3))

    assert [drop.admits("192.0.2.1", 100.0 + n / 100) for n in range(5)] == [True, True, True, False, False]
    assert drop.admits("192.0.2.2", 100.05)
    assert drop.admits("192.0.2.1", 101.5)  # a second later


def test_a_connection_on_which_nothing_happens_is_ended(tmp_path: Path) -> None:
    async def wait_for_the_end() -> int:
        drop = Drop(Accounts(tmp_path, bytes(32)), DropLimits(idle_seconds=0.2, login_seconds=60))
        acceptor = await drop.listen("127.0.0.1", 0, asyncssh.generate_private_key("ssh-ed25519"))
        ending = asyncio.create_task(drop.end_idle(every_seconds=0.05))
        reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.get_port())
        banner = await asyncio.wait_for(reader.readline(), 10)
        assert banner == b"SSH-2.0-drop\r\n"
        await asyncio.wait_for(reader.read(), 10)  # to the end
        writer.close()
        ending.cancel()
        acceptor.close()
        return len(drop.connected)

    assert asyncio.run(wait_for_the_end()) == 0
