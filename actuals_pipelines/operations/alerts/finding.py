"""What one look found to be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong now. The same key at the next look is the same thing."""

    key: str  # "daemon SENSOR", "acme held bank 2026-01-30"
    severity: str  # error: someone must act; warning: someone should look
    what: str  # names, days and counts only: it goes into mail and chat
    advice: str
    tenant: str | None = None


@dataclass(slots=True)
class Look:
    """What was found, and where was looked: what was not looked at is not known to be well."""

    found: list[tuple[str, Finding]] = field(default_factory=list)
    scopes: set[str] = field(default_factory=set)

    def add(self, scope: str, findings: Iterable[Finding]) -> None:
        """All that is wrong in a scope, which was looked at whole."""
        findings = list(findings)  # before the scope counts as seen: a look that breaks resolves nothing
        self.scopes.add(scope)
        self.found += [(scope, finding) for finding in findings]

    @property
    def findings(self) -> Sequence[Finding]:
        """All that was found."""
        return [finding for _, finding in self.found]
