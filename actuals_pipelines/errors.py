"""The root of every error we raise, and the wrapper that keeps foreign errors' values out of logs and events.

A class says what kind of thing happened, its attributes carry the facts, its text is for the person who must act.
Texts hold names and identifiers: never an amount, account number, token, file content or personal data.
Classes live beside the code that raises them; only what several rooms share is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar


class ActualsError(Exception):
    """What a person can act on. Pass the facts to `super().__init__`, so that the error pickles."""

    exit_code: ClassVar[int] = 2
    """What a command returns when this ends it: 2 is "refused or failed", 1 is kept for "done, with findings"."""


class ConfigurationError(ActualsError):
    """A setting, file or name is missing or wrong; the text says which places were looked in."""


class Interrupted(ActualsError):
    """A foreign library failed inside one of our steps; its own text may hold customers' values and is kept sealed."""

    def __init__(self, place: str, kind: str, reference: str) -> None:
        super().__init__(place, kind, reference)
        self.place, self.kind, self.reference = place, kind, reference

    def __str__(self) -> str:
        return (
            f"{self.place} failed with {self.kind}. The library's own message may hold customers' values, so it is "
            f"not shown here. An operator reads it with `actuals error show TENANT {self.reference}`."
        )


@contextmanager
def guarded(place: str, keep: Callable[[str, BaseException], str]) -> Iterator[None]:
    """Replace any foreign exception by `Interrupted`, whose text names only the place and the class.

    Args:
        place: the step, request or command, in identifiers: "take_in acme/bank unit 4711".
        keep: seals the original (place, exception) where the tenant's operator can read it; returns its reference.
    """
    try:
        yield
    except ActualsError:
        raise
    except Exception as error:
        reference = keep(place, error)
        kind = type(error).__name__
        raise Interrupted(place, kind, reference) from None
