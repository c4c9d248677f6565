"""Whether a password is an account's. argon2id takes memory and time on purpose, so only two are looked at at once."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MAX_CHARACTERS = 200

_AT_ONCE = asyncio.Semaphore(2)


async def is_password(password_hash: str, password: str) -> bool:
    """Check in a thread: the drop goes on meanwhile."""
    if len(password) > MAX_CHARACTERS:
        return False
    async with _AT_ONCE:
        return await asyncio.to_thread(_is_password, password_hash, password)


def _is_password(password_hash: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
