"""Encrypted table files: Parquet with Modular Encryption, one random data key per file, immutable, opaquely named.

Written and read by pyarrow with direct keys (AES_GCM_V1, 256 bits, encrypted footer). The data key is wrapped by the
tenant's keys and kept in the catalogue; the AAD prefix is given from outside and says whose file it is, so a file that
is swapped, moved to another tenant or source, or put back from an older generation does not open.
A file is visible once the catalogue names it: nothing here ever lists a folder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Self
from uuid import UUID, uuid4

import duckdb
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.encryption.aad import ContainerAad, Kind
from actuals_pipelines.encryption.durable import sync_folder
from actuals_pipelines.errors import ActualsError

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from actuals_pipelines.tenants.environment import TenantEnvironment

SEQUENCE = "_sequence"
"""A column that no file holds: the publication a row came with, filled in while scanning."""

_ROW_GROUP = 122_880  # rows: DuckDB's vector batch times 60; small enough to prune, large enough to compress
_LOCAL = pyarrow.fs.LocalFileSystem()
# A dictionary pays for columns of few values. Ids and digests are random: a dictionary trebles the cost of writing
# them and eightfold that of reading them, and zstd gains nothing on them (measured on 1M rows).
_FEW_VALUES = frozenset(
    (
        *("source", "kind", "status", "currency", "unit_id", "booked_on", "value_date"),
        *("side", "reason", "pass", "category", "account", "field", "state"),
    )
)


class FileKind(StrEnum):
    """What a file holds, as `data_file.kind` says it; each has its code in `encryption.aad.Kind`."""

    TRANSACTIONS = "transactions"
    REMOVALS = "removals"
    REJECTS = "rejects"
    PROFILE = "profile"
    CHANGES = "changes"
    STATE = "state"
    RESULTS = "results"


class FileUnreadable(ActualsError):
    """A file that the catalogue names is missing, altered, swapped, or was written under other keys."""

    def __init__(self, file_id: UUID, found: str) -> None:
        super().__init__(file_id, found)
        self.file_id, self.found = file_id, found

    def __str__(self) -> str:
        return (
            f"Data file {self.file_id} cannot be opened: {self.found}. The catalogue names it, so its rows are not "
            "left out silently. Restore the file from the backup that belongs to this database."
        )


@dataclass(frozen=True, slots=True)
class DataFile:
    """One row of `data_file`: what must be known to open one file."""

    id: UUID
    kind: FileKind
    owner_id: UUID  # the source or package it belongs to
    generation_id: UUID  # the generation, publication or close it belongs to
    path: str  # relative to the tenant's prefix
    rows: int
    size_bytes: int
    sha256: bytes
    key_wrapped: bytes


def write(
    env: TenantEnvironment,
    kind: FileKind,
    owner_id: UUID,
    generation_id: UUID,
    data: pa.Table | pa.RecordBatchReader,
) -> DataFile:
    """Write one encrypted file, streaming: aside, synced, then named. The catalogue does not know it yet.

    Returns what `record` inserts into `data_file`. A crash before that leaves a file that nobody sees and
    `garbage.collect_garbage` removes.
    """
    file_id = uuid4()
    aad = file_aad(env, kind, owner_id, generation_id, file_id)
    key = secrets.token_bytes(32)
    folder = env.prefix / owner_id.hex
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{file_id.hex}.parquet"
    aside = folder / f"{file_id.hex}.aside"
    properties = pe.create_encryption_properties(key, aad_prefix=aad, store_aad_prefix=False)
    reader = data.to_reader(max_chunksize=_ROW_GROUP) if isinstance(data, pa.Table) else data
    try:
        with _Hashed(aside) as sink:
            with pq.ParquetWriter(sink, reader.schema, encryption_properties=properties, **_layout(reader.schema)) as w:
                rows = _write_batches(w, reader)
            sink.sync()
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(folder)
    return DataFile(
        file_id,
        kind,
        owner_id,
        generation_id,
        f"{owner_id.hex}/{file_id.hex}.parquet",
        rows,
        sink.size_bytes,
        sink.digest.digest(),
        env.keys.wrap_data_key(key, aad),
    )


def record(connection: sa.Connection, file: DataFile) -> None:
    """Name a file in the catalogue; it becomes visible when the transaction commits."""
    connection.execute(
        sa.insert(tables.data_file).values(
            id=file.id,
            kind=file.kind.value,
            owner_id=file.owner_id,
            generation_id=file.generation_id,
            path=file.path,
            rows=file.rows,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            key_wrapped=file.key_wrapped,
        )
    )


def named(connection: sa.Connection, ids: Sequence[UUID]) -> dict[UUID, DataFile]:
    """The files of these ids, by id."""
    t = tables.data_file
    rows = connection.execute(sa.select(t).where(t.c.id.in_(ids)))
    return {
        r.id: DataFile(
            r.id, FileKind(r.kind), r.owner_id, r.generation_id, r.path, r.rows, r.size_bytes, r.sha256, r.key_wrapped
        )
        for r in rows
    }


def dataset(
    env: TenantEnvironment,
    files: Sequence[DataFile],
    *,
    schema: pa.Schema | None = None,
    sequences: Sequence[int] | None = None,
) -> ds.Dataset:
    """Open exactly these files as one dataset; each has its own key. Nothing is decrypted before it is scanned.

    Args:
        schema: the columns to show; a file that lacks one shows nulls. Without it, the union of the files' columns,
            for which every footer is read.
        sequences: a number per file; adds the column `_sequence` (int64), which costs nothing to store or filter by.
    """
    import pyarrow.dataset as ds  # noqa: PLC0415 - loads pandas: half a second, 100 MB, for who only loads code

    known = schema or unified_schema(env, files)
    shown = known if sequences is None else known.append(pa.field(SEQUENCE, pa.int64()))
    parts = []
    numbers: Sequence[int | None] = [None] * len(files) if sequences is None else sequences
    for file, number in zip(files, numbers, strict=True):
        options = ds.ParquetFragmentScanOptions(decryption_properties=_decryption(env, file))
        if not _place(env, file).is_file():
            raise FileUnreadable(file.id, "the file is missing")
        format_ = ds.ParquetFileFormat(default_fragment_scan_options=options)
        tagged = None if number is None else ds.field(SEQUENCE) == pa.scalar(number, pa.int64())
        fragment = format_.make_fragment(str(_place(env, file)), _LOCAL, partition_expression=tagged)
        parts.append(ds.FileSystemDataset([fragment], shown, format_, _LOCAL))
    return (
        ds.UnionDataset(shown, parts) if parts else ds.dataset(pa.Table.from_batches([], shown))
    )  # `empty_table` knows no list of UUIDs


def unified_schema(env: TenantEnvironment, files: Sequence[DataFile]) -> pa.Schema:
    """The union of the files' columns, in order of first appearance; no files give no columns."""
    return pa.unify_schemas([schema_of(env, file) for file in files]) if files else pa.schema([])


