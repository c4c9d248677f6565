"""A group's id as people see and type it: package/key/currency, /2 for a continuation (reconcile/MATCHING.md 2)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

GROUP = "group_key, currency, continuation"
"""The columns that name a group within a package."""

_PARTS = (3, 4)


@dataclass(frozen=True, slots=True)
class GroupId:
    """One group of one package."""

    package: str
    key: UUID
    currency: str
    continuation: int = 1

    @classmethod
    def read(cls, text: str) -> GroupId | None:
        """Read what `str` writes; None if the text is no group id."""
        parts = text.split("/")
        if len(parts) not in _PARTS:
            return None
        try:
            return cls(parts[0], UUID(hex=parts[1]), parts[2], int(parts[3]) if len(parts) == max(_PARTS) else 1)
        except ValueError:
            return None

    def __str__(self) -> str:
        tail = f"/{self.continuation}" if self.continuation > 1 else ""
        return f"{self.package}/{self.key.hex}/{self.currency}{tail}"


def group_id_sql(package: str) -> str:
    """SQL for the id of the group that a row of `package` is in; null for a row in no group."""
    name = package.replace("'", "''")
    tail = "CASE WHEN continuation > 1 THEN '/' || continuation ELSE '' END"
    return f"'{name}/' || replace(CAST(group_key AS VARCHAR), '-', '') || '/' || currency || {tail}"
