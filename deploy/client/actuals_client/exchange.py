"""What is said to the inbox and what its answers mean, without a socket or a clock.

Each exchange is a generator: it yields a `Call` and is sent an `Answer`, or yields a `Pause` and is sent None. So the
client that blocks and the one that does not are two small drivers of the same conversation.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from actuals_client.spool import Spool, line_of

RawTransaction = Mapping[str, Any]
MAX_BATCH_ROWS = 10_000  # what the inbox takes at most
MAX_BATCH_BYTES = 4 << 20  # before compression; the inbox takes 8 MB
_LONGEST_PAUSE_SECONDS = 60.0
_WORTH_ZIPPING_BYTES = 1024


class Refused(Exception):
    """The inbox does not take it, and would not if it were sent again as it is.

    `code` is stable and for programs; `errors` has line (1-based, within what was sent), code, detail, field.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.status, self.problem = status, problem
        self.code: str = str(problem.get("code", "unknown"))
        self.field: str | None = problem.get("field")
        self.errors: list[dict[str, Any]] = list(problem.get("errors", []))

    def __str__(self) -> str:
        said = [str(self.problem.get(name, "")) for name in ("title", "detail", "what_to_do")]
        return f"HTTP {self.status} {self.code}: " + " ".join(part.rstrip(".") + "." for part in said if part)


class Unavailable(Exception):
    """The inbox could not be reached, or asked to wait, for as long as the client may try. Nothing is lost: what was
    not acknowledged may be sent again under the same ids."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why, seconds)
        self.why, self.seconds = why, seconds

    def __str__(self) -> str:
        return f"The inbox did not take it within {self.seconds:.0f} s ({self.why}). Send it again with the same ids."


@dataclass(frozen=True, slots=True)
class Receipt:
    """The inbox's acknowledgement of one raw transaction, given after it was stored durably."""

    id: str
    source_id: str
    received_at: str  # RFC 3339, UTC
    status: str
    duplicate: bool = False  # it was there before, with the same body
    reject_reason: str | None = None

    @classmethod
    def of(cls, shown: Mapping[str, Any]) -> Receipt:
        """From the inbox's JSON; what a newer inbox adds is left out."""
        return cls(**{name: shown[name] for name in cls.__slots__ if name in shown})


@dataclass(slots=True)
class Delivered:
    """What became of the transactions of a spool."""

    new: int = 0
    duplicates: int = 0
    refused: int = 0

    @property
    def total(self) -> int:
        """Transactions that wait no more."""
        return self.new + self.duplicates + self.refused


@dataclass(frozen=True, slots=True)
class Call:
    """One request to make."""

    method: str
    path: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this long; `why` it failed says what the inbox or the network answered."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, or None as status when there was none; `body` is then the class of the network's error."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes


T = TypeVar("T")
Exchange = Generator[Call | Pause, Answer | None, T]


def post(transaction: RawTransaction) -> Exchange[Receipt]:
    """Send one raw transaction."""
    answer = yield from _answered(_call("/v1/raw_transactions", line_of(transaction), "application/json"))
    return Receipt.of(answer)


def post_batch(lines: Sequence[bytes]) -> Exchange[list[Receipt]]:
    """Send raw transactions, one JSON object a line, all or nothing; at most MAX_BATCH_ROWS."""
    call = _call("/v1/raw_transactions/batch", b"\n".join(lines), "application/x-ndjson")
    answer = yield from _answered(call)
    return [Receipt.of(shown) for shown in answer["data"]]


def receipts_page(parameters: Mapping[str, str]) -> Exchange[tuple[list[Receipt], str | None]]:
    """One page of receipts, and the cursor of the next one."""
    answer = yield from _answered(Call("GET", "/v1/raw_transactions", parameters=parameters))
    return [Receipt.of(shown) for shown in answer["data"]], answer["pagination"]["next_cursor"]


def receipt(receipt_id: str) -> Exchange[Receipt]:
    """One receipt by its id."""
    answer = yield from _answered(Call("GET", f"/v1/raw_transactions/{receipt_id}"))
    return Receipt.of(answer)


def deliver_some(spool: Spool, delivered: Delivered, rows: int) -> Exchange[int]:
    """Send the oldest that wait in the spool and note what became of each. Returns how many may be sent next time.

    A batch is all or nothing, so the lines that the inbox names are set aside with their reasons and the rest is sent
    again at once.
    """
    waiting = spool.waiting(rows, MAX_BATCH_BYTES)
    if not waiting:
        return rows
    try:
        acknowledged = yield from post_batch([body for _, body in waiting])
    except Refused as refused:
        if refused.code == "too_large" and len(waiting) > 1:
            return max(1, len(waiting) // 2)
        named = {int(error["line"]): error for error in refused.errors}
        if not named and len(waiting) == 1 and refused.status in (409, 413, 422):
            named = {1: dict(refused.problem)}
        if not named:
            raise  # the key, the source or the request as a whole: no transaction is to blame
        spool.set_aside({waiting[line - 1][0]: error for line, error in named.items()})
        delivered.refused += len(named)
        return rows
    spool.forget([number for number, _ in waiting])
    twice = sum(receipt.duplicate for receipt in acknowledged)
    delivered.duplicates += twice
    delivered.new += len(acknowledged) - twice
    return min(MAX_BATCH_ROWS, rows * 2)


def _answered(call: Call) -> Exchange[dict[str, Any]]:
    """The JSON of a good answer; waits and calls again for as long as the driver allows."""
    attempt = 0
    while True:
        answer = yield call
        if answer is None:
            raise RuntimeError("the driver sent no answer to a call")
        if answer.status in (200, 201):
            found: dict[str, Any] = json.loads(answer.body)
            return found
        again, why = _is_passing(answer)
        if not again:
            raise Refused(answer.status or 0, _problem(answer))
        asked = answer.headers.get("retry-after", "")
        # Full jitter: callers that failed together do not come back together.
        backed_off = random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.2 * 2**attempt))  # noqa: S311 not a secret
        yield Pause(max(float(asked), backed_off) if asked.isdecimal() else backed_off, why)
        attempt += 1


def _is_passing(answer: Answer) -> tuple[bool, str]:
    if answer.status is None:
        return True, answer.body.decode()
    return answer.status in (408, 429) or answer.status >= 500, f"HTTP {answer.status}"


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return problem
    return {"code": "unknown", "title": "The answer is not the inbox's", "what_to_do": "Check the address"}


def _call(path: str, content: bytes, media_type: str) -> Call:
    headers = {"content-type": media_type}
    if len(content) > _WORTH_ZIPPING_BYTES:
        content, headers["content-encoding"] = gzip.compress(content, 1), "gzip"
    return Call("POST", path, content, headers)
