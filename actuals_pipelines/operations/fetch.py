"""Fetch a source's files from where they lie: look, wait until they are whole, seal while reading, remember, settle.

What is fetched is in the catalogue in one transaction with the note that it was, so a second fetch does nothing, and a
killed one leaves sealed bytes that nobody can open.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from actuals_pipelines.database import units
from actuals_pipelines.domain.fetching import After, Fetching, Ready
from actuals_pipelines.domain.source import ProcessingSet, Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.landing import land_fetched
from actuals_pipelines.landing.arrivals import day_in_name
from actuals_pipelines.landing.raw import Written, discard, write_aside
from actuals_pipelines.operations.remotes import Opened, open_remote
from actuals_pipelines.settings import RemoteAccess
from actuals_pipelines.sources.failures import SourceFailed
from actuals_pipelines.sources.remote_files.book import Book, Entry
from actuals_pipelines.sources.remote_files.names import day_by_pattern, is_safe, is_wanted
from actuals_pipelines.sources.remote_files.ready import is_manifest, listed
from actuals_pipelines.sources.remote_files.remote import FileChanged, Remote, RemoteFile
from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

TOO_LARGE = "it is larger than `limit_mb` of the source's connection"
UNSAFE_NAME = "its name holds a path or a character that is not printed"
EMPTY = "it has no bytes: a broken export looks like this"
OTHER_DIGEST = "its SHA-256 is not the one in the manifest"

_BATCH_FILES, _BATCH_BYTES = 256, 512 << 20
"""What is brought onto the disk and into the catalogue together."""


@dataclass(frozen=True, slots=True)
class Due:
    """A file that is to be fetched: whole by all we know, and of a day that was asked for."""

    entry: Entry
    day: date
    sha256: bytes | None  # where a manifest states it


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the remote folder found."""

    due: tuple[Due, ...]
    unready: tuple[Entry, ...]  # still being written, for all we know
    refused: tuple[Entry, ...]
    fetched: tuple[Entry, ...]  # and still there


def fetch(
    environment: TenantEnvironment,
    source: Source,
    days: Sequence[date],
    *,
    access: RemoteAccess,
    now: datetime,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Unit]:
    """Fetch what is new: where today is asked for, all of the folder; of an earlier day what has that day in its name.

    Earlier days are looked for in the source's `archive` folder too. Where the day is the one of arrival, an earlier
    day has nothing more to give and nothing is asked.

    Raises:
        Transient, Terminal (`sources.failures`): what was whole before is landed all the same.
    """
    how = Fetching.of(source.connection)
    today = now.astimezone(ZoneInfo(environment.tenant.time_zone)).date()
    if today not in days and source.day_from != "name":
        return []
    with environment.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    opened = open_remote(environment, source, source_id, access)
    fetching = _Fetch(environment, source, source_id, how, opened, frozenset(days), today)
    with opened.connect() as remote:
        look = fetching.look(remote, now)
        if look.unready and how.ready is Ready.STABLE:
            sleep(how.stable_seconds)
            look = fetching.look(remote, now + timedelta(seconds=how.stable_seconds))
        landed = fetching.fetch(look.due)
        if how.after is not After.KEEP:
            fetching.settle(remote, [*look.fetched, *(due.entry for due, _ in landed)])
    log.info("fetched: tenant=%s source=%s files=%d", environment.ref.uuid, source_id, len(landed))
    return [unit for _, unit in landed]


def look_once(environment: TenantEnvironment, source: Source, *, access: RemoteAccess, now: datetime) -> Look:
    """Log in and look, and fetch nothing: what `actuals source connect` shows."""
    how = Fetching.of(source.connection)
    today = now.astimezone(ZoneInfo(environment.tenant.time_zone)).date()
    with environment.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    opened = open_remote(environment, source, source_id, access)
    with opened.connect() as remote:
        return _Fetch(environment, source, source_id, how, opened, frozenset([today]), today).look(remote, now)


