"""Asking again: transient failures only, with growing pauses, or as long as the other side says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from actuals_pipelines.sources.failures import Transient

Answer = TypeVar("Answer")
Sleep = Callable[[float], None]


class Patience(Protocol):
    """How often to ask, and for how long at most to wait where the other side says how long."""

    @property
    def attempts(self) -> int:
        """In all, the first included."""
        ...

    @property
    def longest_pause_seconds(self) -> float:
        """A longer one is not waited for."""
        ...


_growing = wait_random_exponential(multiplier=0.5, max=30)


def persistently(ask: Callable[[], Answer], limits: Patience, sleep: Sleep = time.sleep) -> Answer:
    """Call `ask` until it answers, at most `limits.attempts` times.

    Raises:
        Transient: what the last attempt raised, with the number of attempts in it.
        Terminal: at once.
    """

    def worth_another(error: BaseException) -> bool:
        if not isinstance(error, Transient):
            return False
        return (error.retry_after_seconds or 0.0) <= limits.longest_pause_seconds

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_seconds if isinstance(error, Transient) else None
        return asked if asked is not None else _growing(state)

    attempts = Retrying(
        retry=retry_if_exception(worth_another),
        wait=pause,
        stop=stop_after_attempt(limits.attempts),
        sleep=sleep,
        reraise=True,
    )
    try:
        return attempts(ask)
    except Transient as error:
        raise error.given_up(int(attempts.statistics.get("attempt_number", 1))) from None
