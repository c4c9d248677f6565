"""CSV as banks and shops write it: what is read, what becomes a reject, what is refused and how that is said."""

from __future__ import annotations

import io
from typing import Any

import pytest

from actuals_pipelines.readers import FileEmpty, FileRefused, OptionRefused, Reading, open_reader


def begin(content: bytes | str, **options: str) -> Reading:
    data = content.encode() if isinstance(content, str) else content
    return open_reader("csv").read(io.BytesIO(data), options)


def rows(content: bytes | str, **options: str) -> list[dict[str, Any]]:
    return begin(content, **options).table().to_pylist()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
def test_every_field_is_text_under_its_header_with_its_line(line_end: str) -> None:
    read = rows(line_end.join(["id,amount", "0012,1.50", '"a,b",', ""]))

    assert read == [{"id": "0012", "amount": "1.50", "_line": 2}, {"id": "a,b", "amount": None, "_line": 3}]


def test_a_quoted_line_end_does_not_shift_the_lines_that_follow() -> None:
    """Lines are what an editor shows, so that a person finds the record."""
    reading = begin('id,text\n1,"two\nlines"\n2\n3,"three\n\nlines"\n4,5,6\n5,end\n')

    read = reading.table().to_pylist()

    assert [(row["id"], row["_line"]) for row in read] == [("1", 2), ("3", 5), ("5", 9)]
    assert reading.rejects == [(4, "", "expected 2 fields, found 1"), (8, "", "expected 2 fields, found 3")]


def test_lines_stay_right_over_many_blocks_of_bytes() -> None:
    lines = ["id,text"]
    for number in range(200_000):
        lines.append(f"{number}" if number % 1000 == 7 else f'{number},"{number} {"x" * 20}{chr(10) * (number % 3)}"')
    text = "\n".join(lines) + "\n"
    physical = text.split("\n")

    reading = begin(text)
    table = reading.table()

    assert table.num_rows == 199_800
    assert all(
        physical[line - 1].startswith(f'{number},"')
        for line, number in zip(table["_line"].to_pylist(), table["id"].to_pylist(), strict=True)
    )
    assert [physical[line - 1] for line, _, _ in reading.rejects] == [f"{n}" for n in range(7, 200_000, 1000)]


def test_blank_lines_hold_nothing_and_still_count_as_lines() -> None:
    assert [row["_line"] for row in rows("id,amount\n\n1,2\n\n\n3,4\n")] == [3, 6]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
def test_the_delimiter_is_found_by_its_steady_column_count(delimiter: str) -> None:
    reading = begin(delimiter.join(["id", "text", "amount"]) + "\n" + delimiter.join(["1", '"a, b; c"', "2"]) + "\n")

    assert reading.notes["delimiter"] == delimiter


def test_a_delimiter_that_cannot_be_told_is_asked_for() -> None:
    with pytest.raises(FileRefused, match="delimiter"):
        begin("a;b,c\n1;2,3\n")

    assert rows("a;b,c\n1;2,3\n", delimiter=";")[0]["b,c"] == "2,3"


def test_utf8_is_taken_with_and_without_its_mark() -> None:
    assert rows("\ufeffnaam\nJosé\n".encode()) == rows("naam\nJosé\n".encode()) == [{"naam": "José", "_line": 2}]
    assert rows("naam\nJosé\n".encode("utf-16")) == [{"naam": "José", "_line": 2}]


def test_what_is_not_utf8_needs_the_code_page_that_the_source_states() -> None:
    content = "naam,plaats\nA,B\nJosé,Besançon\n".encode("cp1252")

    with pytest.raises(FileRefused, match=r"line 3.*UTF-8.*cp1252"):
        rows(content)
    assert rows(content, encoding="cp1252")[1] == {"naam": "José", "plaats": "Besançon", "_line": 3}
    assert rows("naam\nJosé\n".encode(), encoding="cp1252")[0]["naam"] == "José"  # UTF-8 is tried first


def test_an_encoding_that_does_not_exist_is_named_as_an_option() -> None:
    with pytest.raises(OptionRefused, match="encoding"):
        begin("a\n1\n", encoding="latin-17")


def test_an_empty_file_is_refused_and_a_header_alone_is_a_file_without_records() -> None:
    for content in ("", "  \n\n"):
        with pytest.raises(FileEmpty, match="empty"):
            begin(content)

    reading = begin("id,amount\n")
    assert reading.table().num_rows == 0
    assert reading.schema.names == ["id", "amount", "_line"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\n <HTML><body>", "HTML"),
        (b"<?xml version='1.0'?>", "XML"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\xd0\xcf\x11\xe0rest", "Excel"),
        (b"\x1f\x8b\x08rest", "gzip"),
        (b"a,b\n1,\x00\n", "NUL"),
    ],
)
def test_what_is_not_csv_is_called_what_it_is(content: bytes, kind: str) -> None:
    with pytest.raises(FileRefused, match=kind):
        rows(content)


def test_a_column_named_twice_is_refused_by_its_places() -> None:
    with pytest.raises(FileRefused, match="columns 1, 3 have the same name"):
        begin("amount,id,amount\n1,2,3\n")


def test_lines_above_the_header_are_skipped_where_the_source_says_how_many() -> None:
    assert rows("Account: X\n\nid;amount\n1;2\n", skip_rows="2") == [{"id": "1", "amount": "2", "_line": 4}]


@pytest.mark.parametrize(
    "content",
    ['id,text\n1,"cut off', 'id,text\n1,"cut off\n2,more\n', 'id,text\n1,a\n2,"b\nc\nd,e'],
    ids=["in the last line", "over whole lines", "with line ends before"],
)
def test_a_file_cut_off_inside_quotes_does_not_pass_for_whole(content: str) -> None:
    with pytest.raises(FileRefused, match="inside a quoted field"):
        rows(content)


def test_a_bare_quote_in_an_unquoted_field_is_only_a_character() -> None:
    assert [row["text"] for row in rows('id,text\n1,5" pipe\n2,"two\nlines"\n')] == ['5" pipe', "two\nlines"]


def test_a_record_beyond_the_bound_is_refused_and_not_read_into_memory() -> None:
    with pytest.raises(FileRefused, match="longer than"):
        rows('id,text\n1,"' + "x" * 12_000_000 + '"\n2,b\n')


def test_a_field_beyond_the_bound_rejects_its_record() -> None:
    reading = begin("id,text\n1,a\n2," + "x" * 1_100_000 + "\n3,c\n")

    assert [row["id"] for row in reading.table().to_pylist()] == ["1", "3"]
    assert reading.rejects == [(3, "text", "longer than 1048576 bytes")]


def test_no_message_holds_a_value() -> None:
    reading = begin("id,amount\nSECRET,1,2\n")
    reading.table()

    assert "SECRET" not in str(reading.rejects)
    with pytest.raises(FileRefused) as refusal:
        rows("id,amount\nSECRET,\xe9\n".encode("latin-1"))
    assert "SECRET" not in str(refusal.value)
