"""What an HTTP status means for a pull: the type of the failure tells whether to ask again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

from actuals_pipelines.sources.oauth_api.failures import AccessRefused, RateLimited, RequestRefused, ServerFailed


def check_status(response: requests.Response, where: str, now: Callable[[], datetime]) -> None:
    """Raise what a status other than 2xx means.

    Raises:
        RateLimited, ServerFailed: transient. AccessRefused, RequestRefused: terminal.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    found = f"HTTP {status}"
    if status == 429:
        limited = RateLimited(where, found)
        limited.retry_after_seconds = retry_after(response.headers.get("Retry-After"), now)
        raise limited
    if status >= 500 or status == 408:
        failed = ServerFailed(where, found)
        failed.retry_after_seconds = retry_after(response.headers.get("Retry-After"), now)
        raise failed
    if status in (401, 403):
        raise AccessRefused(where, found)
    raise RequestRefused(where, found)


def retry_after(text: str | None, now: Callable[[], datetime]) -> float | None:
    """Seconds to wait by a Retry-After header: a count, or an HTTP date (RFC 9110 section 10.2.3); None if neither."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now()).total_seconds())
