"""What the inbox answers when it refuses: problem+json (RFC 9457). It names fields and lines and repeats no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from starlette.responses import Response

from actuals_pipelines.errors import ActualsError

# code -> (status, title, what to do). A client branches on `code`; the rest is for people.
PROBLEMS: Mapping[str, tuple[int, str, str]] = {
    "malformed": (400, "The request cannot be read", "Send what the Content-Type header says, in UTF-8."),
    "unauthorized": (401, "The key is not accepted", "Send a valid key in the header `token`, or ask for a new one."),
    "signature": (
        401,
        "The request is not signed as this key asks",
        "Sign method, target and content digest (RFC 9421), with a new nonce, within five minutes; check the clock.",
    ),
    "source_not_allowed": (403, "This key may not send to this source", "Use a key that has this source."),
    "source_unknown": (404, "There is no such inbox source", "Correct `source_id`: the source's name, not its title."),
    "not_found": (404, "There is nothing here", "Check the path and the id."),
    "method_not_allowed": (405, "This path does not do that", "Use GET or POST as documented."),
    "too_slow": (408, "The body came too slowly", "Send it again with the same id: nothing is stored twice."),
    "other_body": (409, "This id was received before with another body", "Send a correction under an id of its own."),
    "too_large": (413, "The body is too large", "Send smaller batches."),
    "media_type": (
        415,
        "This kind of body is not taken",
        "Send application/json, or application/x-ndjson in batches; gzip and zstd are accepted.",
    ),
    "invalid": (422, "The raw transaction is not as documented", "Correct what `detail` names, and send it again."),
    "card_number": (422, "A card number was found", "Leave card numbers out: a token or the last four digits serve."),
    "too_many_requests": (429, "This key sends too fast", "Wait as Retry-After says; send batches."),
    "failed": (500, "The inbox failed", "Send it again with the same id: nothing is stored twice."),
    "busy": (503, "The inbox cannot take this now", "Wait as Retry-After says, then send it again with the same id."),
}


@dataclass(frozen=True, slots=True)
class LineError:
    """One fault of one record of a batch; `line` is 1-based (NDJSON: the line, array: the element)."""

    line: int
    code: str
    detail: str
    field: str | None = None


class Refused(ActualsError):
    """A request is not taken. The text goes to the caller: it holds no value of the request."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        field: str | None = None,
        errors: Sequence[LineError] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code, self.detail, self.field = code, detail, field
        self.errors, self.retry_after_seconds = tuple(errors), retry_after_seconds

    def __str__(self) -> str:
        _, title, what_to_do = PROBLEMS[self.code]
        return f"{title}. {self.detail} {what_to_do}"

    def response(self) -> Response:
        """The answer: status, problem+json and, where it helps, Retry-After."""
        status = PROBLEMS[self.code][0]
        said = problem(self.code, self.detail, self.field)
        if self.errors:
            said |= {"line": self.errors[0].line, "errors": self.errors}
        headers = {} if self.retry_after_seconds is None else {"retry-after": str(self.retry_after_seconds)}
        if status in (401, 408, 413):
            headers["connection"] = "close"  # what follows of the body is not read
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        return Response(msgspec.json.encode(said), status, headers, media_type="application/problem+json")


def problem(code: str, detail: str = "", field: str | None = None) -> dict[str, object]:
    """A problem's document."""
    status, title, what_to_do = PROBLEMS[code]
    said: dict[str, object] = {
        "type": f"urn:actuals:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail or title,
        "what_to_do": what_to_do,
    }
    return said | {"field": field} if field else said
