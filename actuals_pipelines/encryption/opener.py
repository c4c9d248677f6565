"""Open a container without the rest of actuals_pipelines: for auditors, and for the day when we are gone.

Written from FORMAT.md alone; needs Python 3.11 and `cryptography` 50 or newer. The private key comes from a file of
32 bytes or its base64, the sealed key (80 bytes) is the one of the catalogue row, in hexadecimal. Only bytes of checked
chunks are printed, and the file is true when the exit code is 0.

    python opener.py CONTAINER --private-key FILE --sealed-key HEX --kind raw --tenant UUID --environment prod \\
        --source UUID --generation UUID --file UUID > plain
"""

import argparse
import base64
import hashlib
import sys
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

KINDS = ["arrival", "raw", "transactions", "removals", "rejects", "profile", "changes", "state", "results"]
KINDS += ["spill", "export"]
ENVIRONMENTS = {"prod": 1, "test": 2}
NIL = str(uuid.UUID(int=0))


def aad_of(kind: str, environment: str, tenant: uuid.UUID, *ids: uuid.UUID) -> bytes:
    """The 67 bytes of "AAD"; `ids` are source, generation and file."""
    numbers = bytes([1, KINDS.index(kind) + 1]), bytes([ENVIRONMENTS[environment]])
    return numbers[0] + tenant.bytes + numbers[1] + b"".join(each.bytes for each in ids)


def plaintext(container: BinaryIO, private_key: bytes, sealed_key: bytes, aad: bytes) -> Iterator[bytes]:
    """Yield each chunk's plaintext; ValueError for anything that FORMAT.md says a reader must refuse."""
    key = X25519PrivateKey.from_private_bytes(private_key)
    header = container.read(26)
    if len(header) < 26 or header[:10] != bytes.fromhex("89414354 0D0A1A0A 01 01"):
        raise ValueError("not a container of version 1, suite 1")
    if header[10:] != hashlib.sha256(key.public_key().public_bytes_raw()).digest()[:16]:
        raise ValueError("sealed to another key")
    try:
        suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        aead = AESGCM(suite.decrypt(sealed_key, key, b"actuals container 1" + header + aad))
        last, number = 0, 0
        while not last:
            length = container.read(4)
            if len(length) < 4:
                raise ValueError("cut off")
            last, size = divmod(int.from_bytes(length, "big"), 2**31)
            if size > 262144 or (not last and size < 262144) or (last and size == 0 and number > 0) or number >= 2**24:
                raise ValueError("impossible chunk length")
            sealed = container.read(size + 16)
            if len(sealed) < size + 16:
                raise ValueError("cut off")
            chunk = aead.decrypt(last.to_bytes(4, "big") + number.to_bytes(8, "big"), sealed, aad + length)
            if last and container.read(1):
                raise ValueError("bytes follow the last chunk")
            yield chunk
            number += 1
    except InvalidTag:
        raise ValueError("altered, or sealed as another file") from None


def main() -> None:
    """Print the plaintext; exit code 1 and a line on the error stream if it is not whole and true."""
    parser = argparse.ArgumentParser(description="Open one container to standard output.")
    parser.add_argument("container")
    parser.add_argument("--private-key", required=True, metavar="FILE")
    parser.add_argument("--sealed-key", required=True, metavar="HEX", type=bytes.fromhex)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--environment", choices=ENVIRONMENTS, default="prod")
    for name in ("tenant", "source", "generation", "file"):
        parser.add_argument(f"--{name}", type=uuid.UUID, default=NIL, required=name in ("tenant", "file"))
    given = parser.parse_args()
    aad = aad_of(given.kind, given.environment, given.tenant, given.source, given.generation, given.file)
    with open(given.private_key, "rb") as file:
        raw = file.read()
    try:
        with open(given.container, "rb") as container:
            private_key = raw if len(raw) == 32 else base64.b64decode(raw)
            for chunk in plaintext(container, private_key, given.sealed_key, aad):
                sys.stdout.buffer.write(chunk)
    except ValueError as error:
        sys.exit(f"{given.container}: {error}. Do not use what was printed.")


if __name__ == "__main__":
    main()
