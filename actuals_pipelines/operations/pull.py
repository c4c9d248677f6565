"""Pull a source's day from its API and land the pages, byte for byte as they came."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from actuals_pipelines.database import units
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.landing import land
from actuals_pipelines.sources.oauth_api import Credentials, DatabaseTokenStore, load_connector, page_container, pull
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.tenants.secrets import get_secret


def land_pull(environment: TenantEnvironment, source: Source, day: date, *, now: datetime) -> Unit:
    """Ask the source's API for a day and land its answer as one unit; half a pull leaves nothing.

    Raises:
        SecretMissing: the source names a secret that was never set.
        Transient, Terminal (`sources.failures`): may be asked again later, or not.
    """
    connector = load_connector(source.connector or "")
    connection = dict(source.connection)
    with environment.engine.begin() as database:
        source_id = units.source_id(database, source.name)
    credentials = Credentials(
        client_id=connection.get("client_id", ""),
        client_secret=get_secret(environment, connection.get("client_secret", "")).decode(),
    )
    pages = pull(
        connector,
        connection,
        credentials,
        DatabaseTokenStore(environment.engine, environment.keys, source_id),
        day,
        ca_file=Path(connection["ca_file"]) if "ca_file" in connection else None,
        now=lambda: datetime.now(UTC),
    )
    stream = io.BufferedReader(_Stream(page_container(connector, pages)), buffer_size=1 << 20)
    delivery = f"pull {day.isoformat()} at {now.isoformat(timespec='seconds')}"
    return land(environment, source, stream, door="pull", delivery=delivery, partition=day)


class _Stream(io.RawIOBase):
    """Pieces of bytes as a stream; what making a piece raises comes through."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces: Iterator[bytes] = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed: any buffer
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
