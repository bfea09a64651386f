"""The name of the model in a form with files (audio uploads): found, and replaced, without decoding the files."""

import re

from inhouse.gateway.wire import InvalidRequest

_MODEL = re.compile(
    rb'content-disposition:\s*form-data;\s*name="?model"?[ \t]*\r\n(?:[^\r\n]+\r\n){0,4}\r\n', re.IGNORECASE
)
_MAX_MODEL_BYTES = 200


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
    boundary = re.search(rb'boundary="?([^";,\s]{1,200})"?', content_type)
    if not content_type.lower().startswith(b"multipart/form-data") or boundary is None:
        raise InvalidRequest("This address takes a form with a file.", hint="Send multipart/form-data.")
    delimiter = b"--" + boundary.group(1)
    for found in _MODEL.finditer(body):
        before = body.rfind(delimiter, max(0, found.start() - 1024), found.start())
        end = body.find(b"\r\n" + delimiter, found.end(), found.end() + _MAX_MODEL_BYTES + len(delimiter) + 2)
        if before >= 0 and b"\r\n\r\n" not in body[before : found.start()] and end >= 0:
            return found.end(), end
    raise InvalidRequest("The form has no field `model`.", param="model")