def schema_of(env: TenantEnvironment, file: DataFile) -> pa.Schema:
    """One file's columns, from its encrypted footer."""
    with translated(file):
        return pq.read_schema(_place(env, file), decryption_properties=_decryption(env, file)).remove_metadata()


def read(env: TenantEnvironment, file: DataFile) -> pa.Table:
    """One whole file in memory: for what is small by nature. Large sets go through `dataset`."""
    with translated(file):
        return pq.read_table(_place(env, file), decryption_properties=_decryption(env, file))


def verify(env: TenantEnvironment, file: DataFile) -> None:
    """Read the file's bytes and compare their digest with the catalogue's; needs no key.

    Raises:
        FileUnreadable: missing, or another digest.
    """
    try:
        with _place(env, file).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").digest()
    except FileNotFoundError:
        raise FileUnreadable(file.id, "the file is missing") from None
    if found != file.sha256:
        raise FileUnreadable(file.id, "its digest is not the one in the catalogue")


def file_aad(env: TenantEnvironment, kind: FileKind, owner_id: UUID, generation_id: UUID, file_id: UUID) -> bytes:
    """What a file is bound to: its AAD prefix, and the context in which its data key is wrapped."""
    return ContainerAad(Kind[kind.name], env.ref, file_id, owner_id, generation_id).to_bytes()


@contextmanager
def translated(file: DataFile) -> Iterator[None]:
    """Replace a library's error about one file by ours: theirs may quote what it read."""
    try:
        yield
    except FileNotFoundError:
        raise FileUnreadable(file.id, "the file is missing") from None
    except (OSError, pa.ArrowException):
        raise FileUnreadable(file.id, "it was altered, swapped, or belongs to another tenant or generation") from None


@contextmanager
def scanning(env: TenantEnvironment, files: Sequence[DataFile]) -> Iterator[None]:
    """While these files are scanned together: find the one that a library's error is about, and name it by ours.

    An error for another reason (memory, say) is passed on as it is.
    """
    try:
        yield
    except (OSError, pa.ArrowException, duckdb.Error):
        for file in files:
            verify(env, file)
        raise


def _write_batches(writer: pq.ParquetWriter, reader: pa.RecordBatchReader) -> int:
    """Gather small batches into full row groups, which compress and prune; return the number of rows."""
    rows, waiting, waiting_rows = 0, [], 0
    for batch in reader:
        rows += batch.num_rows
        waiting.append(batch)
        waiting_rows += batch.num_rows
        if waiting_rows >= _ROW_GROUP:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=_ROW_GROUP)
            waiting, waiting_rows = [], 0
    if waiting:
        writer.write_table(pa.Table.from_batches(waiting), row_group_size=_ROW_GROUP)
    return rows


def _layout(schema: pa.Schema) -> dict[str, object]:
    """Per column: a dictionary for few values, zstd for text and numbers, nothing for random ids."""
    compression, ordered = {}, []
    for field in schema:
        nested = pa.types.is_list(field.type)
        inner = field.type.value_type if nested else field.type
        leaf = f"{field.name}.list.element" if nested else field.name
        compression[leaf] = "none" if inner == pa.uuid() and field.name not in _FEW_VALUES else "zstd"
        if inner != pa.uuid():
            ordered.append(leaf)
    return {
        "compression": compression,
        "use_dictionary": [name for name in schema.names if name in _FEW_VALUES],
        # Ids are random: their bounds prune nothing, and where the two are equal Arrow fails to compare UUIDs.
        "write_statistics": ordered,
    }


def _decryption(env: TenantEnvironment, file: DataFile) -> object:
    aad = file_aad(env, file.kind, file.owner_id, file.generation_id, file.id)
    return pe.create_decryption_properties(env.keys.unwrap_data_key(file.key_wrapped, aad), aad_prefix=aad)


def _place(env: TenantEnvironment, file: DataFile) -> Path:
    """Where the file lies. The path comes from a database, so it may not lead out of the tenant's folder."""
    parts = PurePosixPath(file.path).parts
    if len(parts) != 2 or ".." in parts or file.path.startswith("/"):
        raise FileUnreadable(file.id, "its path leads out of the tenant's folder")
    return env.prefix.joinpath(*parts)


class _Hashed:
    """A file being written that counts and hashes what passes; only its owner may read it."""

    def __init__(self, path: Path) -> None:
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size_bytes += memoryview(data).nbytes
        return self._file.write(data)

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        self._file.flush()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        """pyarrow closes its sink; ours stays open until it is synced."""

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
