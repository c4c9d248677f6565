"""Makes passwords of sFTP accounts: random, because people's own are guessed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from argon2 import PasswordHasher

_BYTES = 24  # 192 bits


@dataclass(frozen=True, slots=True)
class SftpPassword:
    """A new password, and the only form of it that is written down."""

    password: str = field(repr=False)
    password_hash: str  # argon2id


def new_sftp_password() -> SftpPassword:
    """Make a random password."""
    password = secrets.token_urlsafe(_BYTES)
    return SftpPassword(password, PasswordHasher().hash(password))