@dataclass(frozen=True, slots=True)
class _Fetch:
    environment: TenantEnvironment
    source: Source
    source_id: UUID
    how: Fetching
    opened: Opened
    days: frozenset[date]
    today: date

    @property
    def book(self) -> Book:
        return Book(self.environment, self.source_id)

    def look(self, remote: Remote, now: datetime) -> Look:
        """List, note, and tell what is due."""
        how = self.how
        in_folder = remote.list(self.opened.folder)
        whole = listed(remote, in_folder, how) if how.ready is Ready.MANIFEST else None
        found = [file for file in in_folder if self._is_wanted(file)]
        archived: list[RemoteFile] = []
        if how.archive is not None and self.source.day_from == "name" and self.days - {self.today}:
            in_archive = remote.list(
                f"{self.opened.folder.rstrip('/')}/{how.archive}" if how.archive[0] != "/" else how.archive
            )
            archived = [f for f in in_archive if self._is_wanted(f) and self._named_day(f.name) in self.days]
        entries = self.book.look([*found, *archived], now)
        entries = self._judged(entries)
        refused = tuple(entry for entry in entries if entry.refused)
        due, unready = [], []
        for entry in entries:
            day = self._day(entry.file)
            if entry.refused or entry.is_fetched or day is None:
                continue
            is_archived = entry.file.folder != self.opened.folder
            if is_archived or self._is_whole(entry, whole, now):
                due.append(Due(entry, day, (whole or {}).get(entry.file.name)))
            else:
                unready.append(entry)
        due.sort(key=lambda one: (one.entry.file.version, one.entry.file.name))  # "newest" means landed last
        return Look(tuple(due), tuple(unready), refused, tuple(entry for entry in entries if entry.is_fetched))

    def fetch(self, due: Sequence[Due]) -> list[tuple[Due, Unit]]:
        """Read all that is due over several connections, and land it in batches."""
        landed: list[tuple[Due, Unit]] = []
        if not due:
            return landed
        # Where a unit replaces others their order says which is newest: then one after the other.
        in_order = self.source.publishes is not ProcessingSet.ADD
        readers = _Readers(self, due, 1 if in_order else min(self.how.connections, len(due)))
        try:
            for batch in readers.batches():
                landed += self._landed(batch)
        finally:
            readers.stop()
        if readers.failure is not None and len(landed) + readers.left_out < len(due):
            raise readers.failure
        return landed

    def settle(self, remote: Remote, entries: Sequence[Entry]) -> None:
        """Move or delete what is safe here. Raises SettlingRefused after the first that cannot be."""
        for entry in entries:
            if entry.is_settled or entry.file.folder != self.opened.folder:
                continue
            try:
                if self.how.after is After.MOVE:
                    remote.move(entry.file, self.how.move_to or "")
                else:
                    remote.delete(entry.file)
            except FileChanged:
                continue  # another file has its name by now, which the next look finds
            self.book.note_settled(entry)

    def _landed(self, batch: Sequence[tuple[Due, Written]]) -> list[tuple[Due, Unit]]:
        good, refusals = [], []
        for due, written in batch:
            why = self._refusal_by_content(due, written)
            if why is None:
                good.append((due, written))
            else:
                discard(self.environment, written.file_id)
                refusals.append((due.entry, why))
        self.book.note_refused(refusals)
        if not good:
            return []
        fetched = [(w, f"fetch {due.entry.id}", due.day, due.entry.file.name) for due, w in good]
        with self.environment.engine.begin() as connection:
            made = land_fetched(self.environment, connection, self.source, self.source_id, fetched)
            by_delivery = {unit.delivery: unit for unit in made}
            landed = [(due, by_delivery[f"fetch {due.entry.id}"]) for due, _ in good]
            self.book.note_fetched(connection, [(due.entry, unit.id) for due, unit in landed])
        return landed

    def _refusal_by_content(self, due: Due, written: Written) -> str | None:
        if written.digest.size_bytes == 0:
            return EMPTY
        if due.sha256 is not None and due.sha256 != written.plain_sha256:
            return OTHER_DIGEST
        return None

    def _judged(self, entries: Sequence[Entry]) -> list[Entry]:
        """Refuse by name and size, and take a refusal back that does not hold any more."""
        judged, changed = [], []
        for entry in entries:
            why = self._refusal(entry.file)
            if why is None and entry.refused not in (TOO_LARGE, UNSAFE_NAME):
                why = entry.refused  # by its content, which is the same
            if why != entry.refused and not entry.is_fetched:
                changed.append((entry, why))
                entry = replace(entry, refused=why)  # noqa: PLW2901 - as the book has it from here on
            judged.append(entry)
        self.book.note_refused(changed)
        return judged

    def _refusal(self, file: RemoteFile) -> str | None:
        if not is_safe(file.name):
            return UNSAFE_NAME
        return TOO_LARGE if file.size_bytes > self.how.limit_bytes else None

    def _is_wanted(self, file: RemoteFile) -> bool:
        if not is_safe(file.name):
            return is_wanted(file.name.rpartition("/")[2], self.how)
        in_manifest = self.how.ready is Ready.MANIFEST and is_manifest(file.name, self.how)
        return is_wanted(file.name, self.how) and not in_manifest

    def _is_whole(self, entry: Entry, whole: object, now: datetime) -> bool:
        if self.how.ready is Ready.STABLE:
            return now - entry.seen_at >= timedelta(seconds=self.how.stable_seconds)
        return self.how.ready is Ready.RENAMED or entry.file.name in (whole or {})  # type: ignore[operator]

    def _named_day(self, name: str) -> date | None:
        if not is_safe(name):
            return None
        return day_by_pattern(name, self.how.day_pattern) if self.how.day_pattern else day_in_name(name)

    def _day(self, file: RemoteFile) -> date | None:
        """The source-day of a file; None if it is not to be fetched for the days that were asked for.

        As for dropped files a day in the future is not believed: it counts as today's.
        """
        named = self._named_day(file.name) if self.source.day_from == "name" else None
        day = self.today if named is None or named > self.today else named
        if day < self.environment.tenant.start:
            return None
        return day if day in self.days or self.today in self.days else None


