"""Every error the platform raises on purpose.

InhouseError
├── NotFound          404
├── Invalid           422
├── Conflict          409
├── Denied            403   (Unauthenticated 401)
├── LimitExceeded     429   retryable
├── Unavailable       503   retryable
├── TimedOut          504   retryable
└── Misconfigured     500

Raise a subclass defined in the file that raises it. Code decides on the class or on `retryable`, never on text.
"""

import re
from typing import Any, ClassVar

_WORD_START = re.compile(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z0-9])(?=[A-Z])")


class InhouseError(Exception):
    """A deliberate error: what happened (message), what to do now (hint), and facts for programs (details)."""

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    @property
    def code(self) -> str:
        """`ModelNotFound` -> `model_not_found`."""
        return _snake(type(self).__name__)

    @property
    def kind(self) -> str:
        """The name of the kind this error belongs to: `not_found`, `invalid`, …"""
        for cls in type(self).__mro__:
            if cls.__base__ is InhouseError:
                return _snake(cls.__name__)
        return "error"

    def wire(self, trace_id: str = "") -> dict[str, Any]:
        """The body of an error answer of our own API."""
        return {
            "error": {
                "code": self.code,
                "kind": self.kind,
                "message": self.message,
                "hint": self.hint,
                "retryable": self.retryable,
                "details": self.details,
                "trace_id": trace_id,
            }
        }


class NotFound(InhouseError):
    """The thing asked for does not exist, or is not the caller's to see."""

    status = 404


class Invalid(InhouseError):
    """The input cannot be accepted as it is."""

    status = 422


class Conflict(InhouseError):
    """The request does not fit the present state."""

    status = 409


class Denied(InhouseError):
    """The caller may not do this."""

    status = 403


class Unauthenticated(Denied):
    """The caller did not say, or could not prove, who they are."""

    status = 401


class LimitExceeded(InhouseError):
    """Too much, too fast or too large; `retry_after_s` in the details says when to come back."""

    status = 429
    retryable = True


class TooLarge(LimitExceeded):
    """The request itself is over a size limit: sending it again won't help."""

    status = 413
    retryable = False


class Unavailable(InhouseError):
    """Something this depends on does not answer at the moment."""

    status = 503
    retryable = True


class TimedOut(InhouseError):
    """It took longer than allowed."""

    status = 504
    retryable = True


class Misconfigured(InhouseError):
    """The installation is set up in a way that cannot work."""


def _snake(name: str) -> str:
    return _WORD_START.sub("_", name).lower()
