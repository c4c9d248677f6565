"""Page after page: what an answer says about the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import msgspec

from actuals_pipelines.sources.oauth_api.connector import Endpoint, Paging, PagingStrategy
from actuals_pipelines.sources.oauth_api.failures import AnswerRefused, AnswerUnreadable


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page to ask for. `url` is whole where the API linked it, else a path below base_url."""

    url: str
    parameters: Mapping[str, str]


def first_request(endpoint: Endpoint, paging: Paging, day: date, limit: int) -> PageRequest:
    """The first page of an endpoint for a day."""
    parameters = {**endpoint.parameters, endpoint.from_parameter: str(day), endpoint.to_parameter: str(day)}
    if paging.limit_parameter:
        parameters[paging.limit_parameter] = str(limit)
    return PageRequest(endpoint.path, parameters)


def read_page(body: bytes, endpoint: Endpoint, where: str) -> tuple[int, object]:
    """Return how many records the page has, and the answer itself.

    Raises:
        AnswerUnreadable: broken JSON (transient). AnswerRefused: no list where the connector says (terminal).
    """
    try:
        answer: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise AnswerUnreadable(where, "it is no whole JSON document") from None
    records = _at(answer, endpoint.records)
    if not isinstance(records, list):
        raise AnswerRefused(where, f"there is no list at {endpoint.records!r}")
    return len(records), answer


def next_request(answer: object, asked: PageRequest, paging: Paging, where: str) -> PageRequest | None:
    """The page after this one, None after the last.

    Raises:
        AnswerRefused: the API points to the page it has just given, for ever.
    """
    found = _at(answer, paging.next)
    if found is None or found == "":
        return None
    if paging.strategy is PagingStrategy.LINK:
        following = PageRequest(str(found), {})
    else:
        following = PageRequest(asked.url, {**asked.parameters, paging.parameter: str(found)})
    if following == asked:
        raise AnswerRefused(where, "the next page is this page again")
    return following


def _at(answer: object, path: str) -> object:
    for step in path.split("."):
        if not isinstance(answer, dict):
            return None
        answer = answer.get(step)
    return answer
