"""What asyncssh's sFTP server has no public way for: telling a client's CLOSE, and answering it later.

asyncssh closes every open handle when a connection drops, as if the client had: that must not deliver half a file. And
it reads no next request of a session before the last one was answered: so the files that one client sends at once
would be synced one by one. Tests drop a connection in the middle and send many files at once, so that a new version
of asyncssh cannot undo either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from asyncssh.constants import FXP_CLOSE
from asyncssh.sftp import SFTPServerHandler

log = logging.getLogger(__name__)

client_closes: ContextVar[bool] = ContextVar("client_closes", default=False)
"""Whether the running close is the client's own."""

_answering: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected


def install() -> None:
    """Do so for every session of this process."""
    plain: Callable[..., Awaitable[None]] = SFTPServerHandler._process_packet

    async def process(handler: Any, kind: int, request: int, packet: Any) -> None:
        if kind != FXP_CLOSE:
            await plain(handler, kind, request, packet)
            return
        task = asyncio.create_task(_close(plain(handler, kind, request, packet)))
        _answering.add(task)
        task.add_done_callback(_answering.discard)
        await asyncio.sleep(0)  # it has taken the handle before the next request is read

    SFTPServerHandler._process_packet = process  # type: ignore[method-assign,assignment]


async def _close(answered: Awaitable[None]) -> None:
    client_closes.set(True)  # in this task alone
    try:
        await answered
    except Exception as error:  # of sending: what the drop itself refuses was answered
        log.warning("a client went before it was answered: kind=%s", type(error).__name__)


async def answered_all() -> None:
    """Return when every CLOSE that is under way was answered."""
    await asyncio.gather(*_answering, return_exceptions=True)
