"""What one source's connection needs to be trusted both ways: our own key pair, and the server's accepted host key."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database.tables import sftp_connection
from actuals_pipelines.encryption.columns import open_column, seal_column
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.sources.sftp_remote.session import fingerprint
from actuals_pipelines.tenants import audit


@dataclass(frozen=True, slots=True)
class SftpKeys:
    """One source's row of `sftp_connection`, as role `app`."""

    engine: sa.Engine
    keys: TenantKeys
    source_id: UUID

    def public_key(self) -> str:
        """Our half for the server's owner, "ssh-ed25519 AAAA..."; the pair is made at the first call."""
        row = self._row()
        if row is None or row.public_key is None:
            self._make()
            row = self._row()
        assert row is not None  # noqa: S101 - it was made just now, by us or by another
        return str(row.public_key)

    def private_key(self) -> str:
        """Our secret half, in OpenSSH's format; the pair is made at the first call."""
        self.public_key()
        row = self._row()
        assert row is not None  # noqa: S101 - as above
        return open_column(self.keys, "sftp_connection", "private_sealed", self.source_id, row.private_sealed).decode()

    def host_key(self) -> str | None:
        """The server's accepted key, "ssh-ed25519 AAAA..."; None before the first was accepted."""
        row = self._row()
        return None if row is None else row.host_key

    def accept_host_key(self, host_key: str) -> None:
        """Trust this key from now on, in the place of the one before; audited with both fingerprints."""
        before = self.host_key()
        values: dict[str, object] = {"host_key": host_key, "refused_host_key": None, "changed_at": sa.func.now()}
        with self.engine.begin() as connection:
            self._put(connection, values)
            told = f"{fingerprint(host_key)} in place of {fingerprint(before) if before else 'none'}"
            audit.record(connection, "source.host_key.accept", f"{self.source_id} {told}")

    def note_refused(self, offered: str | None) -> None:
        """Keep the fingerprint that was refused, for the alert; None when the accepted key is shown again."""
        c = sftp_connection.c
        its = (c.source_id == self.source_id) & c.refused_host_key.is_distinct_from(offered)
        with self.engine.begin() as connection:
            connection.execute(sa.update(sftp_connection).where(its).values(refused_host_key=offered))

    def _row(self) -> sa.Row[tuple[object, ...]] | None:
        query = sa.select(sftp_connection).where(sftp_connection.c.source_id == self.source_id)
        with self.engine.connect() as connection:
            return connection.execute(query).first()

    def _make(self) -> None:
        pair = Ed25519PrivateKey.generate()
        private = pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        public = pair.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        sealed = seal_column(self.keys, "sftp_connection", "private_sealed", self.source_id, private)
        with self.engine.begin() as connection:
            # Whoever was quicker stands: its public half may have been handed over already.
            self._put(connection, {"public_key": public, "private_sealed": sealed}, only_if_none="public_key")
            audit.record(connection, "source.key_pair.make", self.source_id)

    def _put(self, connection: sa.Connection, values: dict[str, object], only_if_none: str | None = None) -> None:
        statement = insert(sftp_connection).values(source_id=self.source_id, **values)
        where = None if only_if_none is None else sftp_connection.c[only_if_none].is_(None)
        connection.execute(statement.on_conflict_do_update(index_elements=["source_id"], set_=values, where=where))
