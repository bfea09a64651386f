"""The name of the model in a form with files (audio uploads): found, and replaced, without decoding the files."""

import re
from collections.abc import Iterator

from inhouse.gateway.wire import InvalidRequest

_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"\r\n]{1,200})"|([^";,\s]{1,200}))\s*(?:;|\Z)', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(
    rb"""[ \t]*form-data;[ \t]*name=(?:"([^"\\\r\n]*)"|([\w.\[\]-]+))"""
    rb"""(?:;[ \t]*filename\*?=(?:"(?:[^"\\\r\n]|\\[^\r\n])*"|[^";\s]+))*[ \t]*\r?""",
    re.IGNORECASE,
)
_FOLDED = re.compile(rb"\n[ \t]")
_MAX_MODEL_BYTES = 200
_MAX_HEAD_BYTES = 4096
_MAX_PARTS = 200


def model_of(body: bytes, content_type: bytes) -> str:
    """The value of the form's field `model`."""
    start, end = _span(body, content_type)
    try:
        return body[start:end].decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("The name of the model is not UTF-8.", param="model") from error


def with_model(body: bytes, content_type: bytes, model: str) -> bytes:
    """The form with another model."""
    start, end = _span(body, content_type)
    return body[:start] + model.encode() + body[end:]


def _span(body: bytes, content_type: bytes) -> tuple[int, int]:
    """Where the model's name is. A form that another reader could read differently is refused."""
    boundary = _BOUNDARY.search(content_type)
    is_form = content_type.lower().startswith(b"multipart/form-data")
    if not is_form or boundary is None or content_type.lower().count(b"boundary") != 1:
        raise InvalidRequest("This address takes a form with a file.", hint="Send multipart/form-data.")
    found = [place for name, *place in _parts(body, b"--" + (boundary[1] or boundary[2])) if name == b"model"]
    if len(found) != 1 or found[0][1] - found[0][0] > _MAX_MODEL_BYTES:
        raise InvalidRequest("The form has no field `model`, or more than one.", param="model")
    return found[0][0], found[0][1]


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each field, and where its value begins and ends."""
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    for _ in range(_MAX_PARTS):
        start = at + len(delimiter)
        if body[start : start + 2] == b"--":
            return
        value = body.find(b"\r\n\r\n", start, start + _MAX_HEAD_BYTES) + 4
        end = body.find(b"\r\n" + delimiter, value)
        name = _name(body[start : value - 4], delimiter) if 4 <= value <= end else None
        if name is None:
            break
        yield name, value, end
        at = end + 2
    raise InvalidRequest("The form cannot be read.", hint="Give each part one name, and end the form.")


def _name(head: bytes, delimiter: bytes) -> bytes | None:
    """The name that the head of a part gives it; None where it is not said in the one usual way."""
    found = _DISPOSITION.findall(head)
    is_usual = head.startswith(b"\r\n") and delimiter not in head and not _FOLDED.search(head)
    name = _NAME.fullmatch(found[0]) if is_usual and len(found) == 1 else None
    return None if name is None else (name[1] or name[2] or b"").lower()
