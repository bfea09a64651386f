"""Estimates token counts without a tokenizer."""

import math
import re

_PER_ASCII = 1 / 3.5
_PER_OTHER = 0.7
_LONG = 4096
_MEDIA = re.compile(rb";base64,[A-Za-z0-9+/=_-]*")
_AN_IMAGE = b" " * 3000
"""An image counts as some 850 tokens, whatever its file's size."""
_NOT_A_LEAD = bytes(value for value in range(256) if value < 0xE0)


def estimate(text: str) -> int:
    """About how many tokens a language model would see."""
    ascii_count = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_count * _PER_ASCII + (len(text) - ascii_count) * _PER_OTHER)


def cut(text: str, max_tokens: int) -> str:
    """The longest beginning that `estimate` counts within `max_tokens`."""
    spent = 0.0
    for position, character in enumerate(text):
        spent += _PER_ASCII if character.isascii() else _PER_OTHER
        if spent > max_tokens:
            return text[:position]
    return text


def estimate_bytes(body: bytes) -> int:
    """About how many tokens an encoded body has, from its UTF-8 bytes alone: three bytes are one Chinese character."""
    if len(body) > _LONG and b";base64," in body:
        body = _MEDIA.sub(_AN_IMAGE, body)
    total = len(body)
    if body.isascii():
        return math.ceil(total * _PER_ASCII)
    wide = len(body.translate(None, _NOT_A_LEAD))  # one such byte begins each
    return math.ceil((total - 3 * wide) * _PER_ASCII + wide * _PER_OTHER)
