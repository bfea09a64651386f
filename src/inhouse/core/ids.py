"""Identifiers that sort by time, and the one clock."""

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u to misread
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)


def now() -> float:
    """Unix seconds, UTC."""
    return time.time()


def new_id(prefix: str) -> str:
    """`run_01k9…`: 48 bits of milliseconds and 80 random bits, as in a ULID, behind the name of the kind."""
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10))
    return f"{prefix}_{''.join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])}"
