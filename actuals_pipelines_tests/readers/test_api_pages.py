"""The pages of a pull become records; what is cut or foreign is refused as a whole."""

from __future__ import annotations

import io
import json

import pytest

from actuals_pipelines.readers.api_pages import ApiPagesReader
from actuals_pipelines.readers.reading import FileEmpty, FileRefused, Reading
from actuals_pipelines.tables import LINE


def test_records_of_all_pages_follow_one_another_with_their_endpoint() -> None:
    reading = _read(("payments", b'{"data":[{"id":"a"},{"id":"b"}]}'), ("payouts", b'{"data":[{"id":"c","ref":"TX"}]}'))

    assert reading.table().to_pylist() == [
        {"id": "a", "_endpoint": "payments", "ref": None, LINE: 1},
        {"id": "b", "_endpoint": "payments", "ref": None, LINE: 2},
        {"id": "c", "_endpoint": "payouts", "ref": "TX", LINE: 3},
    ]


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ('"12.30"', "12.30"),
        ("12.30", "12.30"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("true", "true"),
        ("null", None),
        ('""', None),
        ('" x "', "x"),
        ('{"value": "1.5", "list": [1]}', '{"value":"1.5","list":[1]}'),
        ('"J\\u00fcrgen \\ud83d\\ude00"', "Jürgen 😀"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_values_keep_what_was_sent_as_text(sent: str, text: str | None) -> None:
    [row] = _read(("payments", f'{{"data":[{{"v": {sent}}}]}}'.encode())).table().to_pylist()

    assert row["v"] == text


def test_a_day_without_records_is_empty_and_not_an_error() -> None:
    assert _read(("payments", b'{"data":[]}'), ("payouts", b'{"data":[]}')).table().num_rows == 0


def test_a_record_that_is_no_object_is_a_reject_with_its_number() -> None:
    reading = _read(("payments", b'{"data":[{"id":"a"},7,{"id":"c"}]}'))

    assert reading.table()[LINE].to_pylist() == [1, 3]
    assert reading.rejects == [(2, "", "not a JSON object")]


def test_a_field_beyond_the_bound_is_a_reject_and_the_others_stay() -> None:
    long = json.dumps({"data": [{"id": "a"}, {"id": "b" * (1 << 20 | 1)}, {"id": "c"}]}).encode()

    reading = _read(("payments", long))

    assert reading.table()["id"].to_pylist() == ["a", "c"]
    assert [line for line, _, _ in reading.rejects] == [2]


def test_a_list_deeper_in_the_answer_is_found_by_its_path() -> None:
    content = _container([("payments", b'{"_embedded":{"payments":[{"id":"a"}]}}')], path="_embedded.payments")

    assert ApiPagesReader().read(io.BytesIO(content), {}).table()["id"].to_pylist() == ["a"]


def test_nothing_is_an_empty_file() -> None:
    with pytest.raises(FileEmpty):
        ApiPagesReader().read(io.BytesIO(b""), {})


@pytest.mark.parametrize("cut", [1, 20, 60, 120, 160, 190, 220])
def test_half_a_pull_is_refused_wherever_it_was_cut(cut: int) -> None:
    content = _container([("payments", b'{"data":[{"id":"a"}]}'), ("payouts", b'{"data":[]}')])

    with pytest.raises(FileRefused):
        ApiPagesReader().read(io.BytesIO(content[:-cut]), {})


@pytest.mark.parametrize(
    "content",
    [
        b'{"data":[{"id":"a"}]}\n',
        b'{"actuals_api_pages": 2, "records": {}}\n{"end": true, "pages": 0}\n',
        b'{"actuals_api_pages": 1, "records": {}}\n{"endpoint": "x", "size": 1}\n1\n{"end": true, "pages": 1}\n',
        b'{"actuals_api_pages": 1, "records": {"x": "d"}}\n{"endpoint": "x", "size": 99999999999}\n1\n',
        b'{"actuals_api_pages": 1, "records": {}}\n{"end": true, "pages": 0}\nmore',
        b'{"actuals_api_pages": 1, "records": {"x": "d"}}\n{"endpoint": "x", "size": 2}\n{}\n{"end": true}\n',
        b'{"actuals_api_pages": 1, "records": {"x": "d"}}\n{"endpoint": "x", "size": 2}\n{{\n{"end": true}\n',
    ],
    ids=["no head", "version", "endpoint", "size", "after the end", "no list", "no JSON"],
)
def test_what_our_pull_did_not_write_is_refused(content: bytes) -> None:
    with pytest.raises(FileRefused):
        ApiPagesReader().read(io.BytesIO(content), {})


def test_deep_nesting_is_refused_and_does_not_crash() -> None:
    with pytest.raises(FileRefused):
        _read(("payments", b'{"data":' + b"[" * 200_000 + b"]" * 200_000 + b"}"))


def _read(*pages: tuple[str, bytes]) -> Reading:
    return ApiPagesReader().read(io.BytesIO(_container(list(pages))), {})


def _container(pages: list[tuple[str, bytes]], path: str = "data") -> bytes:
    """As sources/oauth_api/container.py writes it."""
    head = {"actuals_api_pages": 1, "connector": "psp", "records": {name: path for name, _ in pages}}
    lines = [json.dumps(head).encode() + b"\n"]
    for number, (name, body) in enumerate(pages, 1):
        lines += [json.dumps({"endpoint": name, "page": number, "size": len(body)}).encode() + b"\n", body, b"\n"]
    return b"".join([*lines, json.dumps({"end": True, "pages": len(pages)}).encode() + b"\n"])
