"""What both doors share: following the views of their tenants, keys of their own, and a log that shows no value."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.tenants.projections import SUFFIX, DoorView, read_door_views

log = logging.getLogger(__name__)

_OURS = "actuals_pipelines"
_Signature = frozenset[tuple[str, int, int]]


def door_subkey(door_key: bytes, purpose: str) -> bytes:
    """A key for one purpose of a door (an HMAC, a file of its own); it opens nothing of a tenant's."""
    return hmac.digest(door_key, b"actuals door key, version 1: " + purpose.encode(), "sha256")


def content_mac_key(door_key: bytes, ref: TenantRef) -> bytes:
    """The key of `arrival.content_mac`: the same content at any door of a tenant has the same MAC."""
    return door_subkey(door_key, f"contents of arrivals {ref.uuid} {ref.environment}")


class Views:
    """The door views of a home, read again when a file in the folder changed."""

    def __init__(self, folder: Path, door_key: bytes, take: Callable[[list[DoorView]], None]) -> None:
        """`take` is given all views whenever any changed."""
        self._folder, self._door_key, self._take = folder, door_key, take
        self._seen: _Signature | None = None
        self.is_current = False

    def refresh(self) -> None:
        """Look once. A view that cannot be read leaves the others standing; the last good ones stay if none can."""
        try:
            signature = self._signature()
            if signature != self._seen:
                self._take(read_door_views(self._folder, self._door_key))
                self._seen = signature
            self.is_current = True
        except (ActualsError, OSError) as error:
            if self.is_current or self._seen is None:
                log.error("views cannot be read: folder=%s kind=%s", self._folder, type(error).__name__)
            self.is_current = False

    async def follow(self, every_seconds: float = 1.0) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            self.refresh()

    def _signature(self) -> _Signature:
        if not self._folder.is_dir():
            return frozenset()
        found = ((path.name, path.stat()) for path in self._folder.glob(f"*{SUFFIX}"))
        return frozenset((name, entry.st_mtime_ns, entry.st_ino) for name, entry in found)


def guard_process() -> None:
    """Before anything else: no key in a core dump, no file open to others, sockets enough for all connections."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.umask(0o077)


def show_no_values() -> None:
    """Log to standard error: our own templates whole; of a library its logger, level and exception's class alone.

    A library's text may hold what a customer sent: so does a traceback, so neither is printed.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "asyncio", "asyncssh", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _last_words


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        if record.name.split(".")[0] == _OURS:
            text = record.getMessage()
        else:
            text = f"a library spoke; its text is not shown: line={record.lineno}"
        return f"{self.formatTime(record)} {record.levelname} {record.name}: {text}" + (f" kind={kind}" if kind else "")


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the process: our own errors in their words, any other by its class and the line it came from."""
    place = "?"
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = str(error) if isinstance(error, ActualsError) else f"{kind.__name__} at {place}"
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the last words of a process
