"""Identifiers that sort by time, and the one clock."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u to misread


def now() -> float:
    """Unix seconds, UTC."""
    return time.time()


def new_id(prefix: str) -> str:
    """`run_01k9…`: 48 bits of milliseconds and 80 random bits, as in a ULID, behind the name of the kind."""
    return f"{prefix}_{_encode(int(now() * 1000), 10)}{_encode(secrets.randbits(80), 16)}"


def _encode(value: int, length: int) -> str:
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(5 * (length - 1), -1, -5))
