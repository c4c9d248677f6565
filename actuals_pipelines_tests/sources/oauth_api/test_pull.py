"""Pulling from an API over real TLS: everything once, and a clear error of the right type for all that goes wrong."""

from __future__ import annotations

import logging
import pickle
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from actuals_pipelines.sources.failures import SourceFailed, Terminal, Transient
from actuals_pipelines.sources.oauth_api.connector import Connector, ConnectorMissing, Limits, load_connector
from actuals_pipelines.sources.oauth_api.failures import (
    AccessRefused,
    AddressRefused,
    AnswerRefused,
    AnswerUnreadable,
    CertificateRefused,
    ClientRefused,
    ConnectionLost,
    RateLimited,
    RedirectRefused,
    RequestRefused,
    ServerFailed,
)
from actuals_pipelines.sources.oauth_api.pull import ConnectionIncomplete, Page, pull
from actuals_pipelines.sources.oauth_api.tokens import Credentials, Token
from actuals_pipelines_tests.sources.oauth_api.emulator import (
    DAY,
    SECRET,
    Caller,
    start_emulator,
    write_certificates,
)


@pytest.mark.parametrize("page_limit", ["7", "50", "250"])
def test_paging_gives_every_row_of_the_day_exactly_once_and_in_order(caller: Caller, page_limit: str) -> None:
    caller.page_limit = page_limit

    pages = caller.pull()

    for endpoint in ("transactions", "payouts"):
        mine = [page for page in pages if page.endpoint == endpoint]
        assert _ids(mine) == [msgspec.json.decode(row)["id"] for row in caller.emulator.rows(endpoint, DAY)]
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert all(page.records <= int(page_limit) for page in pages)


def test_a_page_is_kept_byte_for_byte(caller: Caller) -> None:
    [first, *_] = caller.pull()

    assert first.body.startswith(b'{"data":[' + caller.emulator.rows("transactions", DAY)[0])


def test_a_day_without_bookings_is_an_empty_page_and_not_an_error(caller: Caller) -> None:
    pages = caller.pull(date(2025, 6, 1))

    assert [(page.endpoint, page.records) for page in pages] == [("transactions", 0), ("payouts", 0)]


def test_one_token_serves_the_whole_pull_and_the_next(caller: Caller) -> None:
    before = caller.emulator.tokens()

    caller.pull()
    caller.pull()

    assert caller.emulator.tokens() == before + 1


def test_a_wrong_secret_is_refused_at_once(caller: Caller) -> None:
    caller.credentials = Credentials("demo", "canary-wrong-secret")
    asked = caller.emulator.requests("/oauth/token")

    with pytest.raises(ClientRefused, match="actuals secret set") as refused:
        caller.pull()

    assert isinstance(refused.value, Terminal)
    assert "canary" not in _everything(refused.value)
    assert caller.emulator.requests("/oauth/token") == asked + 1


def test_an_unknown_client_is_refused_like_a_wrong_secret(caller: Caller) -> None:
    caller.credentials = Credentials("nobody", SECRET)

    with pytest.raises(ClientRefused):
        caller.pull()


def test_a_token_that_ends_in_the_middle_is_renewed_once_and_nothing_is_lost(caller: Caller) -> None:
    caller.emulator.fails({"kind": "expire", "after": 3})
    before = caller.emulator.tokens()

    pages = caller.pull()

    assert len(_ids(pages)) == len(set(_ids(pages)))
    assert len(_ids(pages)) == sum(len(caller.emulator.rows(each, DAY)) for each in ("transactions", "payouts"))
    assert caller.emulator.tokens() == before + 2
    assert caller.pauses == []


def test_a_token_is_renewed_before_it_ends(caller: Caller) -> None:
    """The emulator's tokens live 60 s: of so short a life the last quarter is the margin."""
    caller.pull()
    refused = caller.emulator.requests("/v1/transactions")
    before = caller.emulator.tokens()
    caller.ahead = timedelta(seconds=44)
    caller.pull()
    kept = caller.emulator.tokens()
    caller.ahead = timedelta(seconds=46)

    pages = caller.pull()

    assert (kept, caller.emulator.tokens()) == (before, before + 1)
    per_pull = sum(page.endpoint == "transactions" for page in pages)
    assert caller.emulator.requests("/v1/transactions") == refused + 2 * per_pull  # none was refused with 401


