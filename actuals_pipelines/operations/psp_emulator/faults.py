"""Faults that a test switches on: what outside APIs do on bad days."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong with the requests to a path.

    kind: "status" (answer `status`), "truncate" (half the body), "slow" (wait `seconds` first),
    "expire" (all access tokens end before the request is looked at).
    """

    kind: str
    path: str = "/v1/"
    times: int = 1  # how many requests; -1 for ever
    after: int = 0  # how many requests go well before
    status: int = 500
    retry_after: str | None = None
    seconds: float = 0.0


class Faults:
    """The faults that are armed; each request asks which of them strikes."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, faults: list[Fault]) -> None:
        """Replace all faults; an empty list makes the API well again."""
        self._armed = faults

    def strike(self, path: str) -> Fault | None:
        """Return the fault for a request to `path`, and count it."""
        for fault in self._armed:
            if not path.startswith(fault.path) or fault.times == 0:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times > 0:
                fault.times -= 1
            return fault
        return None
