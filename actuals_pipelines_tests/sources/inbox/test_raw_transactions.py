"""From bytes to canonical raw transactions."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.domain.card_number import holds_card_number
from actuals_pipelines.sources.inbox.problems import Refused
from actuals_pipelines.sources.inbox.raw_transactions import inflated, read_batch, read_one

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
    records, lines = read_batch(b"\n" + line + b"\r\n\n" + line + b"\n", is_ndjson=True, max_rows=10)
    assert (len(records), lines) == (2, [2, 4])


def test_a_batch_has_a_bound_of_records() -> None:
    line = json.dumps(a_body({"n": 1})).encode()
    with pytest.raises(Refused, match="too large"):
        read_batch(b"\n".join([line] * 11), is_ndjson=True, max_rows=10)


def test_gzip_of_several_members_is_read_to_its_end_and_bounded_as_a_whole() -> None:
    two = gzip.compress(b"a" * 600) + gzip.compress(b"b" * 600)
    assert inflated(two, 1200) == b"a" * 600 + b"b" * 600
    with pytest.raises(Refused, match="more than 1199"):
        inflated(two, 1199)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    for read in (
        lambda: read_one(body),
        lambda: read_batch(body, is_ndjson=True, max_rows=10),
        lambda: read_batch(body, is_ndjson=False, max_rows=10),
        lambda: inflated(body, 100),
    ):
        with suppress(Refused):
            read()