def test_a_token_that_is_refused_even_when_new_ends_the_pull(caller: Caller) -> None:
    caller.emulator.fails({"kind": "expire", "times": -1})

    with pytest.raises(AccessRefused, match="HTTP 401"):
        caller.pull()


def test_two_pulls_at_once_renew_the_token_once(caller: Caller) -> None:
    before = caller.emulator.tokens()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: _ids(caller.pull()), range(4)))

    assert caller.emulator.tokens() == before + 1
    assert all(ids == found[0] for ids in found)


def test_too_many_requests_waits_as_long_as_the_api_says(caller: Caller) -> None:
    caller.emulator.fails({"kind": "status", "status": 429, "retry_after": "7", "times": 2})

    pages = caller.pull()

    assert caller.pauses == [7.0, 7.0]
    assert _ids(pages)


def test_a_wait_beyond_our_patience_is_left_to_the_next_pull(caller: Caller) -> None:
    caller.emulator.fails({"kind": "status", "status": 429, "retry_after": "86400"})

    with pytest.raises(RateLimited, match="at the last of 1 attempts"):
        caller.pull()

    assert caller.pauses == []


def test_a_real_rate_limit_only_slows_us_down(psp_data: Path, psp_tls: Path) -> None:
    import time  # noqa: PLC0415

    slow = start_emulator(psp_data, psp_tls, "--rate", "20")
    try:
        caller = Caller(slow, page_limit="7")
        caller.pauses = _RealPauses(time.sleep)
        pages = caller.pull()
    finally:
        slow.process.terminate()
        slow.process.wait(20)

    assert len(_ids(pages)) == sum(len(slow.rows(each, DAY)) for each in ("transactions", "payouts"))
    assert caller.pauses[:1] == [1.0]


@pytest.mark.parametrize("status", [500, 502, 503, 408])
def test_a_server_that_fails_twice_and_recovers_is_asked_again(caller: Caller, status: int) -> None:
    caller.emulator.fails({"kind": "status", "status": status, "times": 2, "after": 1})

    pages = caller.pull()

    assert len(_ids(pages)) == len(set(_ids(pages)))
    assert len(caller.pauses) == 2


def test_a_token_endpoint_that_fails_once_is_asked_again(caller: Caller) -> None:
    caller.emulator.fails({"kind": "status", "path": "/oauth/token"})

    assert caller.pull()
    assert len(caller.pauses) == 1


def test_a_server_that_fails_for_ever_says_what_where_and_what_to_do(caller: Caller) -> None:
    caller.emulator.fails({"kind": "status", "times": -1})

    with pytest.raises(ServerFailed) as failed:
        caller.pull()

    assert isinstance(failed.value, Transient)
    assert str(failed.value) == (
        f"The API failed on its own side (connector psp, GET {caller.emulator.url}/v1/transactions): HTTP 500, "
        "at the last of 5 attempts. Nothing was taken in; the pull is tried again. If it stays so, ask the API's "
        "operator."
    )
    assert len(caller.pauses) == 4


def test_a_failure_in_the_middle_comes_after_the_pages_before_it(caller: Caller) -> None:
    caller.emulator.fails({"kind": "status", "status": 400, "after": 2})

    pages = caller.pages()

    assert [next(pages).number, next(pages).number] == [1, 2]
    with pytest.raises(RequestRefused, match="HTTP 400"):
        next(pages)


def test_truncated_json_once_is_asked_for_again(caller: Caller) -> None:
    caller.emulator.fails({"kind": "truncate", "after": 1})

    pages = caller.pull()

    assert len(_ids(pages)) == sum(len(caller.emulator.rows(each, DAY)) for each in ("transactions", "payouts"))


def test_truncated_json_for_ever_is_an_error_without_its_content(caller: Caller) -> None:
    caller.emulator.fails({"kind": "truncate", "times": -1})

    with pytest.raises(AnswerUnreadable, match="no whole JSON") as unreadable:
        caller.pull()

    assert "PAY-" not in _everything(unreadable.value)


