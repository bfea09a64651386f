"""Sticky weighted choice: traffic shares, A/B tests and canaries all use it."""

import hashlib
from collections.abc import Mapping

from inhouse.core.errors import Invalid


class NoShares(Invalid):
    """There is nothing to choose from."""


def choose(weights: Mapping[str, float], key: str, *, salt: str = "") -> str:
    """Return one of the names, in proportion to its weight, always the same one for the same key and salt.

    Names are laid out in sorted order, so raising one weight moves only keys at the borders.
    """
    total = sum(weight for weight in weights.values() if weight > 0)
    if total <= 0:
        raise NoShares(f"No positive weight among {dict(weights)!r}.", hint="Give at least one of them a share.")
    point = position(key, salt=salt) * total
    chosen = ""
    for name in sorted(weights):
        if weights[name] <= 0:
            continue
        chosen = name
        point -= weights[name]
        if point < 0:
            break
    return chosen


def position(key: str, *, salt: str = "") -> float:
    """Where a key lies in [0, 1), evenly spread over keys."""
    digest = hashlib.blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
