"""The two clients: one blocks, one does not. What they say is in `exchange`."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from actuals_client import exchange
from actuals_client.exchange import Answer, Call, Delivered, Exchange, Pause, RawTransaction, Receipt, Unavailable
from actuals_client.signing import Signing
from actuals_client.spool import Spool, line_of

T = TypeVar("T")
_FIRST_BATCH_ROWS = 500


class _Connection:
    """What both clients hold: an address that is https, a key that no repr shows, certificates that are checked."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        client_certificate: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        signing: Signing | None = None,
        timeout_seconds: float = 30.0,
        keep_trying_seconds: float = 120.0,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: the inbox's address; `https://` and nothing else.
            key: the API key, `prod_...` or `test_...`.
            ca_file: the authority that signed the inbox's certificate, in PEM, where it is not a public one.
            client_certificate: certificate and key in PEM, for keys that ask for one.
            signing: for keys that ask for signed requests.
            keep_trying_seconds: how long one call waits and tries again before it raises `Unavailable`.
        """
        address = httpx.URL(url)
        if address.scheme != "https" or not address.host:
            raise ValueError("The inbox is reached by https:// only. Give an address like https://inbox.example:8444")
        self._key, self._signing, self._keep_trying_seconds = key, signing, keep_trying_seconds
        trusted = ssl.create_default_context(cafile=ca_file)
        if client_certificate:
            trusted.load_cert_chain(*client_certificate)
        # Nothing of the environment counts: a .netrc would replace the key, a variable the authority.
        self._settings: dict[str, Any] = {
            "base_url": address,
            "verify": trusted,
            "timeout": timeout_seconds,
            "trust_env": False,
            "headers": {"user-agent": "actuals-client/0.1", "accept": "application/json"},
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._settings['base_url'])!r})"

    def _request(self, client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        headers = {**call.headers, "token": self._key}
        content = call.content if call.method == "POST" else None
        request = client.build_request(
            call.method, call.path, content=content, headers=headers, params=dict(call.parameters) or None
        )
        if self._signing:
            self._signing.sign(request, call.content)
        return request


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


def _no_answer(error: httpx.TransportError) -> Answer:
    return Answer(None, {}, type(error).__name__.encode())


class _Patience:
    """How long one exchange may still wait; a certificate that does not hold is not waited for."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._until = seconds, time.monotonic() + seconds

    def allow(self, pause: Pause) -> None:
        if time.monotonic() + pause.seconds > self._until:
            raise Unavailable(pause.why, self._seconds)


def _refuse_untrusted(error: httpx.TransportError) -> None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ssl.SSLCertVerificationError(
                f"The inbox's certificate is not trusted ({cause.verify_message}). Nothing was sent. "
                "Give the authority that signed it as ca_file, or check the address."
            ) from None
        cause = cause.__cause__ or cause.__context__


class InboxClient(_Connection):
    """The client that blocks. Use it as a context manager; not from several threads at once."""

    def __enter__(self) -> Self:
        self._client = httpx.Client(**self._settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def post(self, transaction: RawTransaction) -> Receipt:
        """Send one raw transaction and wait until it is stored.

        Raises:
            Refused: it is not as documented, or the key may not send it; sending it again does not help.
            Unavailable: not taken in time; send it again with the same id.
            ssl.SSLCertVerificationError: the inbox's certificate does not hold.
        """
        return self._carry(exchange.post(transaction))

    def post_batch(self, transactions: Sequence[RawTransaction]) -> list[Receipt]:
        """Send up to 10,000 raw transactions, all or nothing; raises as `post`, with `errors` by line."""
        return self._carry(exchange.post_batch([line_of(transaction) for transaction in transactions]))

    def receipt(self, receipt_id: str) -> Receipt:
        """One receipt by its id."""
        return self._carry(exchange.receipt(receipt_id))

    def receipts(self, **parameters: str) -> Iterator[Receipt]:
        """All receipts of this key's sources, page by page; parameters as documented (`source_id`, ...)."""
        while True:
            page, cursor = self._carry(exchange.receipts_page(parameters))
            yield from page
            if cursor is None:
                return
            parameters["cursor"] = cursor

    def deliver(self, spool: Spool, progress: Callable[[Delivered], None] | None = None) -> Delivered:
        """Send all that waits in the spool, in batches; call `progress` after each.

        Raises:
            Refused: the key or the source as a whole is refused; nothing is removed from the spool.
            Unavailable: as `post`; what waits stays in the spool.
        """
        delivered, rows = Delivered(), _FIRST_BATCH_ROWS
        while len(spool):
            rows = self._carry(exchange.deliver_some(spool, delivered, rows))
            if progress:
                progress(delivered)
        return delivered

    def _carry(self, conversation: Exchange[T]) -> T:
        patience, answer = _Patience(self._keep_trying_seconds), None
        try:
            while True:
                wanted = conversation.send(answer)
                answer = None
                if isinstance(wanted, Pause):
                    patience.allow(wanted)
                    time.sleep(wanted.seconds)
                    continue
                try:
                    answer = _answer(self._client.send(self._request(self._client, wanted)))
                except httpx.TransportError as error:
                    _refuse_untrusted(error)
                    answer = _no_answer(error)
        except StopIteration as done:
            found: T = done.value
            return found


class AsyncInboxClient(_Connection):
    """The same without blocking; use it as an async context manager, from as many tasks as you like."""

    async def __aenter__(self) -> Self:
        self._client = httpx.AsyncClient(**self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def post(self, transaction: RawTransaction) -> Receipt:
        """As `InboxClient.post`."""
        return await self._carry(exchange.post(transaction))

    async def post_batch(self, transactions: Sequence[RawTransaction]) -> list[Receipt]:
        """As `InboxClient.post_batch`."""
        return await self._carry(exchange.post_batch([line_of(transaction) for transaction in transactions]))

    async def receipt(self, receipt_id: str) -> Receipt:
        """As `InboxClient.receipt`."""
        return await self._carry(exchange.receipt(receipt_id))

    async def receipts(self, **parameters: str) -> AsyncIterator[Receipt]:
        """As `InboxClient.receipts`."""
        while True:
            page, cursor = await self._carry(exchange.receipts_page(parameters))
            for receipt in page:
                yield receipt
            if cursor is None:
                return
            parameters["cursor"] = cursor

    async def deliver(self, spool: Spool, progress: Callable[[Delivered], None] | None = None) -> Delivered:
        """As `InboxClient.deliver`; one delivery of a spool at a time."""
        delivered, rows = Delivered(), _FIRST_BATCH_ROWS
        while len(spool):
            rows = await self._carry(exchange.deliver_some(spool, delivered, rows))
            if progress:
                progress(delivered)
        return delivered

    async def _carry(self, conversation: Exchange[T]) -> T:
        patience, answer = _Patience(self._keep_trying_seconds), None
        try:
            while True:
                wanted = conversation.send(answer)
                answer = None
                if isinstance(wanted, Pause):
                    patience.allow(wanted)
                    await asyncio.sleep(wanted.seconds)
                    continue
                try:
                    answer = _answer(await self._client.send(self._request(self._client, wanted)))
                except httpx.TransportError as error:
                    _refuse_untrusted(error)
                    answer = _no_answer(error)
        except StopIteration as done:
            found: T = done.value
            return found
