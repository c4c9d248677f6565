"""The fixed-length bytes that stand for a tenant and environment in associated data and key contexts."""

from __future__ import annotations

from actuals_pipelines.domain.tenant import TenantRef

_CODES = {"prod": 1, "test": 2}  # written into every sealed thing: add, never renumber
REF_BYTES = 17


def environment_code(environment: str) -> int:
    """Return the byte that stands for an environment. Raises ValueError for one that has none."""
    if environment not in _CODES:
        raise ValueError(f"no environment is called {environment!r}; there are: {', '.join(_CODES)}")
    return _CODES[environment]


def ref_bytes(ref: TenantRef) -> bytes:
    """Return tenant UUID (16 bytes) and environment (1 byte)."""
    return ref.uuid.bytes + bytes([environment_code(ref.environment)])
