"""Identifiers that sort by time, and the one clock."""

import os
import time
from binascii import b2a_base64
from collections import deque

_ALPHABET = b"0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u to misread
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_RANDOM = bytes.maketrans(_BASE64, _ALPHABET * 2)  # drops one of six random bits of each letter
_AT_ONCE = 256
_moment = (0, "")
_stock: deque[str] = deque()
os.register_at_fork(after_in_child=_stock.clear)


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
    try:
        random = _stock.popleft()
    except IndexError:
        random = _restock()
    return f"{prefix}_{text}{random}"


def _restock() -> str:
    """Ask the system for many at once: each call lets another thread in, and waits until that one lets go."""
    letters = b2a_base64(os.urandom(12 * _AT_ONCE), newline=False).translate(_RANDOM).decode()
    _stock.extend(letters[start : start + 16] for start in range(16, len(letters), 16))
    return letters[:16]


def time_of(identifier: str) -> float | None:
    """When an identifier was made, in Unix seconds; None for a text that is none."""
    made = identifier.rpartition("_")[2].encode(errors="replace")
    if len(made) != 26 or made.translate(None, _ALPHABET):
        return None
    return sum(_ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(made[:10]))) / 1000
