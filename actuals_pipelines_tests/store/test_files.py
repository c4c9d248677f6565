"""Encrypted files: who can open them, and who cannot."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa
import pytest

from actuals_pipelines.encryption.keyring import DataKeyRefused
from actuals_pipelines.store import files
from actuals_pipelines.store.files import FileKind, FileUnreadable
from actuals_pipelines_tests.store.environment import Files, a_tenant_with_files, payments

PSP, GENERATION = uuid4(), uuid4()


@pytest.fixture
def acme(tmp_path: Path) -> Any:
    return a_tenant_with_files(tmp_path)


def a_file(env: Any, table: pa.Table | None = None) -> files.DataFile:
    return files.write(env, FileKind.TRANSACTIONS, PSP, GENERATION, payments(100) if table is None else table)


def test_what_is_written_is_read_back_equal(acme: Any) -> None:
    """Ids, lists of ids and empty values survive; the row count and digest are the catalogue's."""
    table = payments(100, -250, 0).append_column(
        "keys_order_in_text", pa.array([[b"1" * 16], None, []], pa.list_(pa.binary(16))).cast(pa.list_(pa.uuid()))
    )

    file = a_file(acme, table)

    assert files.read(acme, file).equals(table)
    assert (file.rows, file.path) == (3, f"{PSP.hex}/{file.id.hex}.parquet")
    files.verify(acme, file)


def test_a_stream_becomes_one_file_of_full_row_groups(acme: Any) -> None:
    """Batches of a reader are gathered, so that many small ones do not make many small row groups."""
    batches = [payments(*range(1000)).to_batches()[0] for _ in range(300)]
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)

    file = a_file(acme, reader)  # type: ignore[arg-type]

    assert file.rows == 300_000
    assert files.dataset(acme, [file]).count_rows() == 300_000


def test_nothing_readable_and_no_name_is_in_a_file(acme: Any) -> None:
    """Column names, currencies and ids are under the encrypted footer."""
    file = a_file(acme, payments(1, 2, currency="KWD"))

    content = (acme.prefix / file.path).read_bytes()

    assert content[:4] == b"PARE"
    assert not any(word in content for word in (b"amount_minor_units", b"KWD", b"currency"))
    assert (acme.prefix / file.path).stat().st_mode & 0o777 == 0o600


def test_files_with_their_own_keys_are_one_dataset_with_a_sequence(acme: Any) -> None:
    """The number comes from the catalogue while scanning; a column that an older file lacks is null there."""
    old = a_file(acme, payments(1, 2))
    new = a_file(acme, payments(3).append_column("reference", pa.array(["a"])))

    union = files.dataset(acme, [old, new], sequences=[7, 9])

    connection = duckdb.connect()
    connection.register("u", union)
    assert connection.sql(
        "select _sequence, reference, sum(amount_minor_units) from u group by all order by 1"
    ).fetchall() == [
        (7, None, 3),
        (9, "a", 3),
    ]
    assert connection.sql("select amount_minor_units from u where _sequence > 7").fetchall() == [(3,)]


def test_no_files_are_an_empty_dataset_of_the_schema(acme: Any) -> None:
    """A source without live rows is an empty table, not an error."""
    assert files.dataset(acme, [], schema=payments().schema).count_rows() == 0


def test_another_tenants_keys_open_nothing(acme: Any, tmp_path: Path) -> None:
    """B's process with A's file and A's catalogue row still has only B's keys."""
    file = a_file(acme)
    other = a_tenant_with_files(tmp_path)
    shutil.copytree(acme.prefix, other.prefix, dirs_exist_ok=True)

    with pytest.raises(DataKeyRefused):
        files.read(other, file)


def test_the_same_tenants_test_environment_opens_nothing_of_prod(acme: Any) -> None:
    """Even with the same keys, the environment is in what a file is bound to."""
    file = a_file(acme)
    test = Files(replace(acme.ref, environment="test"), acme.keys, acme.prefix)

    with pytest.raises(DataKeyRefused):
        files.read(test, file)  # type: ignore[arg-type]


def test_a_file_put_in_another_tenants_place_is_refused(acme: Any, tmp_path: Path) -> None:
    """A's bytes under the path that B's catalogue names."""
    other = a_tenant_with_files(tmp_path)
    mine, theirs = a_file(acme), a_file(other)
    shutil.copyfile(acme.prefix / mine.path, other.prefix / theirs.path)

    with pytest.raises(FileUnreadable, match="altered, swapped"):
        files.read(other, theirs)


def test_an_old_generation_put_back_is_refused(acme: Any) -> None:
    """Same tenant, same source, even the old file's own wrapped key: the file's id differs."""
    old, new = a_file(acme, payments(1)), a_file(acme, payments(2))
    shutil.copyfile(acme.prefix / old.path, acme.prefix / new.path)

    with pytest.raises(FileUnreadable):
        files.read(acme, new)
    with pytest.raises(DataKeyRefused):
        files.read(acme, replace(new, key_wrapped=old.key_wrapped))


def test_one_flipped_byte_anywhere_is_noticed(acme: Any) -> None:
    """In pages and footer; the first four bytes are a mark that no reader needs. The digest notices all."""
    file = a_file(acme, payments(*range(5000)))
    path = acme.prefix / file.path
    whole = path.read_bytes()

    for position in (4, len(whole) // 3, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(FileUnreadable):
            files.read(acme, file)
        with pytest.raises(FileUnreadable, match="digest"):
            files.verify(acme, file)


def test_a_missing_file_is_an_error_and_never_fewer_rows(acme: Any) -> None:
    """Rows that the catalogue names are not left out silently."""
    file = a_file(acme)
    (acme.prefix / file.path).unlink()

    for attempt in (files.read, files.verify, lambda env, f: files.dataset(env, [f], schema=payments().schema)):
        with pytest.raises(FileUnreadable, match="missing"):
            attempt(acme, file)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/x.parquet", "a/b/c.parquet", "x.parquet"])
def test_a_path_from_the_database_may_not_lead_out(acme: Any, path: str) -> None:
    """The catalogue's text is not trusted with the rest of the disk."""
    with pytest.raises(FileUnreadable, match="leads out"):
        files.verify(acme, replace(a_file(acme), path=path))


def test_a_stream_that_breaks_leaves_nothing_behind(acme: Any) -> None:
    """A failed write leaves neither a file nor its half."""

    def breaking() -> Any:
        yield payments(*range(200_000)).to_batches()[0]
        raise RuntimeError("reader broke")

    with pytest.raises(RuntimeError):
        a_file(acme, pa.RecordBatchReader.from_batches(payments().schema, breaking()))  # type: ignore[arg-type]

    assert list((acme.prefix / PSP.hex).iterdir()) == []
