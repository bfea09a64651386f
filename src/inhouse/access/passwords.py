"""Passwords: argon2id, a few at a time, and slower for who keeps guessing."""

import threading
import time
from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from inhouse.core.errors import Invalid, LimitExceeded

MIN_LENGTH = 10
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's setting for small machines
_NOBODY = _HASHER.hash("nobody has this password")
_AT_ONCE = threading.BoundedSemaphore(2)  # each takes 19 MiB and a core
_IN_LINE = threading.BoundedSemaphore(8)  # each takes a thread that other requests wait for


class WeakPassword(Invalid):
    """The password is too short."""


class TooManyAttempts(LimitExceeded):
    """Too many wrong passwords from one place, or too many passwords at a time."""


def hash_password(password: str) -> str:
    if len(password) < MIN_LENGTH:
        raise WeakPassword(f"A password has at least {MIN_LENGTH} characters.")
    with _AT_ONCE:
        return _HASHER.hash(password)


def verify_password(password: str, stored: str | None) -> bool:
    """Check a password. An unknown account (None) takes as long as a known one."""
    if not _IN_LINE.acquire(blocking=False):
        raise TooManyAttempts("Too many people are signing in.", hint="Try again in a moment.", retry_after_s=1)
    try:
        with _AT_ONCE:
            return _HASHER.verify(stored or _NOBODY, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False
    finally:
        _IN_LINE.release()


class Throttle:
    """Counts failures per (account, address): after `free` of them the wait doubles each time, up to `max_s`.

    The pair is the key, so that a stranger's guesses never lock the owner out elsewhere.
    """

    def __init__(self, *, free: int = 5, max_s: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._max_s = max_s
        self._clock = clock
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self._lock = threading.Lock()

    def check(self, account: str, address: str) -> None:
        with self._lock:
            count, last = self._failures.get((account, address), (0, 0.0))
        if count < self._free:
            return
        left = last + min(self._max_s, 2.0 ** (count - self._free)) - self._clock()
        if left > 0:
            raise TooManyAttempts(
                "Too many wrong passwords.", hint=f"Try again in {left:.0f} s.", retry_after_s=round(left, 1)
            )

    def failed(self, account: str, address: str) -> None:
        with self._lock:
            count, _ = self._failures.get((account, address), (0, 0.0))
            if len(self._failures) > 10_000:
                self._failures.pop(next(iter(self._failures)))
            self._failures[(account, address)] = (count + 1, self._clock())

    def succeeded(self, account: str, address: str) -> None:
        with self._lock:
            self._failures.pop((account, address), None)
