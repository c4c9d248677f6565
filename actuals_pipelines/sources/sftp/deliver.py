"""Makes whole uploads durable and names them in rows, many at once: the group commit of one tenant's drop.

While one group is being synced, the files whose CLOSE came meanwhile gather for the next: a client that waits for each
answer waits for one group of one, and a hundred files at once share a commit of the disk's journal, a sync of the
folder and a transaction. A group waits a moment only where its sender has more files open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa

from actuals_pipelines.encryption.durable import sync_folder
from actuals_pipelines.sources.sftp.arrivals import Arrival, record
from actuals_pipelines.sources.sftp.errors import UploadRefused

log = logging.getLogger(__name__)

_GROUP = 256
_GATHER_SECONDS = 0.003  # of a burst the first alone would keep the others waiting for a whole round
_SYNCS = ThreadPoolExecutor(16, thread_name_prefix="sync")  # syncs that run at the same time share a journal commit


@dataclass(frozen=True, slots=True)
class _Waiting:
    arrival: Arrival
    told: asyncio.Future[UploadRefused | None]


class Deliveries:
    """The deliveries of one tenant. A tenant's own, so that one whose database hangs holds up nobody else."""

    def __init__(self, engine: sa.Engine, public_key: bytes) -> None:
        self._engine, self._public_key = engine, public_key
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def deliver(self, arrival: Arrival, *, more_follow: bool = False) -> None:
        """Return when file, name and row are durable.

        Args:
            more_follow: the sender has other files open, whose CLOSE may come at any moment.

        Raises:
            ArrivalRefused, ArrivalUncertain, UploadRefused.
        """
        told: asyncio.Future[UploadRefused | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(arrival, told))
        if self._working is None:
            self._working = asyncio.create_task(self._work(_GATHER_SECONDS if more_follow else 0.0))
        refused = await told
        if refused is not None:
            raise refused

    async def _work(self, gather_seconds: float) -> None:
        try:
            await asyncio.sleep(gather_seconds)
            while self._waiting:
                group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
                try:
                    refusals = await asyncio.to_thread(self._deliver, [one.arrival for one in group])
                except Exception as error:
                    log.error("deliveries failed: files=%d kind=%s", len(group), type(error).__name__)
                    refusals = [_refused()] * len(group)
                for one, refused in zip(group, refusals, strict=True):
                    if not one.told.done():  # who waited was cancelled
                        one.told.set_result(refused)
        finally:
            self._working = None

    def _deliver(self, arrivals: Sequence[Arrival]) -> list[UploadRefused | None]:
        refusals = _synced(arrivals)
        durable = [arrival for arrival, refused in zip(arrivals, refusals, strict=True) if refused is None]
        if not durable:
            return refusals
        try:
            for folder in {arrival.whole.path.parent for arrival in durable}:
                sync_folder(folder)
            record(self._engine, self._public_key, durable)
        except OSError:
            return [_refused()] * len(arrivals)
        except UploadRefused as refused:  # of all alike: they stand in one transaction
            return [one or refused for one in refusals]
        return refusals


def _synced(arrivals: Sequence[Arrival]) -> list[UploadRefused | None]:
    if len(arrivals) == 1:
        return [_sync(arrivals[0])]
    return list(_SYNCS.map(_sync, arrivals))


def _sync(arrival: Arrival) -> UploadRefused | None:
    try:
        arrival.whole.name_and_sync()
    except OSError:
        return _refused()
    return None


def _refused() -> UploadRefused:
    return UploadRefused("The file could not be stored", "Send it again later; the operator is told.")
