"""The rows that make uploads arrivals, and hold their keys: from its commit on landing finds and opens a file.

A file without a row is garbage that nobody can open, and is collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from actuals_pipelines.database.tables import arrival as arrival_table
from actuals_pipelines.encryption.columns import seal_to_public
from actuals_pipelines.sources.sftp.errors import UploadRefused
from actuals_pipelines.sources.sftp.upload import Whole, relative_path

NAME_KIND = "arrival.name"
"""What a sealed file name is called when it is sealed and opened (`encryption.columns`)."""


class ArrivalRefused(UploadRefused):
    """The row was not written; the file is not kept."""


class ArrivalUncertain(UploadRefused):
    """The server went away during COMMIT: the row may be there, so the file is kept. A repeat is known by its MAC."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file that is whole, about to be named in a row."""

    id: UUID
    source_id: UUID | None  # None: no source claims it
    user: str
    name: str  # the customer's name for it: written sealed alone
    whole: Whole


def record(engine: sa.Engine, public_key: bytes, arrivals: Sequence[Arrival]) -> None:
    """Write the rows of one tenant in one transaction. Raises ArrivalRefused, ArrivalUncertain."""
    rows = [_row(public_key, arrival) for arrival in arrivals]
    advice = "Send the file again later; the operator is told."
    try:
        with engine.connect() as connection:
            connection.execute(sa.insert(arrival_table), rows)
            try:
                connection.commit()
            except sa.exc.SQLAlchemyError as error:
                raise ArrivalUncertain("The store went away while it confirmed the file", advice) from error
    except sa.exc.SQLAlchemyError as error:
        raise ArrivalRefused("The store does not answer", advice) from error


def _row(public_key: bytes, arrival: Arrival) -> dict[str, object]:
    return {
        "id": arrival.id,
        "door": "sftp",
        "source_id": arrival.source_id,
        "delivery": f"{arrival.user}/{arrival.id.hex}",
        "name_sealed": seal_to_public(public_key, NAME_KIND, arrival.id, arrival.name.encode()),
        "path": relative_path(arrival.id),
        "size_bytes": arrival.whole.size_bytes,
        "container_sha256": arrival.whole.container_sha256,
        "sealed_key": arrival.whole.sealed_key,
        "content_mac": arrival.whole.content_mac,
    }
