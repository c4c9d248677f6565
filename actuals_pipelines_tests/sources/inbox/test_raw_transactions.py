"""From bytes to canonical raw transactions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.domain.card_number import holds_card_number
from actuals_pipelines.sources.inbox.bodies import gunzipped, unzstd
from actuals_pipelines.sources.inbox.problems import Refused
from actuals_pipelines.sources.inbox.raw_transactions import read_batch, read_one

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def a_body(data: Any) -> dict[str, Any]:
    return {"source_id": "shop", "id": "order-1", "timestamp": "2026-11-22T10:00:00+01:00", "data": data}


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_spacing_and_the_order_of_keys_do_not_matter_and_nothing_is_lost(data: dict[str, Any]) -> None:
    body = a_body(data)
    if holds_card_number(json.dumps(body, ensure_ascii=False)):
        return

    compact = read_one(json.dumps(body).encode())
    spread = read_one(json.dumps(dict(reversed(body.items())), indent=3, ensure_ascii=False).encode())

    assert compact == spread
    assert b"\n" not in compact.canonical  # one line: landing joins them to NDJSON
    assert json.loads(compact.canonical) == body


@pytest.mark.parametrize("number", ["1.10", "0.1", "12345678901234567.89", "1E+2", "18446744073709551616"])
def test_a_number_keeps_the_digits_it_was_sent_with(number: str) -> None:
    body = json.dumps(a_body({"amount": "X"})).replace('"X"', number).encode()
    assert f'"amount":{number}'.encode() in read_one(body).canonical


@pytest.mark.parametrize(("levels", "is_taken"), [(30, True), (32, False)])
def test_nesting_has_a_bound(levels: int, is_taken: bool) -> None:
    data: Any = "x"
    for _ in range(levels):
        data = {"a": data}
    body = json.dumps(a_body(data)).encode()

    if is_taken:
        assert read_one(body)
    else:
        with pytest.raises(Refused, match="nested"):
            read_one(body)


def test_brackets_in_a_text_are_not_nesting() -> None:
    assert read_one(json.dumps(a_body({"note": "[{" * 100})).encode())


def test_an_empty_line_counts_but_is_no_record() -> None:
    line = json.dumps(a_body({"n": 1})).encode()
    batch = read_batch(b"\n" + line + b"\r\n\n" + line + b"\n", is_ndjson=True, max_rows=10)
    assert (len(batch.records), list(batch.lines)) == (2, [2, 4])


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), min_size=1, max_size=5), st.booleans())
def test_a_batch_read_at_once_is_what_its_records_are_one_by_one(datas: list[dict[str, Any]], is_ndjson: bool) -> None:
    each = [json.dumps(a_body(data)).encode() for data in datas]
    text = b"\n".join(each) if is_ndjson else b"[" + b",".join(each) + b"]"
    batch = read_batch(text, is_ndjson=is_ndjson, max_rows=10)
    singly = []
    for one in each:
        with suppress(Refused):
            singly.append(read_one(one))
    assert list(batch.records) == singly
    assert len(batch.records) + len(batch.errors) == len(each)


@pytest.mark.parametrize(
    "fault",
    [{"timestamp": "2026-13-01T00:00:00Z"}, {"data": {"a": "4111111111111111"}}, {"data": [[]]}, {"id": ""}],
    ids=["an instant that is none", "a card number", "another type", "too short"],
)
def test_every_fault_of_a_batch_is_found_beside_what_is_right(fault: dict[str, Any]) -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    bodies = [a_body({"n": 1}), a_body({"n": 2}) | fault, a_body({"n": 3}), a_body({"deep": deep})]
    batch = read_batch(json.dumps(bodies).encode(), is_ndjson=False, max_rows=10)
    assert ([error.line for error in batch.errors], list(batch.lines)) == ([2, 4], [1, 3])


def test_a_batch_has_a_bound_of_records() -> None:
    line = json.dumps(a_body({"n": 1})).encode()
    with pytest.raises(Refused, match="too large"):
        read_batch(b"\n".join([line] * 11), is_ndjson=True, max_rows=10)


@pytest.mark.parametrize(
    ("compress", "inflate"), [(gzip.compress, gunzipped), (zstandard.compress, unzstd)], ids=["gzip", "zstd"]
)
def test_several_members_are_read_to_their_end_and_bounded_as_a_whole(
    compress: Callable[[bytes], bytes], inflate: Callable[[bytes, int], bytes]
) -> None:
    two = compress(b"a" * 600) + compress(b"b" * 600)
    assert inflate(two, 1200) == b"a" * 600 + b"b" * 600
    for cut in (two[:-3], two[:5], b""):
        with pytest.raises(Refused, match="cannot be read"):
            inflate(cut, 1200)
    with pytest.raises(Refused, match="more than 1199"):
        inflate(two, 1199)
    with pytest.raises(Refused, match="more than 1000"):
        inflate(compress(b" " * (100 << 20)), 1000)


def test_many_small_elements_take_no_memory() -> None:
    with pytest.raises(Refused, match="too large"):
        read_batch(b"[" + b"1," * 3_000_000 + b"1]", is_ndjson=False, max_rows=10_000)
    with pytest.raises(Refused, match="too large"):
        read_batch(b"\n" * 3_000_000, is_ndjson=True, max_rows=10_000)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    for read in (
        lambda: read_one(body),
        lambda: read_batch(body, is_ndjson=True, max_rows=10),
        lambda: read_batch(body, is_ndjson=False, max_rows=10),
        lambda: gunzipped(body, 100),
        lambda: unzstd(body, 100),
    ):
        with suppress(Refused):
            read()