def test_a_truncated_token_answer_is_asked_for_again(caller: Caller) -> None:
    caller.emulator.fails({"kind": "truncate", "path": "/oauth/token"})

    assert caller.pull()


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(caller: Caller) -> None:
    caller.connector = _with(caller.connector, answer_seconds=0.5)
    caller.emulator.fails({"kind": "slow", "seconds": 2.0})

    assert caller.pull()
    assert len(caller.pauses) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(403, AccessRefused), (404, RequestRefused), (400, RequestRefused)], ids=str
)
def test_what_asking_again_cannot_mend_is_asked_once(caller: Caller, status: int, error: type[SourceFailed]) -> None:
    caller.emulator.fails({"kind": "status", "status": status, "times": -1})

    with pytest.raises(error, match=f"HTTP {status}"):
        caller.pull()

    assert caller.pauses == []


@pytest.mark.parametrize("path", ["/v1/", "/oauth/token"])
def test_redirects_are_not_followed_with_a_token_or_a_secret(caller: Caller, path: str) -> None:
    caller.emulator.fails({"kind": "status", "status": 302, "times": -1, "path": path})

    with pytest.raises(RedirectRefused):
        caller.pull()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1", "https://user:canary@127.0.0.1:1", "ftp://127.0.0.1", "127.0.0.1", "https://[::1"]
)
def test_only_https_without_credentials_is_spoken(caller: Caller, address: str) -> None:
    caller.base_url = address

    with pytest.raises(AddressRefused) as refused:
        caller.pull()

    assert "canary" not in _everything(refused.value)


def test_a_source_without_an_address_is_told_so(caller: Caller) -> None:
    with pytest.raises(ConnectionIncomplete, match="base_url"):
        list(pull(caller.connector, {}, caller.credentials, caller.tokens, DAY, ca_file=None, now=caller.now))


def test_a_certificate_of_another_authority_is_not_trusted(caller: Caller, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    caller.ca = tmp_path / "ca.pem"
    asked = caller.emulator.requests("/oauth/token")

    with pytest.raises(CertificateRefused, match="Nothing was sent"):
        caller.pull()

    assert caller.emulator.requests("/oauth/token") == asked


def test_a_certificate_for_another_host_is_not_trusted(caller: Caller) -> None:
    caller.base_url = caller.emulator.url.replace("127.0.0.1", "localhost")

    with pytest.raises(CertificateRefused):
        caller.pull()


def test_nobody_there_is_an_error_that_passes(caller: Caller) -> None:
    caller.base_url = "https://127.0.0.1:9"

    with pytest.raises(ConnectionLost):
        caller.pull()


def test_the_environment_can_set_no_proxy_before_us(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")

    assert caller.pull()


def test_a_page_beyond_the_bound_is_refused(caller: Caller) -> None:
    caller.connector = _with(caller.connector, page_bytes=2_000)

    with pytest.raises(AnswerRefused, match="larger than 2000 bytes"):
        caller.pull()


def test_more_pages_than_the_bound_are_refused(caller: Caller) -> None:
    caller.connector = _with(caller.connector, pages=2)

    with pytest.raises(AnswerRefused, match="more than 2 pages"):
        caller.pull()


def test_tokens_and_secrets_are_in_no_log_error_or_repr(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caller.emulator.fails({"kind": "expire", "after": 2}, {"kind": "truncate", "after": 3, "times": -1})

    with pytest.raises(AnswerUnreadable) as failed:
        caller.pull()

    kept = caller.tokens.token
    assert isinstance(kept, Token)
    told = caplog.text + _everything(failed.value) + repr(kept) + repr(caller.credentials) + repr(caller.account())
    for canary in (SECRET, *caller.tokens.seen):
        assert canary not in told
    assert len(caller.tokens.seen) == 2


def test_failures_survive_pickling(caller: Caller) -> None:
    """They cross process borders on their way to the log."""
    error = ServerFailed("connector psp", "HTTP 500")

    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


def test_an_unknown_connector_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConnectorMissing, match="psp"):
        load_connector("../secrets")


class _RealPauses(list[float]):
    """Notes a pause and makes it."""

    def __init__(self, sleep: object) -> None:
        super().__init__()
        self._sleep = sleep

    def append(self, seconds: float) -> None:
        super().append(seconds)
        self._sleep(seconds)  # type: ignore[operator]


def _ids(pages: list[Page]) -> list[str]:
    return [record["id"] for page in pages for record in msgspec.json.decode(page.body)["data"]]


def _with(connector: Connector, **limits: float) -> Connector:
    changed: Limits = msgspec.structs.replace(connector.limits, **limits)
    return msgspec.structs.replace(connector, limits=changed)


def _everything(error: BaseException) -> str:
    """All that a log could show of an error: its text, its repr and the chain of its causes."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)
