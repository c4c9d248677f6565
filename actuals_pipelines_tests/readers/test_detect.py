"""Formats are found by content; other kinds are named; archives are unpacked within limits."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import Any

import pytest

from actuals_pipelines.readers import FileEmpty, FileRefused
from actuals_pipelines.readers.detect import detect
from actuals_pipelines.readers.packed import unpack
from actuals_pipelines.readers.parts import read_parts
from actuals_pipelines_tests.readers import test_bai2, test_berlin_group, test_camt, test_ofx, test_readers

MT940 = b":20:START\r\n:25:NL02ABNA0123456789\r\n:28C:1/1\r\n:60F:C260131EUR100,00\r\n:62F:C260131EUR100,00\r\n-"
MT942 = b":20:START\r\n:25:NL02ABNA0123456789\r\n:28C:1/1\r\n:34F:EUR0,00\r\n:13D:2601311200+0100\r\n-"


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (test_camt.document(test_camt.statement()), "camt053"),
        (test_bai2.statement(), "bai2"),
        (b"\n\n" + test_ofx.document(), "ofx"),
        (test_ofx.document(header=test_ofx.XML), "ofx"),
        (test_ofx.document(header=test_ofx.XML, encoding="utf-16"), "ofx"),
        (test_berlin_group.answer(booked=[]), "berlin_group"),
        (MT940, "mt940"),
        (b"{1:F01ABNANL2AXXXX}{2:O940}{4:\r\n" + MT940 + b"}", "mt940"),
        (MT942, "mt942"),
        (b'{"a": 1}\n{"a": 2}\n', "ndjson"),
        (b'{"actuals_api_pages": 1, "records": {}}\n{"end": true, "pages": 0}\n', "api_pages"),
        (b"PAR1....", "parquet"),
        (b'{"unknown": {\n}}', "json"),
        (b"a;b\n1;2\n", "csv"),
        (b"\xef\xbb\xbfDatum;Betrag\n", "csv"),
        (b"01,02\n03,04\n", "csv"),
    ],
)
def test_content_tells_the_format(data: bytes, format: str) -> None:
    assert detect(data) == format


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7", "PDF"), (b"\x89PNG\r\n", "PNG"), (b"\x7fELF", "program"), (b"MZ\x90", "Windows program"),
        (b"<!DOCTYPE html><html>", "HTML"), (b"<table><tr>", "HTML"), (b"<pain><CstmrCdtTrfInitn>", "pain.001"),
        (b"<?xml version='1.0'?><other/>", "XML"), (b"From\x00\x01", "binary"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "password"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "Word"),
        (b"-----BEGIN PGP MESSAGE-----", "PGP"), (b"UNB+UNOA", "EDIFACT"), (b"7z\xbc\xaf\x27\x1c", "7z"),
    ],
)  # fmt: skip
def test_another_kind_is_named(data: bytes, kind: str) -> None:
    with pytest.raises(FileRefused, match=kind):
        detect(data)


def test_what_fits_two_formats_is_refused_with_both() -> None:
    with pytest.raises(FileRefused, match="camt052 and camt053"):
        detect(b"<Document><BkToCstmrStmt></BkToCstmrStmt><BkToCstmrAcctRpt></BkToCstmrAcctRpt></Document>")


def packed(data: bytes, format: str | None = None) -> list[tuple[str, bytes]]:
    return [(each.format, each.stream.read()) for each in unpack(io.BytesIO(data), format)]


def archive(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return out.getvalue()


TABLE = b"a;b\n1;2\n"


def test_packed_files_are_what_they_were() -> None:
    assert packed(TABLE) == [("csv", TABLE)]
    assert packed(gzip.compress(TABLE)) == [("csv", TABLE)]
    assert packed(gzip.compress(TABLE) + gzip.compress(TABLE)) == [("csv", TABLE * 2)]
    files = {"a.csv": TABLE, "b.sta": MT940, "__MACOSX/a.csv": b"x", "folder/.DS_Store": b"x"}
    assert packed(archive(files)) == [("csv", TABLE), ("mt940", MT940)]


def test_a_workbook_is_a_file_and_no_archive() -> None:
    book = test_readers.workbook({"one": [["a", "b"], [1, 2]]})

    assert packed(book) == [("xlsx", book)]
    assert packed(archive({"book.xlsx": book})) == [("xlsx", book)]
    assert packed(gzip.compress(book), "xlsx") == [("xlsx", book)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (gzip.compress(gzip.compress(TABLE)), "inside an archive"),
        (archive({"a.zip": archive({"a.csv": TABLE})}), "inside an archive"),
        (archive({f"{n}.csv": TABLE for n in range(1_001)}), "more than 1000 files"),
        (archive({"word/document.xml": b"<a/>"}), "Word"),
        (gzip.compress(TABLE)[:-12], "half a gzip"),
        (gzip.compress(TABLE * 1000)[:20] + b"\xff" * 20, "damaged"),
        (archive({"a.csv": TABLE * 100})[:-30], "damaged"),
        (archive({"a.csv": b"%PDF-1.4"}), "PDF"),
    ],
    ids=["gzip in gzip", "zip in zip", "many", "word", "half", "damaged gzip", "damaged zip", "pdf"],
)
def test_an_archive_that_is_not_one_of_files_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        packed(data)


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: archive({"a.csv": data})], ids=["gzip", "zip"])
def test_a_bomb_is_refused_before_it_is_unpacked(pack: Any) -> None:
    bomb = pack(b"a;b\n" + bytes(b"1" * (200 << 20)))

    [file] = unpack(io.BytesIO(bomb))
    taken = 0
    with pytest.raises(FileRefused, match="200 times"):
        while part := file.stream.read(1 << 20):
            taken += len(part)

    assert taken <= 64 << 20


def test_an_archive_under_a_password_is_refused() -> None:
    data = bytearray(archive({"a.csv": TABLE}, zipfile.ZIP_STORED))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1

    with pytest.raises(FileRefused, match="password"):
        packed(bytes(data))


def test_an_empty_archive_is_empty() -> None:
    with pytest.raises(FileEmpty):
        packed(archive({}))


def test_json_without_a_reader_is_refused_as_such() -> None:
    with pytest.raises(FileRefused, match="JSON document of a kind"):
        next(read_parts(io.BytesIO(b'{"unknown": {\n}}'), {}))
