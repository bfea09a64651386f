"""API keys: `ih_<kind>_<public id>_<secret><checksum>`.

The public id names the key in lists and logs, the secret proves it (only the SHA-256 of the whole key is stored), the
checksum lets scanners recognise one.
"""

import hashlib
import secrets
import zlib
from dataclasses import dataclass

MAX_LENGTH = 100
"""No key is longer; what is need not be looked at."""
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment when its full text is known."""

    public_id: str
    text: str
    secret_hash: str


def generate(kind: str = "key") -> NewKey:
    public_id = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    stem = f"ih_{kind}_{public_id}_{secrets.token_urlsafe(32)}"
    text = stem + _checksum(stem)
    return NewKey(public_id, text, secret_hash(text))


def secret_hash(text: str) -> str:
    """SHA-256 of the whole key: 256 random bits need no slow hash."""
    return digest(text).hex()


def is_possible(text: str) -> bool:
    """Whether a text is worth a look-up."""
    return len(text) <= MAX_LENGTH and text.isascii()


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _checksum(stem: str) -> str:
    return f"{zlib.crc32(stem.encode()):08x}"
