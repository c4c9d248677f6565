"""What an answer says about the next page, by strategy; and what a pause's length is taken from."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from actuals_pipelines.sources.oauth_api.answers import retry_after
from actuals_pipelines.sources.oauth_api.connector import (
    ConnectorBroken,
    Endpoint,
    Paging,
    PagingStrategy,
    connector_names,
    load_connector,
    read_connector,
)
from actuals_pipelines.sources.oauth_api.failures import AnswerRefused, AnswerUnreadable
from actuals_pipelines.sources.oauth_api.paging import PageRequest, first_request, next_request, read_page

BY_CURSOR = Paging(PagingStrategy.CURSOR, next="paging.next", parameter="after", limit_parameter="size")
BY_LINK = Paging(PagingStrategy.LINK, next="_links.next.href")
PAYMENTS = Endpoint("payments", "/v2/payments", "_embedded.payments", "from", "until", {"embed": "fees"})
MINIMAL = b"""
name: tiny
title: Tiny
authentication: {grant: client_credentials, token_path: /token}
endpoints: [{name: a, path: /a, records: data, from_parameter: from, to_parameter: to}]
paging: {strategy: cursor, parameter: cursor, next: next}
"""


def test_the_first_request_asks_for_the_day_and_the_limit() -> None:
    asked = first_request(PAYMENTS, BY_CURSOR, date(2026, 1, 12), 100)

    assert asked.parameters == {"embed": "fees", "from": "2026-01-12", "until": "2026-01-12", "size": "100"}


def test_a_cursor_goes_into_the_next_request_beside_the_question() -> None:
    asked = PageRequest("/a", {"from": "2026-01-12"})

    following = next_request({"paging": {"next": "c2"}}, asked, BY_CURSOR, "here")

    assert following == PageRequest("/a", {"from": "2026-01-12", "after": "c2"})


def test_a_link_is_followed_as_it_stands() -> None:
    answer = {"_links": {"next": {"href": "https://api.example/v2/payments?from=x"}}}

    assert next_request(answer, PageRequest("/a", {"b": "c"}), BY_LINK, "here") == PageRequest(
        "https://api.example/v2/payments?from=x", {}
    )


@pytest.mark.parametrize(
    "answer", [{}, {"paging": None}, {"paging": {"next": None}}, {"paging": {"next": ""}}], ids=str
)
def test_no_next_page_ends_it(answer: object) -> None:
    assert next_request(answer, PageRequest("/a", {}), BY_CURSOR, "here") is None


def test_an_api_that_points_to_the_same_page_again_is_refused() -> None:
    asked = PageRequest("/a", {"after": "c2"})

    with pytest.raises(AnswerRefused, match="this page again"):
        next_request({"paging": {"next": "c2"}}, asked, BY_CURSOR, "here")


def test_records_are_counted_where_the_connector_says() -> None:
    count, _ = read_page(b'{"_embedded": {"payments": [{}, {}]}}', PAYMENTS, "here")

    assert count == 2


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"_embedded": {"payments": {}}}', b'"x"'], ids=str)
def test_an_answer_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerRefused, match="no list"):
        read_page(body, PAYMENTS, "here")


@pytest.mark.parametrize("body", [b"", b"{", b'{"_embedded": ', b"<html>", b"[" * 100_000], ids=lambda b: repr(b[:12]))
def test_an_answer_that_is_not_whole_may_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        read_page(body, PAYMENTS, "here")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("Mon, 12 Jan 2026 12:00:30 GMT", 30.0),
        ("Mon, 12 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_a_pause_is_a_count_of_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    noon = datetime(2026, 1, 12, 12, tzinfo=UTC)

    assert retry_after(header, lambda: noon) == seconds


@pytest.mark.parametrize("name", connector_names())
def test_every_shipped_connector_can_be_read(name: str) -> None:
    assert load_connector(name).name == name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (MINIMAL.replace(b"grant: client_credentials", b"grant: password"), "grant"),
        (MINIMAL + b"surprise: 1\n", "surprise"),
        (MINIMAL.replace(b"title: Tiny\n", b""), "title"),
        (MINIMAL.replace(b"parameter: cursor, ", b""), "needs `parameter`"),
        (b"a: [", "connectors/tiny.yaml"),
    ],
    ids=["unknown grant", "unknown key", "missing key", "cursor without parameter", "no YAML"],
)
def test_a_broken_connector_is_refused_with_the_place(text: bytes, what: str) -> None:
    assert read_connector("tiny", MINIMAL).paging.limit == 250

    with pytest.raises(ConnectorBroken, match=what):
        read_connector("tiny", text)
