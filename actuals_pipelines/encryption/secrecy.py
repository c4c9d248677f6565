"""What every holder of key material shares: it shows nothing, is not copied and does not travel."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from actuals_pipelines.errors import ActualsError

KEY_BYTES = 32


class KeysStayHere(ActualsError):
    """Something tried to pickle or copy an object that holds keys, as a process pool or a cache would."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"{self.holder} holds keys and cannot be pickled or copied. "
            "Hand over the tenant's reference, and open the keyring where the keys are needed."
        )


class Secret:
    """Base of objects that hold keys: `repr` and `str` name the class alone; pickling and copying are refused."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise KeysStayHere(type(self).__name__)


def derived_key(key: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose: HKDF-SHA-256 (RFC 5869) without salt, the purpose as its info.

    `key` must be uniformly random; purposes that could be confused must differ in a fixed-length or labelled part.
    """
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=purpose).derive(key)