class _Readers:
    """Threads that read what is due, each over a connection of its own, and seal it as it comes."""

    def __init__(self, fetch: _Fetch, due: Sequence[Due], count: int) -> None:
        self._fetch = fetch
        self._by_file = {one.entry.file: one for one in due}
        self._waiting: queue.SimpleQueue[Due] = queue.SimpleQueue()
        for one in due:
            self._waiting.put(one)
        self._done: queue.Queue[tuple[Due, Written] | BaseException | None] = queue.Queue(maxsize=_BATCH_FILES)
        self._stopped = threading.Event()
        self._running = count
        self.left_out = 0  # files that changed while they were read: the next look finds them
        self.failure: BaseException | None = None
        for number in range(count):
            threading.Thread(target=self._read, name=f"fetch {number}", daemon=True).start()

    def batches(self) -> Iterator[list[tuple[Due, Written]]]:
        """What was read, as much as is there at a time."""
        batch: list[tuple[Due, Written]] = []
        while self._running or batch:
            try:
                one = self._done.get(block=self._running > 0 and not batch, timeout=None)
            except queue.Empty:
                yield batch
                batch = []
                continue
            if one is None:
                self._running -= 1
            elif isinstance(one, BaseException):
                self.failure = self.failure or one
                if not isinstance(one, SourceFailed):
                    raise one
            else:
                batch.append(one)
            size_bytes = sum(written.digest.size_bytes for _, written in batch)
            if len(batch) >= _BATCH_FILES or size_bytes >= _BATCH_BYTES:
                yield batch
                batch = []

    def stop(self) -> None:
        """Let the threads end, and delete what nobody will land."""
        self._stopped.set()
        while self._running:
            one = self._done.get()
            if one is None:
                self._running -= 1
            elif isinstance(one, tuple):
                discard(self._fetch.environment, one[1].file_id)

    def _read(self) -> None:
        fetch = self._fetch
        try:
            with fetch.opened.connect() as remote:
                for file, chunks in remote.read(self._next_files()):
                    try:
                        written = write_aside(fetch.environment, fetch.source_id, uuid4(), chunks)
                    except FileChanged as changed:
                        self.left_out += 1
                        log.warning("file left out: source=%s found=%s", fetch.source_id, changed.found)
                        continue
                    self._done.put((self._by_file[file], written))
        except BaseException as error:
            self._done.put(error)
        finally:
            self._done.put(None)

    def _next_files(self) -> Iterator[RemoteFile]:
        while not self._stopped.is_set():
            try:
                yield self._waiting.get_nowait().entry.file
            except queue.Empty:
                return
