"""Identifiers that sort by time, and the one clock."""

import os
import time
from binascii import b2a_base64

_ALPHABET = b"0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u to misread
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_RANDOM = bytes.maketrans(_BASE64, _ALPHABET * 2)  # drops one of six random bits of each letter
_moment = (0, "")


def now() -> float:
    """Unix seconds, UTC."""
    return time.time()


def new_id(prefix: str) -> str:
    """`run_01k9…`: 48 bits of milliseconds and 80 random bits, as in a ULID, behind the name of the kind."""
    global _moment
    at, text = _moment
    milliseconds = int(time.time() * 1000)
    if at != milliseconds:
        text = "".join(chr(_ALPHABET[milliseconds >> shift & 31]) for shift in range(45, -1, -5))
        _moment = (milliseconds, text)
    random = b2a_base64(os.urandom(12), newline=False).translate(_RANDOM)
    return f"{prefix}_{text}{random.decode()}"


def time_of(identifier: str) -> float | None:
    """When an identifier was made, in Unix seconds; None for a text that is none."""
    made = identifier.rpartition("_")[2].encode(errors="replace")
    if len(made) != 26 or made.translate(None, _ALPHABET):
        return None
    return sum(_ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(made[:10]))) / 1000
