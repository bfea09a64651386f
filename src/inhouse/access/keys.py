"""API keys: `ih_<kind>_<public id>_<secret><checksum>`.

The public id finds the key, the secret proves it (only its SHA-256 is stored), the checksum lets scanners and us
recognise a mistyped key without a look-up.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

_FORM = re.compile(r"ih_([a-z]+)_([A-Za-z0-9]{8})_([A-Za-z0-9_\-]{43})([0-9a-f]{8})")
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


def public_id_of(text: str) -> str | None:
    """The public id of a well-formed key, else None."""
    found = _FORM.fullmatch(text)
    if found is None or _checksum(text[:-8]) != found.group(4):
        return None
    return found.group(2)


def secret_hash(text: str) -> str:
    """SHA-256 of the whole key: 256 random bits need no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(text: str, stored_hash: str) -> bool:
    return hmac.compare_digest(secret_hash(text), stored_hash)


def _checksum(stem: str) -> str:
    return f"{zlib.crc32(stem.encode()):08x}"
