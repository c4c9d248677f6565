"""Pull what an API booked on a day: raw pages, byte for byte as received."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import requests

from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.sources.oauth_api.answers import check_status
from actuals_pipelines.sources.oauth_api.authorization import Account, access_token
from actuals_pipelines.sources.oauth_api.connector import Connector, Endpoint
from actuals_pipelines.sources.oauth_api.failures import AnswerRefused
from actuals_pipelines.sources.oauth_api.https import https_session, joined
from actuals_pipelines.sources.oauth_api.paging import PageRequest, first_request, next_request, read_page
from actuals_pipelines.sources.oauth_api.tokens import Credentials, TokenStore
from actuals_pipelines.sources.retry import Sleep, persistently

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of an API."""

    endpoint: str
    number: int  # 1-based, over the whole pull
    records: int
    body: bytes  # as received


class ConnectionIncomplete(ConfigurationError):
    """A source's `connection` lacks something, or holds what cannot be used."""

    def __init__(self, connector: str, what: str) -> None:
        super().__init__(connector, what)
        self.connector, self.what = connector, what

    def __str__(self) -> str:
        return f"A source with connector {self.connector!r} cannot be pulled: {self.what}. Correct its `connection`."


def pull(
    connector: Connector,
    connection: Mapping[str, str],
    credentials: Credentials,
    tokens: TokenStore,
    day: date,
    *,
    ca_file: Path | None,
    now: Callable[[], datetime],
    sleep: Sleep = time.sleep,
) -> Iterator[Page]:
    """Give every page of every endpoint for what was booked on `day`, in order, each exactly once.

    Args:
        connection: the source's: `base_url` (https), and optionally `page_limit` (records a page).
        ca_file: authorities to trust instead of the public ones.
        now: the clock, aware and in UTC: tokens are renewed by it.
        sleep: how pauses are made.

    Raises:
        Transient: given up for now; nothing of this pull may be taken in, the next schedule asks again.
        Terminal: somebody must act. ConnectionIncomplete: the tenant's file is wrong.
    """
    account = account_of(connector, connection, credentials, tokens, ca_file=ca_file, now=now, sleep=sleep)
    limit = _page_limit(connector, connection)
    until = now() + timedelta(seconds=connector.limits.seconds)
    session = https_session(account.base_url, connector.limits, ca_file, who=account.who, client=None)
    pace = _Pace(connector.limits.requests_per_second, sleep)
    number = 0
    with session:
        for endpoint in connector.endpoints:
            where = f"{account.who}, GET {joined(account.base_url, endpoint.path)}"
            following: PageRequest | None = first_request(endpoint, connector.paging, day, limit)
            while following is not None:
                number += 1
                if number > connector.limits.pages:
                    raise AnswerRefused(where, f"there are more than {connector.limits.pages} pages")
                if now() > until:
                    raise AnswerRefused(where, f"the pull took longer than {connector.limits.seconds} s")
                asked = following
                pace.wait()
                page, answer = _ask(account, session, endpoint, asked, number)
                yield page
                following = next_request(answer, asked, connector.paging, where)
    log.info("pulled: connector=%s day=%s pages=%d", connector.name, day, number)


def account_of(
    connector: Connector,
    connection: Mapping[str, str],
    credentials: Credentials,
    tokens: TokenStore,
    *,
    ca_file: Path | None,
    now: Callable[[], datetime],
    sleep: Sleep = time.sleep,
) -> Account:
    """The source's access, as `consent_url` and `redeem_code` need it too."""
    base_url = connection.get("base_url")
    if not base_url:
        raise ConnectionIncomplete(connector.name, "it has no `base_url`")
    return Account(connector, base_url, credentials, tokens, ca_file, now, sleep)


def _ask(
    account: Account, session: requests.Session, endpoint: Endpoint, asked: PageRequest, number: int
) -> tuple[Page, object]:
    """Ask for one page until it comes, or for ever does not."""
    url = asked.url if "://" in asked.url else joined(account.base_url, asked.url)
    where = f"{account.who}, GET {joined(account.base_url, endpoint.path)}"

    def once() -> tuple[Page, object]:
        token = access_token(account)
        response = _get(session, url, asked, token)
        if response.status_code == 401:  # ended early, or its renewal crossed ours: once more with a new one
            token = access_token(account, dead=token)
            response = _get(session, url, asked, token)
        check_status(response, where, account.now)
        body = response.content
        records, answer = read_page(body, endpoint, where)
        return Page(endpoint.name, number, records, body), answer

    return persistently(once, account.connector.limits, account.sleep)


def _get(session: requests.Session, url: str, asked: PageRequest, token: str) -> requests.Response:
    # The token goes into this request alone: the session outlives tokens.
    headers = {"Authorization": f"Bearer {token}"}
    return session.request("GET", url, params=dict(asked.parameters), headers=headers, withhold_token=True)  # type: ignore[call-arg]


def _page_limit(connector: Connector, connection: Mapping[str, str]) -> int:
    text = connection.get("page_limit", str(connector.paging.limit))
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise ConnectionIncomplete(connector.name, "`page_limit` is no whole number from 1 to 1000000")
    return int(text)


class _Pace:
    """Leaves at least so long between two requests that the API's rate is kept."""

    def __init__(self, per_second: float, sleep: Sleep) -> None:
        self._apart, self._sleep, self._next = 1 / per_second, sleep, 0.0

    def wait(self) -> None:
        early = self._next - time.monotonic()
        if early > 0:
            self._sleep(early)
        self._next = time.monotonic() + self._apart
